"""Headless runs of the whole notebook in other surroundings, with small networks and few images:
the same weights, and always to the end.
"""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT, code_cells, copy_project, read_card, read_notebook

SMALL = {"FILTERS_1": 4, "FILTERS_2": 8, "EPOCHS": 2, "VALIDATION_SIZE": 1_000}
# One step of one filter in each training: the network guesses.
POOR = {"FILTERS_1": 1, "FILTERS_2": 1, "EPOCHS": 1, "BATCH_SIZE": 50_000, "VALIDATION_SIZE": 20}
DIGEST = """
def digest(network):
    return hashlib.sha256(b"".join(w.tobytes() for w in network.get_weights())).hexdigest()
print(digest(model), digest(plain), digest(robust))
"""


def project(folder):
    """Copy the project to ``folder``, with a last cell that prints digests of all weights."""
    path = copy_project(folder) / "notebooks" / "mnist_cnn.ipynb"
    notebook = read_notebook(path)
    notebook.cells.append(nbformat.v4.new_code_cell(DIGEST))
    nbformat.write(notebook, path)
    return folder


def start(folder, output, parameters, **environment):
    """Start a run in ``folder`` that leaves the notebook ``output``; return the process."""
    command = [sys.executable, ROOT / "tools" / "run_notebook.py", "mnist_cnn.ipynb", output]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    return subprocess.Popen(
        command,
        cwd=folder / "notebooks",
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """Wait for ``process``; return the notebook that it leaves, and the digests in its end."""
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    notebook = read_notebook(process.args[3])
    return notebook, re.findall(r"[0-9a-f]{64}", notebook.cells[-1].outputs[0].text)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """The folder of two runs at once, whose path has spaces and non-ASCII letters, and what they
    return. The second has no display, and a home folder that it cannot make.
    """
    folder = project(tmp_path_factory.mktemp("runs") / "chiffres écrits 数字")
    surroundings = [{}, {"HOME": "/proc/nobody", "DISPLAY": ""}]
    runs = [start(folder, folder / f"{n}.ipynb", SMALL, **s) for n, s in enumerate(surroundings)]
    return folder, [finish(run) for run in runs]


def test_same_seed_same_weights_bit_for_bit(two_runs):
    (_, first), (_, second) = two_runs[1]
    assert len(first) == 3 and first == second


def test_two_runs_at_once_leave_a_whole_model(two_runs):
    import keras

    models = two_runs[0] / "models"
    assert read_card(two_runs[0])["settings"]["EPOCHS"] == SMALL["EPOCHS"]
    names = "mnist_cnn.json mnist_cnn.keras mnist_cnn.onnx mnist_cnn.tflite part_1.keras"
    assert sorted(path.name for path in models.iterdir()) == names.split()
    assert len(keras.models.load_model(models / "mnist_cnn.keras").layers) == 8


def test_a_poor_network_runs_to_the_end(tmp_path):
    """With one thread, and without oneDNN's arithmetic."""
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    folder = project(tmp_path / "project")
    run = start(folder, tmp_path / "poor.ipynb", POOR, TF_ENABLE_ONEDNN_OPTS="0", **threads)
    notebook, digests = finish(run)
    assert len(digests) == 3
    assert all(cell.execution_count for cell in code_cells(notebook))
