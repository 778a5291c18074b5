"""Headless runs of the whole notebook in other surroundings, with small networks: the same weights,
and always to the end.
"""

import re
import shlex

import nbformat
import pytest
from conftest import (
    code_cells,
    collect_notebook,
    copy_project,
    mount_namespace,
    read_card,
    read_notebook,
    start_notebook,
)

SMALL = {"FILTERS_1": 4, "FILTERS_2": 8, "EPOCHS": 2, "VALIDATION_SIZE": 1_000}
# Two steps of one filter: the network guesses.
POOR = {
    "FILTERS_1": 1,
    "FILTERS_2": 1,
    "EPOCHS": 1,
    "BATCH_SIZE": 50_000,
    "VALIDATION_SIZE": 1,
}
DIGEST = """
def digest(network):
    return hashlib.sha256(b"".join(w.tobytes() for w in network.get_weights())).hexdigest()
print(digest(model), digest(plain), digest(robust))
"""


def project(folder):
    """Copy the project to ``folder``, with a last cell in the notebook that prints digests of all
    networks' weights.
    """
    path = copy_project(folder) / "notebooks" / "mnist_cnn.ipynb"
    notebook = read_notebook(path)
    notebook.cells.append(nbformat.v4.new_code_cell(DIGEST))
    nbformat.write(notebook, path)
    return folder


def weights(notebook):
    """Return the digests that the executed ``notebook`` printed in its last cell."""
    return re.findall(r"[0-9a-f]{64}", notebook.cells[-1].outputs[0].text)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """Two runs at once in one checkout, whose path has spaces and non-ASCII letters: the checkout
    and the executed notebooks.

    The second run has no display, and a home folder that is empty and read-only.
    """
    folder = project(tmp_path_factory.mktemp("runs") / "chiffres écrits 数字")
    home = tmp_path_factory.mktemp("home")
    freeze = "mount --bind {0} {0} && mount -o remount,ro,bind {0}".format(shlex.quote(str(home)))
    prefix = [*mount_namespace(), "sh", "-c", f'{freeze} && unset DISPLAY && exec "$@"', "sh"]
    runs = [
        start_notebook(folder, "first executed.ipynb", SMALL),
        start_notebook(folder, "second executed.ipynb", SMALL, prefix=prefix, HOME=str(home)),
    ]
    notebooks = [collect_notebook(run) for run in runs]
    assert not list(home.iterdir())
    return folder, notebooks


def test_same_seed_same_weights_bit_for_bit(two_runs):
    first, second = map(weights, two_runs[1])
    assert len(first) == 3 and first == second


def test_two_runs_at_once_leave_a_whole_model(two_runs):
    import keras

    folder, _ = two_runs
    assert read_card(folder)["settings"]["EPOCHS"] == SMALL["EPOCHS"]
    assert sorted(path.name for path in (folder / "models").iterdir()) == [
        "mnist_cnn.json",
        "mnist_cnn.keras",
        "mnist_cnn.onnx",
        "mnist_cnn.tflite",
        "part_1.keras",
    ]
    assert len(keras.models.load_model(folder / "models" / "mnist_cnn.keras").layers) == 8


def test_a_poor_network_runs_to_the_end(tmp_path):
    """With one thread, and without oneDNN's arithmetic."""
    surroundings = {
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    run = start_notebook(project(tmp_path / "project"), "executed.ipynb", POOR, **surroundings)
    notebook = collect_notebook(run)
    assert len(weights(notebook)) == 3
    assert all(cell.execution_count for cell in code_cells(notebook))
