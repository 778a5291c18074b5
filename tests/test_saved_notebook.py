"""The saved notebook comes from one clean run, is described, and shows what that run drew."""

import re
from base64 import b64decode

from conftest import NOTEBOOK, ROOT, code_cells, outputs, tags
from finish_notebook import ATTACHED, SHOWN, digest_outputs, find_picture, other_pictures
from marks import write_between_marks

# The tags of the cells whose text may differ between machines, in order: nbval runs them and
# compares nothing. What they show is computed once more in checks.py.
IGNORED = """
    imports train-first first-mistakes step compared train-plain overfitting train-augmented table
    pad test paired confusion mistakes calibration threshold scores survive no-digits my-digit
    export
""".split()
OFTEN = "definitions imports nbval-ignore-output recipe".split()
ONCE = """
    abstain baselines by-hand card changes check-settings confusion-figure curves curves-augmented
    data disputed filters first-images layers left-out model occlusion others others-figure
    parameters picture save save-first save-function seed split steps templates versions
""".split()
README = (ROOT / "README.md").read_text()


def test_saved_from_one_clean_run(saved):
    counts = [cell.execution_count for cell in code_cells(saved)]
    in_order = list(range(1, len(counts) + 1))
    assert counts == in_order, "save it from one run, top to bottom: make notebook"


def test_no_error_and_no_noise_is_stored(saved):
    for output in outputs(saved):
        assert output.output_type != "error" and output.get("name") != "stderr", output


def test_no_absolute_path_is_stored_and_the_file_is_small():
    folders = r"(?<![\w.:/])/(home|root|work|tmp|Users|usr|opt|mnt|content)/|[A-Z]:\\\\"
    found = re.search(folders, NOTEBOOK.read_text())
    assert not found, f"a path of one machine is stored: {found[0]}"
    assert NOTEBOOK.stat().st_size < 2_500_000


def test_outputs_are_those_of_the_run(saved):
    """`make notebook` notes a digest, so an edit shows also in cells that nbval ignores."""
    digest = saved.metadata["outputs_sha256"]
    assert digest_outputs(saved) == digest, "an output was edited: run `make notebook`"


def test_exactly_these_cells_are_not_compared(saved):
    ignored = [cell for cell in code_cells(saved) if "nbval-ignore-output" in tags(cell)]
    for cell, name in zip(ignored, IGNORED, strict=True):
        assert name in tags(cell), f"{cell.id} is not in the list of ignored cells"


def test_tags_are_spelt_right(saved):
    for cell in saved.cells:
        unknown = tags(cell) - {*ONCE, *OFTEN, *IGNORED}
        assert not unknown, f"unknown tag in {cell.id}: {unknown}"
        marker = re.search(r"^\s*#\s*(NBVAL|PYTEST|nbval)", cell.source, re.M)
        assert not marker, f"use cell tags, not marker comments: {marker[0]}"
    for tag in ONCE + IGNORED[1:]:
        carriers = sum(tag in tags(cell) for cell in saved.cells)
        assert carriers == 1, f"exactly one cell is to carry the tag {tag}, not {carriers}"


def test_every_figure_has_a_text_alternative(saved):
    figures = [output for output in outputs(saved) if "image/png" in output.get("data", {})]
    assert figures
    for figure in figures:
        assert len(figure.metadata["image/png"]["alt"]) >= 40


def test_pictures_shown_elsewhere_are_those_of_this_run(saved):
    [pad] = [cell for cell in saved.cells if "pad" in tags(cell)]
    for name, path in ATTACHED.items():
        picture = saved.cells[0].attachments[name]["image/png"].strip()
        assert b64decode(picture) == path.read_bytes(), f"{name} is stale: run `make notebook`"
        assert f"(attachment:{name})" in saved.cells[0].source and picture in str(pad.outputs)
    for tag, name in SHOWN.items():
        assert (ROOT / name).read_bytes() == b64decode(find_picture(saved, tag)), f"{name} is stale"


def test_readme_shows_the_table_of_other_pictures(saved):
    [cell] = [cell for cell in saved.cells if "table" in tags(cell)]
    header, *lines = cell.outputs[0].data["text/plain"].splitlines()
    [epochs] = re.findall(r"^EPOCHS = (\d+)", "\n".join(c.source for c in saved.cells), re.M)
    headings = f"Part I {epochs} epochs, falling rate the same, augmented"
    assert header.split() == headings.split(), "stored with other EPOCHS: run `make notebook`"
    table = re.search("<!-- others -->\n(.*)\n<!-- /others -->", README, re.S)[1]
    assert table == other_pictures(saved), "the README's table is stale: run `make notebook`"
    kinds, _, *rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    networks, *columns = zip(*rows)
    assert networks == ("Part I", "longer, with a falling rate", "the same, augmented")
    stated = [[kind, *column] for kind, column in zip(kinds, columns, strict=True)]
    assert stated == [re.split(" {2,}", line) for line in lines], "the table is made wrong"


def test_tables_are_written_between_their_marks(tmp_path):
    path, text = tmp_path / "README.md", "a\n<!-- {0} -->\nold\n<!-- /{0} -->\nb\n"
    path.write_text(text.format("x") + text.format("y"))
    write_between_marks(path, x="new", y="new")
    assert path.read_text() == (text.format("x") + text.format("y")).replace("old", "new")


def test_augmentation_bought_what_the_text_says(saved):
    """The sentences below the table of other pictures, from its numbers."""
    rows = [line.strip("| ").split(" | ") for line in other_pictures(saved).splitlines()]
    kinds = rows[0]
    _, plain, augmented = ([float(share[:-1]) for share in row[1:]] for row in rows[2:])
    gain = {kind: b - a for kind, a, b in zip(kinds, plain, augmented, strict=True)}
    assert sorted(gain, key=gain.get)[-3:] == ["crossed out", "moved", "black on white"], gain
    assert 0 <= gain["unchanged"] < 1, "unchanged digits do not gain little"
    assert gain["cut off*"] <= 0 < gain["ringed*"] < gain["noisy"], gain
    assert min(gain[kind] for kind in kinds if kind != "cut off*") > -1, gain


def test_lines_fit_the_page_and_folded_cells_say_what_they_hold(saved):
    for cell in code_cells(saved):
        longest = max(map(len, cell.source.splitlines()))
        assert longest <= 100, f"a line of {cell.id} is cut off on the page"
        folded = cell.metadata.get("jupyter", {}).get("source_hidden")
        assert not folded or cell.metadata.get("summary"), f"{cell.id} is folded without a summary"


def test_one_title_and_parts(saved):
    text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    headings = re.findall("^# (Part [IVX]+)?", text, re.M)
    assert headings == ["", *(f"Part {n}" for n in "I II III IV V VI".split()), ""]
