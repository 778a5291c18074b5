"""The saved notebook comes from one clean run, is described, and shows what that run drew."""

import re
from base64 import b64decode

from conftest import CELLS, NOTEBOOK, ROOT, SAVED, tags
from finish_notebook import ATTACHED, SHOWN, digest_outputs, find_picture
from record import SHARED

# The tags of the cells whose text may differ between machines, in order: nbval runs them and
# compares nothing. What they show is computed once more in checks.py.
IGNORED = """
    imports train-first first-mistakes loss-shares gradient step compared misread train-plain
    overfitting train-augmented both-losses table pad test paired confusion mistakes calibration
    threshold my-digit scores no-digits export
""".split()


def outputs(tag):
    [cell] = [cell for cell in CELLS if tag in tags(cell)]
    return cell.outputs


def test_saved_from_one_clean_run():
    counts = [cell.execution_count for cell in CELLS]
    assert counts == [*range(1, len(counts) + 1)], "save it from one run: make notebook"
    outputs = [output for cell in CELLS for output in cell.outputs]
    for output in outputs:
        assert output.output_type != "error" and output.get("name") != "stderr", output
        if "image/png" in output.get("data", {}):
            assert len(output.metadata["image/png"]["alt"]) >= 40, "a figure without description"
    assert digest_outputs(SAVED) == SAVED.metadata["outputs_sha256"], "an output was edited"
    # No path of one machine is stored, and the file is small.
    folders = r"(?<![\w.:/])/(home|root|work|tmp|Users|usr|opt|mnt|content)/|[A-Z]:\\\\"
    assert not re.search(folders, NOTEBOOK.read_text()) and NOTEBOOK.stat().st_size < 3_000_000


def test_each_tag_is_on_one_cell_and_exactly_these_are_not_compared():
    own = [tag for cell in SAVED.cells for tag in tags(cell) - SHARED]
    assert len(own) == len(set(own)), "a tag is on two cells"
    ignored = [tags(cell) for cell in SAVED.cells if "nbval-ignore-output" in tags(cell)]
    assert [some - {"nbval-ignore-output", "recipe"} for some in ignored] == [{t} for t in IGNORED]
    for cell in CELLS:
        assert not re.search("# *(NBVAL|PYTEST)", cell.source), "use tags, not marker comments"


def test_pictures_shown_elsewhere_are_those_of_this_run():
    for name, path in ATTACHED.items():
        picture = SAVED.cells[0].attachments[name]["image/png"].strip()
        assert b64decode(picture) == path.read_bytes(), f"{name} is stale: run `make notebook`"
        assert f"(attachment:{name})" in SAVED.cells[0].source
        assert picture in str(outputs("pad"))
    for tag, name in SHOWN.items():
        assert (ROOT / name).read_bytes() == b64decode(find_picture(SAVED, tag)), f"{name} is stale"


def test_augmentation_bought_what_the_text_says():
    """Seen with several networks: three kinds gain 11 to 64 points, the others 11 at most, and the
    mean of those with an asterisk -5 to 1.
    """
    table = outputs("table")[0].data["text/plain"]
    rows = re.findall(r"^(\S.*?) +\d+% +(\d+)% +(\d+)%$", table, re.M)
    gain = {kind: int(after) - int(before) for kind, before, after in rows}
    most = sorted(gain.keys() - {"mean, no *"}, key=gain.get)[-3:]
    assert sorted(most) == ["black on white", "crossed out", "moved"], gain
    assert abs(gain["mean, *"]) < 10, gain
