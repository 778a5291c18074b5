"""What the tests share: the saved notebook, its functions to call, its networks, and what the
checks have found.
"""

import codecs
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from lesson import NOTEBOOK, ROOT, copy_project  # noqa: F401

sys.path += [str(ROOT / name) for name in ("tools", "data", "notebooks", "benchmarks")]
PAGE = ROOT / "docs" / "index.html"
MNIST = dict(np.load(ROOT / "data" / "mnist.npz"))
SAVED = nbformat.read(NOTEBOOK, as_version=4)  # the notebook as it is in the repository
CELLS = [cell for cell in SAVED.cells if cell.cell_type == "code"]
TEXT = "\n".join(cell.source for cell in SAVED.cells if cell.cell_type == "markdown")
SMALL = {"FILTERS_1": 4, "FILTERS_2": 8, "EPOCHS": 2, "VALIDATION_SIZE": 500}
SOLUTIONS = re.findall(r"<summary>Solution.*?```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One of the two workers takes nbval's cells, which come first, and the tests of what they have
    left; the other takes the other files.
    """
    items.sort(key=lambda item: item.path.suffix != ".ipynb")
    for item in items:
        lesson = item.path.suffix == ".ipynb" or "found" in item.fixturenames
        item.add_marker(pytest.mark.xdist_group("lesson" if lesson else item.path.stem))


def tags(cell):
    """Return the set of tags of ``cell``."""
    return set(cell.metadata.get("tags", []))


def start_small_run(path, **environment):
    """Start to run the notebook at ``path`` with small networks; return the process."""
    command = [sys.executable, ROOT / "tools" / "run_notebook.py", path, path.with_suffix(".out")]
    for name, value in SMALL.items():
        command += ["-p", name, str(value)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=os.environ | environment, **pipes)


def run_cells(*wanted, **parameters):
    """Execute the saved notebook's cells that carry one of the tags ``wanted``, in order, with
    other ``parameters``; return their names.
    """
    names = SimpleNamespace()
    for cell in CELLS:
        if tags(cell) & set(wanted):
            exec(compile(cell.source, f"<{cell.id}>", "exec"), vars(names))
            if "parameters" in tags(cell):
                vars(names).update(parameters)
    return names


@pytest.fixture(scope="session")
def definitions():
    """The functions that the notebook defines, and its parameters."""
    return run_cells("imports", "parameters", "definitions")


@pytest.fixture(scope="session")
def networks():
    """The plain and the augmented network of docs/index.html, the saved notebook's page."""
    data = re.findall(r"'bits': (\d+), 'scale': (\S+), 'bytes': '(\S+)'", PAGE.read_text("utf-8"))
    made = [run_cells("imports", "parameters", "model").model for _ in range(2)]
    arrays = [array for network in made for array in network.weights]
    for array, (bits, scale, text) in zip(arrays, data, strict=True):
        whole = codecs.decode(codecs.decode(text.encode(), "base64"), "zlib")
        array.assign(float(scale) * np.frombuffer(whole, f"int{bits}").reshape(array.shape))
    return made


@pytest.fixture(scope="session")
def found():
    """What the checks of this run have found in the notebook's kernel, after its last cell."""
    path = ROOT / "build" / "test" / "checks.json"
    assert path.exists(), "nothing is checked: run `make test`, and see the cells that fail"
    return json.loads(path.read_text())
