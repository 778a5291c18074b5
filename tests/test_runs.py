"""Two runs at once with few images and small networks: the same seed gives the same weights, each
cell bears a second run, and the exercises' solutions work.
"""

import re

import nbformat
import pytest
from conftest import code_cells, copy_project, read_notebook, solutions, start_small_run, tags

DIGEST = """
import hashlib
for network in (model, plain, robust):
    weights = b"".join(w.tobytes() for w in network.get_weights())
    print(hashlib.sha256(weights).hexdigest())
"""
# Clothes come from the internet. Digits have their form.
NO_DOWNLOAD = "keras.datasets.fashion_mnist.load_data = load_mnist"


def write_twice(folder, solved):
    """Write to ``folder`` the lesson with each cell twice, and after it the digests of its weights
    and, where ``solved``, the solutions; return its path.
    """
    path = copy_project(folder, images=4_000, checked=False)
    notebook = read_notebook(path)
    cells = [cell for cell in code_cells(notebook) for _ in range(2)]
    if not solved:
        # Part I writes its file in place. Two runs at once would mix it, so each has its own.
        for cell in code_cells(notebook):
            cell.source = cell.source.replace("part_1.keras", "part_1_too.keras")
    copies = [nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata) for cell in cells]
    first = next(cell for cell in copies if "parameters" in tags(cell))
    first.metadata = {}  # the test's parameters come after the second
    last = [DIGEST, *[NO_DOWNLOAD, *solutions(notebook)][: None if solved else 0]]
    notebook.cells = copies + [nbformat.v4.new_code_cell(source) for source in last]
    path = folder / "notebooks" / f"twice, {solved=}.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """The folder of two runs, whose path has spaces and non-ASCII letters, and what they print. The
    second has no display, and a home folder that it cannot make.
    """
    folder = tmp_path_factory.mktemp("runs") / "chiffres écrits 数字"
    paths = [write_twice(folder, solved) for solved in (True, False)]
    runs = [
        start_small_run(paths[0]),
        start_small_run(paths[1], HOME="/proc/nobody", DISPLAY=""),
    ]
    printed = [run.communicate()[0] for run in runs]
    for run, text in zip(runs, printed):
        assert run.returncode == 0, text[-3_000:]
    return folder, printed


def test_same_seed_same_weights_bit_for_bit(two_runs):
    first, second = (re.findall(r"^[0-9a-f]{64}$", text, re.M) for text in two_runs[1])
    assert len(set(first)) == 3 and first == second


def test_two_runs_at_once_leave_a_whole_model(two_runs):
    import keras

    models = two_runs[0] / "models"
    names = "mnist_cnn.json mnist_cnn.keras mnist_cnn.onnx mnist_cnn.tflite "
    names += "part_1.keras part_1_too.keras"
    assert sorted(path.name for path in models.iterdir()) == names.split()
    assert len(keras.models.load_model(models / "mnist_cnn.keras").layers) == 8


def test_solutions_work(two_runs):
    """What they print in the end, trained on few images, says that they have run."""
    lines = two_runs[1][0].splitlines()
    assert len(solutions(read_notebook())) == 4
    for start in ["0.2%: below", "test accuracy ", "mean "]:
        assert any(line.startswith(start) for line in lines), f"no solution prints {start!r}"
    *_, quick = [line for line in lines if re.match(r"28/28 - ", line)]
    assert "val_accuracy" in quick, "the solution with one epoch does not validate"
