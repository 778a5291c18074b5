"""The drawing pad in a real browser: Chromium, against a real JupyterLab and a real kernel.

The kernel runs the cells of the notebook that define something and the pad's cell, with the model that nbval's run trained.
The pad's picture in the README is what the last test leaves in build/test/pad.png.
"""
import os
import re
import socket
import subprocess
import sys
import time
from statistics import median

import nbformat
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError, expect

from conftest import ROOT, copy_project, read_notebook, run_cells, tags

# How a hand might draw each digit: its strokes, as corners in the pad's 280x280 pixels, from the top left.
DIGITS = {
    0: [[(150, 50), (105, 70), (80, 130), (92, 200), (135, 228), (180, 205), (200, 140), (185, 80), (148, 52)]],
    1: [[(148, 48), (144, 110), (139, 170), (136, 232)]],
    2: [[(88, 92), (108, 60), (148, 52), (182, 74), (178, 114), (140, 160), (92, 214), (88, 224), (140, 222), (200, 218)]],
    3: [[(88, 76), (122, 54), (162, 62), (172, 92), (150, 122), (118, 134), (160, 142), (186, 174), (172, 212), (130, 230), (84, 214)]],
    4: [[(104, 56), (92, 110), (84, 152), (130, 150), (196, 142)], [(172, 62), (166, 130), (158, 232)]],
    5: [[(104, 58), (98, 96), (92, 130), (132, 118), (172, 136), (184, 176), (164, 214), (122, 228), (82, 212)], [(104, 58), (146, 56), (192, 52)]],
    6: [[(172, 52), (130, 86), (100, 136), (90, 186), (108, 222), (148, 230), (178, 204), (172, 168), (138, 156), (104, 176), (94, 194)]],
    7: [[(82, 64), (130, 62), (194, 58), (176, 104), (152, 160), (130, 232)]],
    8: [[(176, 78), (142, 52), (104, 70), (108, 108), (146, 136), (182, 172), (178, 212), (138, 230), (98, 208), (106, 168), (150, 132), (180, 102), (176, 78)]],
    9: [[(182, 92), (156, 58), (114, 62), (94, 98), (108, 134), (148, 136), (180, 102), (184, 84), (178, 150), (164, 232)]],
}


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory):
    """The address of a JupyterLab with the notebook cut down to what the pad needs; {} is to be replaced by a path."""
    folder = copy_project(tmp_path_factory.mktemp("browser") / "project")
    path = folder / "notebooks" / "mnist_cnn.ipynb"
    notebook = read_notebook(path)
    notebook.cells = [cell for cell in notebook.cells if tags(cell) & {"imports", "parameters", "definitions", "pad"}]
    model = trained / "models" / "mnist_cnn.keras"
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(
        f"model, unsure_below = keras.models.load_model({str(model)!r}), 0.75"))
    for cell in notebook.cells:
        cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    settings = {name: str(home / name) for name in [
        "HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]}
    log = home / "log"
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
         "--ServerApp.port_retries=0", "--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}",
         "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
        env={**os.environ, **settings}, stdout=log.open("w"), stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/{{}}/notebooks/mnist_cnn.ipynb?token=secret"
    finally:
        process.terminate()
        process.wait(30)


class Pad:
    """The pad in a page of ``chromium`` at ``address``, after all cells have run."""

    def __init__(self, chromium, address):
        self.context = chromium.new_context(has_touch=True, viewport={"width": 1400, "height": 1000})
        self.requests, self.waits = [], []
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.kernels = re.sub("/(lab|notebooks)/.*[?]", "/api/kernels?", address)
        others = self.connections()
        self.page.goto(address)
        deadline = time.monotonic() + 60
        while self.connections() <= others:
            assert time.monotonic() < deadline, "the page has not found an idle kernel within a minute"
            self.page.wait_for_timeout(100)
        self.run_all_cells()
        self.canvas = self.page.get_by_role("img", name="Drawing pad")
        self.answer = self.page.locator("p[role=status]")
        self.picture = self.page.get_by_role("img", name="bar chart")
        self.canvas.wait_for(timeout=120_000)
        expect(self.answer).to_have_text(re.compile("looks like a 3"))
        self.touches = self.context.new_cdp_session(self.page)

    def connections(self):
        """Return how many pages are connected to the kernel, 0 while it starts."""
        kernels = self.page.request.get(self.kernels).json()
        return sum(kernel["connections"] for kernel in kernels if kernel["execution_state"] == "idle")

    def run_all_cells(self):
        """Choose Run All Cells until cells run: in the page's first moments it does nothing."""
        started = self.page.locator(".jp-InputPrompt", has_text=re.compile(r"[\d*]")).first
        for _ in range(20):
            self.page.get_by_role("menuitem", name="Run", exact=True).click()
            self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            try:
                return started.wait_for(timeout=2_000)
            except TimeoutError:
                continue
        pytest.fail("no cell has started after 20 tries")

    def press(self, button):
        self.page.locator(".jp-OutputArea-output").get_by_role("button", name=button).click()

    def clear(self):
        self.press("Clear")
        expect(self.answer).to_have_text(re.compile("^No digit: .*blank"))

    def upload(self, name, content):
        with self.page.expect_file_chooser() as chooser:
            self.press("Upload")
        chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})

    def move_mouse(self, points):
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=8)
        self.page.mouse.up()

    def move_finger(self, points):
        for kind, point in zip(["touchStart"] + ["touchMove"] * len(points), points):
            self.touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [dict(zip("xy", point))]})
        self.touches.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def draw(self, strokes, move=None):
        """Draw ``strokes`` on the pad, waiting for the answer to each; return the last answer's digit."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        for stroke in strokes:
            image = self.picture.element_handle()
            (move or self.move_mouse)([(box["x"] + 1 + x, box["y"] + 1 + y) for x, y in stroke])  # 1: the border
            start = time.perf_counter()
            self.page.wait_for_function("image => !image.isConnected", arg=image)  # a new answer is a new image
            self.waits.append(time.perf_counter() - start)
        return self.digit()

    def drawn(self):
        """Return the pixels on the pad."""
        return self.canvas.evaluate("canvas => canvas.toDataURL()")

    def digit(self):
        """Return the digit in the answer that the page shows."""
        return int(re.match(r"This looks like a (\d)", self.answer.inner_text())[1])


@pytest.fixture(scope="module")
def pad(chromium, server):
    """The pad in JupyterLab."""
    return Pad(chromium, server.format("lab/tree"))


def test_ten_digits_drawn_with_the_mouse(pad):
    read = []
    for strokes in DIGITS.values():
        pad.clear()
        read.append(pad.draw(strokes))
    print(f"answered within {median(pad.waits) * 1000:.0f} ms (median of {len(pad.waits)} strokes)")
    assert sum(np.array(read) == list(DIGITS)) >= 9, f"0 to 9 were read as {read}"


def test_a_finger_draws_too(pad):
    for digit in [3, 7]:
        pad.clear()
        assert pad.draw(DIGITS[digit], pad.move_finger) == digit


def test_undo_takes_back_one_stroke_and_its_answer(pad):
    pad.clear()
    pad.draw(DIGITS[4][:1])
    one_stroke, shown = pad.picture.get_attribute("src"), pad.drawn()
    pad.draw(DIGITS[4][1:])
    assert pad.drawn() != shown
    pad.press("Undo")
    expect(pad.picture).to_have_attribute("src", one_stroke)
    assert pad.drawn() == shown


def test_clear_leaves_no_answer(pad):
    pad.clear()
    blank, empty = pad.picture.get_attribute("src"), pad.drawn()
    pad.draw(DIGITS[0])
    assert pad.drawn() != empty
    pad.clear()
    expect(pad.picture).to_have_attribute("src", blank)
    assert "looks like" not in pad.answer.inner_text() + pad.picture.get_attribute("alt")
    assert pad.drawn() == empty


@pytest.fixture
def png(tmp_path):
    """A test image, a 7, as the content of a PNG file."""
    Image.fromarray(np.load(ROOT / "data" / "mnist.npz")["x_test"][0]).resize((280, 280)).save(tmp_path / "seven.png")
    return (tmp_path / "seven.png").read_bytes()


def test_upload(pad, png):
    pad.draw(DIGITS[0])
    for _ in range(2):  # the same file again is a new question
        pad.upload("seven.png", png)
        expect(pad.answer).to_have_text(re.compile("This looks like a 7"))
        pad.clear()


@pytest.mark.parametrize("content", [b"no picture", b"", "half"], ids=["text", "nothing", "half a picture"])
def test_upload_of_garbage_is_answered_in_words(pad, png, content):
    pad.draw(DIGITS[1])
    pad.upload("garbage.png", png[:len(png) // 2] if content == "half" else content)
    expect(pad.answer).to_have_text(re.compile("^No digit: cannot read the file as a picture .* Save one picture .* as a PNG"))
    assert "looks like" not in pad.picture.get_attribute("alt")
    pad.clear()


def test_nothing_is_fetched_from_elsewhere(pad, server):
    home = server[:server.index("{")]
    assert pad.requests
    assert not [url for url in pad.requests if not url.startswith((home, "data:", "blob:"))]


def test_picture_of_the_pad(pad):
    pad.clear()
    assert pad.draw(DIGITS[5]) == 5
    pad.page.locator(".widget-hbox", has=pad.canvas).last.screenshot(path=ROOT / "build" / "test" / "pad.png")


def test_notebook_7(chromium, server):
    pad = Pad(chromium, server.format("notebooks"))
    pad.clear()
    assert pad.draw(DIGITS[2]) == 2


def test_without_the_package_the_notebook_goes_on(trained, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    names = run_cells("imports", "parameters", "definitions")
    assert "run `%pip install anywidget`" in capsys.readouterr().out
    names.model, names.unsure_below = names.keras.models.load_model(trained / "models" / "mnist_cnn.keras"), 0.75
    [cell] = [cell for cell in read_notebook().cells if "pad" in tags(cell)]
    exec(cell.source, vars(names))
    assert names.shown.keys() == {"image/png", "text/plain"} and "looks like a 3" in names.alt


def test_a_guess_is_called_a_guess(definitions):
    vars(definitions).update(unsure_below=0.75, model=lambda batch: np.full((1, 10), 0.1))
    assert definitions.read_picture(definitions.draw_strokes([[(50, 50), (200, 200)]]))[2] == \
        "This is hard to read, perhaps a 0: probability 10%."
