"""The saved notebook comes from one clean run, is described, and shows what that run drew."""

import re
from base64 import b64decode

import nbformat
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
KNOWN_TAGS = (
    IGNORED
    + """
    abstain baselines by-hand card changes check-settings confusion-figure curves
    curves-augmented data definitions disputed filters first-images layers model
    left-out nbval-ignore-output occlusion others others-figure parameters picture recipe save
    save-all save-first save-function seed split steps templates versions
""".split()
)


def test_saved_from_one_clean_run(saved):
    counts = [cell.execution_count for cell in code_cells(saved)]
    assert counts == list(range(1, len(counts) + 1)), (
        "save it from one run, top to bottom: make notebook"
    )


def test_no_error_and_no_noise_is_stored(saved):
    for output in outputs(saved):
        assert output.output_type != "error" and output.get("name") != "stderr", output


def test_no_absolute_path_is_stored():
    text = NOTEBOOK.read_text()
    assert not re.search(
        r"(?<![\w.:/])/(home|root|work|tmp|Users|usr|opt|mnt|content)/|[A-Z]:\\\\", text
    )


def test_outputs_are_those_of_the_run(saved):
    """`make notebook` notes a digest of all outputs, so an edit by hand shows, also in cells that
    nbval ignores.
    """
    assert digest_outputs(saved) == saved.metadata["outputs_sha256"], (
        "an output was edited: run `make notebook`"
    )


def test_size():
    assert NOTEBOOK.stat().st_size < 2_500_000


def test_exactly_these_cells_are_not_compared(saved):
    ignored = [cell for cell in code_cells(saved) if "nbval-ignore-output" in tags(cell)]
    for cell, name in zip(ignored, IGNORED, strict=True):
        assert name in tags(cell), f"{cell.id} is not in the list of ignored cells"


def test_tags_are_spelt_right(saved):
    for cell in saved.cells:
        unknown = tags(cell) - set(KNOWN_TAGS)
        assert not unknown, f"unknown tag in {cell.id}: {unknown}"
        assert not re.search(r"^\s*#\s*(NBVAL|PYTEST|nbval)", cell.source, re.M), (
            "use cell tags, not marker comments"
        )
    several = {"imports", "definitions", "recipe", "nbval-ignore-output"}
    for tag in set(KNOWN_TAGS) - several:
        assert sum(tag in tags(cell) for cell in saved.cells) == 1, (
            f"exactly one cell is to carry the tag {tag}"
        )


def test_folded_cells_say_what_they_hold(saved):
    for cell in saved.cells:
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            assert cell.metadata.get("summary") or "def " in cell.source, (
                f"{cell.id} is folded without a summary"
            )


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
    assert other_pictures(saved) in (ROOT / "README.md").read_text(), "run `make notebook`"


def test_tables_are_made_right(tmp_path):
    """Of a notebook that holds a small table alone, into a file with two places for tables."""
    text = "             Part I 4 epochs, falling rate the same, augmented\n"
    text += "black on white   1.0%      2.0%      3.0%\nringed*        4.0%      5.0%     100.0%"
    output = nbformat.v4.new_output("execute_result", {"text/plain": text})
    cell = nbformat.v4.new_code_cell(outputs=[output], metadata={"tags": ["table"]})
    table = other_pictures(nbformat.v4.new_notebook(cells=[cell]))
    assert table.splitlines() == [
        "| | black on white | ringed* |",
        "|---|---|---|",
        "| Part I | 1.0% | 4.0% |",
        "| longer, with a falling rate | 2.0% | 5.0% |",
        "| the same, augmented | 3.0% | 100.0% |",
    ]
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\nold\n<!-- /y -->\nc\n")
    write_between_marks(readme, x="new", y="newer")
    expected = "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n<!-- y -->\nnewer\n<!-- /y -->\nc\n"
    assert readme.read_text() == expected


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


def test_lines_fit_the_page(saved):
    for cell in code_cells(saved):
        assert max(map(len, cell.source.splitlines())) <= 100, (
            f"a line of {cell.id} is cut off on the page"
        )


def test_one_title_and_parts(saved):
    headings = [
        line
        for cell in saved.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    ]
    assert [line.split(":")[0] for line in headings[1:-1]] == [
        f"# Part {n}" for n in ("I", "II", "III", "IV", "V", "VI")
    ]
