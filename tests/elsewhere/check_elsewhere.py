"""The notebook without its project: with Colab's versions, and with the README's core packages in
the oldest versions that it runs with.

In .ci/run, not in `make test`: installing takes minutes, and what is newest changes each month.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import MNIST, NOTEBOOK, ROOT

# One step of one filter in each training: the network guesses, and all runs to the end.
POOR = "-p EPOCHS 1 -p FILTERS_1 1 -p FILTERS_2 1 -p BATCH_SIZE 50_000 -p VALIDATION_SIZE 20"
# With which packages, what parameters, what the cell contains that first misses a package, one of
# those that are then installed, and which files there are at the end. Old versions of Keras export
# nothing that the lesson asks for.
FEW = "-p EPOCHS 1 -p VALIDATION_SIZE 500"
CASES = [
    ("core", POOR, "from scipy import", "scipy", ".json .keras"),
    ("colab", FEW, '"format": "onnx"', "onnx", ".json .keras .onnx .tflite"),
]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="these versions are for older Pythons")
@pytest.mark.parametrize(("packages", "parameters", "missing", "advised", "left"), CASES)
def test_it_runs_where_the_reader_installs_what_it_advises(
    packages, parameters, missing, advised, left, tmp_path
):
    """And then has the cell run again that missed it; what comes before needs no more."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    advice = re.findall(r"%pip install [a-z][a-z\d -]+", "".join(c.source for c in notebook.cells))
    [index] = [n for n, cell in enumerate(notebook.cells) if missing in cell.source]
    notebook.cells[index].metadata.tags = ["raises-exception"]
    [advice] = [line for line in advice if advised in line]
    more = map(nbformat.v4.new_code_cell, [advice, notebook.cells[index].source])
    notebook.cells[index + 1 : index + 1] = more
    (tmp_path / "notebook").mkdir()
    nbformat.write(notebook, tmp_path / "notebook" / "lesson.ipynb")
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "mnist.npz", **{name: MNIST[name][:3_000] for name in MNIST})

    python = ROOT / "build" / "elsewhere" / packages / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--clear", python.parent.parent], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "-r", Path(__file__).with_name(f"{packages}.txt")], check=True)
    command = [python, ROOT / "tools" / "run_notebook.py", "notebook/lesson.ipynb", "done.ipynb"]
    command += parameters.split()
    subprocess.run(command, cwd=tmp_path, env={"HOME": tmp_path}, check=True)
    files = {path.suffix for path in tmp_path.glob("notebook/models/mnist_cnn.*")}
    assert files == set(left.split())
