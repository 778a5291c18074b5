"""What the tests share: the saved notebook, its functions to call, and what nbval has left."""

import json
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from lesson import NOTEBOOK, ROOT, copy_project  # noqa: F401

sys.path += [str(ROOT / name) for name in ("tools", "data", "notebooks", "benchmarks")]
BUILD = ROOT / "build" / "test"  # nbval executes a copy of the project here
EXECUTED = BUILD / "executed"  # there when all cells have run
MNIST = dict(np.load(ROOT / "data" / "mnist.npz"))
SAVED = nbformat.read(NOTEBOOK, as_version=4)  # the notebook as it is in the repository
CELLS = [cell for cell in SAVED.cells if cell.cell_type == "code"]
TEXT = "\n".join(cell.source for cell in SAVED.cells if cell.cell_type == "markdown")
SOLUTIONS = re.findall(r"<summary>Solution.*?```python\n(.*?)```", TEXT, re.DOTALL)


def turn_and_group(item):
    """Return when the test ``item`` runs, and with which others, on one of the two workers."""
    if item.path.suffix == ".ipynb":
        return 0, "nbval"
    if "found" in item.fixturenames:
        return 2, "nbval"
    waits = "trained" in item.fixturenames
    return (2, f"{item.path.stem}, trained") if waits else (1, item.path.stem)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Nbval's cells come first, what needs their results last."""
    items.sort(key=lambda item: turn_and_group(item)[0])
    for item in items:
        item.add_marker(pytest.mark.xdist_group(turn_and_group(item)[1]))


class NotebookEnd:
    """A plug-in, because a hook in this file would not be called for nbval's cells elsewhere."""

    @staticmethod
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_setup(item):
        """Where the run stops before its end, let the other worker go on as well."""
        if item.path.suffix == ".ipynb":
            item.parent.addfinalizer(EXECUTED.touch)


def pytest_configure(config):
    config.pluginmanager.register(NotebookEnd)


def tags(cell):
    """Return the set of tags of ``cell``."""
    return set(cell.metadata.get("tags", []))


def start_small_run(path, **environment):
    """Start to run the notebook at ``path`` with small networks; return the process."""
    command = [sys.executable, ROOT / "tools" / "run_notebook.py", path, path.with_suffix(".out")]
    small = "-p FILTERS_1 4 -p FILTERS_2 8 -p EPOCHS 2 -p VALIDATION_SIZE 500"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*command, *small.split()], env=os.environ | environment, **pipes)


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
def found():
    """What the checks of this run have found in the notebook's kernel, after its last cell."""
    path = BUILD / "checks.json"
    assert path.exists(), "nothing is checked: run `make test`, and see the cells that fail"
    return json.loads(path.read_text())


@pytest.fixture(scope="session")
def trained(request):
    """The folder in which nbval has executed the notebook, or will have, on the other worker."""
    expected = any(item.path.suffix == ".ipynb" for item in request.session.items)
    end = time.monotonic() + 3_600
    while expected and not EXECUTED.exists() and time.monotonic() < end:
        time.sleep(1)
    assert (BUILD / "models" / "mnist_cnn.json").exists(), "no trained model: run `make test`"
    return BUILD


@pytest.fixture(scope="session")
def model(trained):
    """The augmented network that nbval's run has saved."""
    import keras

    return keras.models.load_model(trained / "models" / "mnist_cnn.keras")
