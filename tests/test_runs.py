"""Two runs at once with few images and small networks: the same seed gives the same weights, also
where each cell runs twice; and the exercises' solutions work.
"""

import re
import subprocess
import sys

import nbformat
import pytest
from conftest import CELLS, SMALL, SOLUTIONS, copy_project, start_small_run, tags

DIGEST = """
import hashlib
for network in (model, plain, robust):
    weights = b"".join(w.tobytes() for w in network.get_weights())
    print(hashlib.sha256(weights).hexdigest())
"""
# Clothes come from the internet. Digits have their form.
NO_DOWNLOAD = "keras.datasets.fashion_mnist.load_data = load_mnist"
TRAINING = {"recipe", "train-first", "train-plain", "train-augmented"}


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What two runs print, in a folder whose path has spaces and non-ASCII letters: the lesson with
    each cell twice and then the solutions, without a display and with a home folder that it cannot
    make; and a program of the cells that train, Part I's twice, as its training goes on.
    """
    folder = tmp_path_factory.mktemp("runs") / "chiffres écrits 数字"
    copy_project(folder, images=1_500, checked=False)
    twice, program = [], []
    for cell in CELLS:
        twice += [nbformat.v4.new_code_cell(cell.source) for _ in range(2)]
        twice[-1].metadata = cell.metadata  # the parameters' cell comes after the second
        if tags(cell) & TRAINING:
            program += [cell.source] * (1 if "train_longer" in cell.source else 2)
        if "parameters" in tags(cell):
            program += [f"{name} = {value}" for name, value in SMALL.items()]
    twice += map(nbformat.v4.new_code_cell, [DIGEST, NO_DOWNLOAD, *SOLUTIONS])
    path = folder / "notebooks" / "twice.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=twice), path)
    run = start_small_run(path, HOME="/proc/nobody", DISPLAY="")
    command = [sys.executable, "-c", "\n".join([*program, DIGEST])]
    other = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    printed, _ = run.communicate()
    assert run.returncode == other.returncode == 0, printed[-3_000:] + other.stderr
    return printed, other.stdout


def test_same_seed_same_weights_bit_for_bit(printed):
    first, second = (re.findall(r"^[0-9a-f]{64}$", text, re.M) for text in printed)
    assert len(set(first)) == 3 and first == second


def test_solutions_work(printed):
    """What they print in the end, trained on few images, says that they have run."""
    assert len(SOLUTIONS) == 4
    for start in ["0.2%: below", "test accuracy ", "mean "]:
        assert f"\n{start}" in printed[0], f"no solution prints {start!r}"
    assert "val_accuracy" in re.findall("step - .*", printed[0])[-1], "one epoch is not validated"
