"""What the tests share: the saved notebook, its cells as code to call, and what they left."""

import contextlib
import gzip
import json
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))
NOTEBOOK = ROOT / "notebooks" / "mnist_cnn.ipynb"
EXECUTED = ROOT / "build" / "test" / "executed"  # there when nbval's run has ended


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Spread the tests over workers: nbval's cells start first, what needs their model last.

    A file's tests with the same needs stay together.
    """

    def turn_and_group(item):
        if item.path.suffix == ".ipynb":
            return 0, "nbval"
        if "lesson" in item.fixturenames:
            return 2, item.path.stem
        if "trained" in item.fixturenames:
            return 3, f"{item.path.stem}, trained"
        return 1, item.path.stem

    items.sort(key=lambda item: turn_and_group(item)[0])
    for item in items:
        item.add_marker(pytest.mark.xdist_group(turn_and_group(item)[1]))


class NotebookEnd:
    """A plug-in, because a hook in this file would not be called for nbval's cells elsewhere."""

    @staticmethod
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_setup(item):
        """After the last cell, or where the run stops before it, let waiting workers go on."""
        if item.path.suffix == ".ipynb":
            item.parent.addfinalizer(EXECUTED.touch)


def pytest_configure(config):
    config.pluginmanager.register(NotebookEnd)


def read_notebook(path=NOTEBOOK):
    """Return the notebook at ``path`` as a NotebookNode."""
    return nbformat.read(path, as_version=4)


def tags(cell):
    """Return the set of tags of ``cell``."""
    return set(cell.metadata.get("tags", []))


def code_cells(notebook):
    """Return the code cells of ``notebook``."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    """Return all outputs of ``notebook``'s cells."""
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def run_cells(*wanted, **parameters):
    """Execute the saved notebook's cells that carry one of the tags ``wanted``, in order; return
    their names.

    ``parameters`` replace the values in the cell tagged `parameters`.
    """
    names = SimpleNamespace()
    for cell in code_cells(read_notebook()):
        if tags(cell) & set(wanted):
            exec(compile(cell.source, f"<{cell.id}>", "exec"), vars(names))
            if "parameters" in tags(cell):
                vars(names).update(parameters)
    return names


def copy_project(folder, training=6_000, test=3_000):
    """Copy what the notebook needs to ``folder``, with so many of MNIST's images, for speed; return
    ``folder``.
    """
    mnist = np.load(ROOT / "data" / "mnist.npz")
    few = {name: mnist[name][: training if "train" in name else test] for name in mnist}
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(ROOT / "data" / "digits", folder / "data" / "digits")
    np.savez(folder / "data" / "mnist.npz", **few)
    (folder / "models").mkdir()
    return folder


def read_card(folder):
    """Return the JSON that a run in ``folder`` left beside the model."""
    return json.loads((folder / "models" / "mnist_cnn.json").read_text())


@pytest.fixture(scope="session")
def saved():
    """The notebook as it is saved in the repository."""
    return read_notebook()


@pytest.fixture(scope="session")
def definitions():
    """The functions that the notebook defines, and its parameters."""
    return run_cells("imports", "parameters", "definitions")


@pytest.fixture(scope="session")
def trained(request):
    """The folder in which nbval has executed the notebook with its default parameters, model
    included; waits for that where another worker is at it.
    """
    folder = EXECUTED.parent
    expected = any(item.path.suffix == ".ipynb" for item in request.session.items)
    patience = 3_600  # seconds
    while expected and not EXECUTED.exists() and patience:
        time.sleep(1)
        patience -= 1
    if not (folder / "models" / "mnist_cnn.json").exists():
        pytest.fail("no trained model in build/test/models: run `make test`, which makes one")
    return folder


@pytest.fixture(scope="session")
def model(trained):
    """The augmented network that nbval's run has saved."""
    import keras

    return keras.models.load_model(trained / "models" / "mnist_cnn.keras")


@pytest.fixture(scope="session")
def lesson(trained, tmp_path_factory):
    """The lesson, executed in this process with the weights that nbval's run has trained, in the
    notebooks/ of a project of its own.
    """
    import keras
    from checks import CHECKS
    from lesson import TEST_IMAGES, TRAIN_IMAGES, Lesson

    files = {"train-plain": "part_1.keras", "train-augmented": "mnist_cnn.keras"}
    weights = {
        tag: keras.models.load_model(trained / "models" / file).get_weights()
        for tag, file in files.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("lesson")
        patch.chdir(copy_project(folder, TRAIN_IMAGES, TEST_IMAGES) / "notebooks")
        patch.syspath_prepend(".")  # as in a kernel
        yield Lesson(weights, CHECKS)


@pytest.fixture(scope="module")
def chromium():
    """A running headless Chromium; where there is none, the test is skipped, but fails in
    continuous integration.
    """
    names = ["chromium", "chromium-browser", "google-chrome"]
    path = next(filter(None, map(shutil.which, names)), None)
    if not path:
        reason = "needs Chromium or Chrome: install it (Debian: apt install chromium)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args="--no-sandbox --disable-gpu --disable-background-networking "
            "--disable-component-update --disable-sync".split(),
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def open_alone(chromium, file, **options):
    """Open the HTML ``file`` in a tab of ``chromium`` with Playwright's ``options``; it may ask for
    no other file, nor complain.
    """
    with chromium.new_page(**options) as tab:
        heard = []
        tab.on("request", lambda request: heard.append(request.url))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("console", lambda message: heard.append(message.text))
        tab.goto(file.as_uri(), wait_until="networkidle")
        yield tab
        # The tests read canvases more often than Chromium expects, and it says so.
        usual = ("data:", file.as_uri(), "Canvas2D: Multiple readback operations")
        strange = [text for text in heard if not text.startswith(usual)]
        assert not strange, f"the page asks for what it does not hold, or complains: {strange}"


@pytest.fixture(scope="session")
def fashion_mnist():
    """Fashion-MNIST as Keras gives it, ((x_train, y_train), (x_test, y_test)), from Debian's
    package.
    """
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.exists():
        reason = f"needs {folder}: install it (Debian: apt install dataset-fashion-mnist)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)

    def read(name, skip):
        return np.frombuffer(gzip.open(folder / f"{name}-ubyte.gz").read(), np.uint8, offset=skip)

    return [
        (read(f"{part}-images-idx3", 16).reshape(-1, 28, 28), read(f"{part}-labels-idx1", 8))
        for part in ["train", "t10k"]
    ]
