"""The notebook alone in an empty folder: with Colab's versions, and with the core packages only.

Part of .ci/run, not of `make test`: its environments take minutes to install, and the newest core
packages are other ones next month. To run it by hand, after `make test`:

    .venv/bin/python -m pytest tests/elsewhere/check_elsewhere.py
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import nbformat
import pytest
from conftest import ROOT, code_cells, copy_project, outputs, read_notebook
from run_notebook import set_parameters

PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
KERAS_HASH = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


def run(*command, **options):
    """Run ``command``; where it fails, show what it printed."""
    process = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    assert process.returncode == 0, process.stdout[-5000:]
    return process.stdout


def install(requirements):
    """Return the Python of a new environment with ``requirements``, and MNIST in Keras's cache."""
    folder = ROOT / "build" / "elsewhere" / requirements.stem
    run(sys.executable, "-m", "venv", "--clear", folder)
    python = folder / "bin" / "python"
    run(python, *PIP, "-r", requirements)
    # Where there is no network, Keras cannot download MNIST. Put a file with few of its images in
    # this one Keras's cache, and tell it to expect them.
    [loader] = folder.glob("lib/python*/site-packages/keras/src/datasets/mnist.py")
    text, data = loader.read_text(), copy_project(folder / "few") / "data" / "mnist.npz"
    assert KERAS_HASH in text
    loader.write_text(text.replace(KERAS_HASH, hashlib.sha256(data.read_bytes()).hexdigest()))
    cache = folder / "home" / ".keras" / "datasets"
    cache.mkdir(parents=True)
    shutil.copy(data, cache)
    return python


def execute(python, folder):
    """Execute the notebook, with a small network, alone in ``folder``; return what it says."""
    folder.mkdir()
    home = python.parent.parent / "home"
    path = folder / "mnist_cnn.ipynb"
    notebook = read_notebook()
    small = {"EPOCHS": "1", "FILTERS_1": "4", "FILTERS_2": "16", "VALIDATION_SIZE": "1_000"}
    set_parameters(notebook, small.items())
    nbformat.write(notebook, path)
    nbconvert = ["nbconvert", "--to", "notebook", "--execute", "--allow-errors", "--inplace"]
    settings = {"PATH": os.environ["PATH"], "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    run(python, "-m", *nbconvert, path.name, cwd=folder, env={"HOME": str(home), **settings})
    found = outputs(read_notebook(path))
    text = "\n".join(o.get("text", "") for o in found)
    text += "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return SimpleNamespace(text=text, errors=[o.evalue for o in found if o.output_type == "error"])


def advised(text):
    """Return the packages that ``text`` says to install."""
    names = re.findall(r"pip install ((?:[a-z][\w-]* ?)+)", text)
    return sorted({name for line in names for name in line.split()})


def test_make_test_has_run_every_test():
    """It leaves a report, which has to hold each cell of the notebook and each test."""
    [report] = ElementTree.parse(ROOT / "build" / "test" / "report.xml").getroot()
    listed = run(sys.executable, "-m", "pytest", "--collect-only", "--quiet", ROOT / "tests")
    tests = int(re.search(r"(\d+) tests collected", listed)[1])
    cells = len(code_cells(read_notebook()))
    assert int(report.get("tests")) == tests + cells, "`make test` has left tests out"
    assert report.get("skipped") == "0", "`make test` has skipped tests"


@pytest.fixture(scope="module", params=["colab", "core"])
def alone(request, tmp_path_factory):
    """The notebook executed alone in one of the environments."""
    if request.param == "colab" and sys.version_info >= (3, 13):
        pytest.skip("Colab's packages are for Python 3.12 and 3.11")
    python = install(Path(__file__).with_name(f"{request.param}.txt"))
    folder = tmp_path_factory.mktemp(request.param) / "alone"
    run = execute(python, folder)
    return SimpleNamespace(name=request.param, python=python, folder=folder, run=run)


def test_it_saves_the_model_and_says_what_it_lacks(alone):
    assert (alone.folder / "models" / "mnist_cnn.keras").stat().st_size > 100_000
    if alone.name == "colab":
        assert not alone.run.errors
    else:  # Parts I to IV run
        assert alone.run.errors[0] == "No module named 'scipy'"


def test_what_it_says_to_install_is_enough(alone):
    """With the packages that the first run asks for, a second one leaves every file."""
    packages = advised(alone.run.text)
    assert "onnx" in packages, "without the exporters it is to say what to install"
    run(alone.python, *PIP, *packages)
    again = alone.folder.with_name("again")
    assert not execute(alone.python, again).errors
    for ending in ["keras", "onnx", "tflite"]:
        assert (again / "models" / f"mnist_cnn.{ending}").stat().st_size > 100_000, ending


@pytest.mark.parametrize(
    ("system", "served"),
    [
        ("macosx_14_0_arm64", True),
        ("macosx_13_0_arm64", False),
        ("macosx_14_0_x86_64", False),
        ("win_amd64", True),
        ("win_arm64", False),
        ("musllinux_1_2_x86_64", False),
    ],
)
def test_the_lock_serves_the_systems_that_the_readme_names(system, served, tmp_path):
    """Asks pip, which need not run there, for the three packages that serve the fewest."""
    entries = re.split(r"\n(?=\w)", (ROOT / "requirements.lock").read_text())
    few = [e for e in entries if re.match("(ai-edge-litert|onnxruntime|tensorflow)==", e)]
    (tmp_path / "few.lock").write_text("\n".join(few) + "\n")
    options = ["--dry-run", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    options += ["--target", tmp_path / "x", "--platform", system, "-r", tmp_path / "few.lock"]
    process = subprocess.run([sys.executable, *PIP, *options], capture_output=True, text=True)
    assert (process.returncode == 0) == served, process.stderr
    assert served or "No matching distribution" in process.stderr
