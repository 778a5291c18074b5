"""Two runs at once with few images and small networks: the same seed gives the same weights, also
where each cell runs twice; and the exercises' solutions work.
"""

import re

import keras
import nbformat
import pytest
from conftest import CELLS, SOLUTIONS, copy_project, start_small_run, tags

DIGEST = """
import hashlib
for network in (model, plain, robust):
    weights = b"".join(w.tobytes() for w in network.get_weights())
    print(hashlib.sha256(weights).hexdigest())
"""
# Clothes come from the internet. Digits have their form.
NO_DOWNLOAD = "keras.datasets.fashion_mnist.load_data = load_mnist"
SLOW = {"others-figure", "table", "mistakes", "scores", "no-digits"}  # they only show something


def write_twice(folder, solved):
    """Write to ``folder`` the lesson with each cell twice, and after it the digests of its weights
    and the solutions; or, where not ``solved``, with each cell once after Part I's training, which
    goes on when its cell runs again, without the slow cells and the solutions. Return its path.
    """
    copy_project(folder, images=1_500, checked=False)
    cells, times = [], 2
    for cell in CELLS:
        if solved or not tags(cell) & SLOW:
            # Part I writes its file in place. Two runs at once would mix it: each has its own.
            source = cell.source if solved else cell.source.replace("part_1", "part_1_too")
            cells += [nbformat.v4.new_code_cell(source) for _ in range(times)]
            cells[-1].metadata = cell.metadata  # the test's parameters come after the second
        if "train-first" in tags(cell) and not solved:
            times = 1
    last = [DIGEST, NO_DOWNLOAD, *SOLUTIONS] if solved else [DIGEST]
    cells += map(nbformat.v4.new_code_cell, last)
    path = folder / "notebooks" / f"twice, {solved=}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """The folder of two runs, whose path has spaces and non-ASCII letters, and what they print. The
    second has no display, and a home folder that it cannot make.
    """
    folder = tmp_path_factory.mktemp("runs") / "chiffres écrits 数字"
    solved, other = (write_twice(folder, solved) for solved in (True, False))
    elsewhere = {"HOME": "/proc/nobody", "DISPLAY": ""}
    runs = [start_small_run(solved), start_small_run(other, **elsewhere)]
    printed = [run.communicate()[0] for run in runs]
    for run, text in zip(runs, printed):
        assert run.returncode == 0, text[-3_000:]
    return folder, printed


def test_same_seed_same_weights_bit_for_bit(two_runs):
    first, second = (re.findall(r"^[0-9a-f]{64}$", text, re.M) for text in two_runs[1])
    assert len(set(first)) == 3 and first == second


def test_two_runs_at_once_leave_a_whole_model(two_runs):
    names = [f"mnist_cnn.{ending}" for ending in ("json", "keras", "onnx", "tflite")]
    names += ["part_1.keras", "part_1_too.keras"]
    assert sorted(path.name for path in (two_runs[0] / "models").iterdir()) == names
    keras.models.load_model(two_runs[0] / "models" / "mnist_cnn.keras")


def test_solutions_work(two_runs):
    """What they print in the end, trained on few images, says that they have run."""
    printed = two_runs[1][0]
    assert len(SOLUTIONS) == 4
    for start in ["0.2%: below", "test accuracy ", "mean "]:
        assert f"\n{start}" in printed, f"no solution prints {start!r}"
    assert "val_accuracy" in re.findall("step - .*", printed)[-1], "one epoch is not validated"
