"""The drawing pad in a real browser: Chromium, against a real JupyterLab and Notebook 7 and one
real kernel.

The kernel runs the cells of the notebook that define something and twice the pad's cell, with the
model that nbval's run trained. The pad's picture in the README is what a test leaves in
build/test/pad.png.
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
from conftest import ROOT, copy_project, read_notebook, run_cells, tags
from PIL import Image
from playwright.sync_api import TimeoutError, expect

# Seconds before a page counts as hung: a busy machine is slow, and an idle one waits for nothing.
PATIENCE = 180
expect.set_options(timeout=30_000)

# How a hand might draw each digit: its strokes, as corners in the pad's 280x280 pixels, from the
# top left.
DIGITS = {
    0: "150,50 105,70 80,130 92,200 135,228 180,205 200,140 185,80 148,52",
    1: "148,48 144,110 139,170 136,232",
    2: "88,92 108,60 148,52 182,74 178,114 140,160 92,214 88,224 140,222 200,218",
    3: "88,76 122,54 162,62 172,92 150,122 118,134 160,142 186,174 172,212 130,230 84,214",
    4: "104,56 92,110 84,152 130,150 196,142 | 172,62 166,130 158,232",
    5: "104,58 98,96 92,130 132,118 172,136 184,176 164,214 122,228 82,212 | 104,58 146,56 192,52",
    6: "172,52 130,86 100,136 90,186 108,222 148,230 178,204 172,168 138,156 104,176 94,194",
    7: "82,64 130,62 194,58 176,104 152,160 130,232",
    8: "176,78 142,52 104,70 108,108 146,136 182,172 178,212 138,230 98,208 106,168 "
    "150,132 180,102 176,78",
    9: "182,92 156,58 114,62 94,98 108,134 148,136 180,102 184,84 178,150 164,232",
}
DIGITS = {
    digit: [
        [tuple(map(int, point.split(","))) for point in stroke.split()]
        for stroke in text.split("|")
    ]
    for digit, text in DIGITS.items()
}


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory):
    """The address of a JupyterLab with the notebook cut down to what the pad needs; {} is to be
    replaced by a path.
    """
    folder = copy_project(tmp_path_factory.mktemp("browser") / "project")
    path = folder / "notebooks" / "mnist_cnn.ipynb"
    notebook = read_notebook(path)
    wanted = {"imports", "parameters", "definitions"}
    cells = [cell for cell in notebook.cells if tags(cell) & wanted]
    [pad] = [cell for cell in notebook.cells if "pad" in tags(cell)]
    model = trained / "models" / "mnist_cnn.keras"
    load = nbformat.v4.new_code_cell(
        f"robust, threshold = keras.models.load_model({str(model)!r}), 0.75"
    )
    notebook.cells = [*cells, load, pad, nbformat.v4.new_code_cell(pad.source)]  # two pads
    for cell in notebook.cells:
        cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    settings = {
        name: str(home / name)
        for name in [
            "HOME",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        ]
    }
    log = home / "log"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            "--IdentityProvider.token=secret",
            f"--ServerApp.root_dir={folder}",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ],
        env={**os.environ, **settings},
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/{{}}/notebooks/mnist_cnn.ipynb?token=secret"
    finally:
        process.terminate()
        process.wait(PATIENCE)


class Pad:
    """One of the pads in ``page``, which is connected to Chrome's debugger by ``touches``."""

    def __init__(self, page, touches, nth):
        self.page, self.touches, self.waits = page, touches, []
        self.canvas = page.get_by_role("img", name="Drawing pad").nth(nth)
        self.whole = self.canvas.locator("xpath=../..")
        self.answer = self.whole.get_by_role("status")
        self.picture = self.whole.locator("img")
        self.canvas.wait_for()
        expect(self.answer).to_have_text(
            re.compile(r"a [17]: probability \d+%")
        )  # the sample, between a 1 and a 7

    def await_answer(self, action):
        """Call ``action`` and wait for the answer to it: each comes as a new image."""
        source = self.picture.get_attribute("src")
        action()
        start = time.perf_counter()
        self.page.wait_for_function(
            "([image, source]) => image.src !== source && image.complete",
            arg=[self.picture.element_handle(), source],
            timeout=30_000,
        )
        self.waits.append(time.perf_counter() - start)

    def press(self, button):
        self.await_answer(self.whole.get_by_role("button", name=button).click)

    def clear(self):
        self.press("Clear")
        expect(self.answer).to_have_text(re.compile("^No digit: .*blank"))

    def upload(self, name, content):
        with self.page.expect_file_chooser() as chooser:
            self.whole.get_by_role("button", name="Upload").click()
        self.await_answer(
            lambda: chooser.value.set_files({
                "name": name,
                "mimeType": "image/png",
                "buffer": content,
            })
        )

    def move_mouse(self, points, button="left"):
        self.page.mouse.move(*points[0])
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*point, steps=8)
        self.page.mouse.up(button=button)

    def move_finger(self, points):
        for kind, point in zip(["touchStart"] + ["touchMove"] * len(points), points):
            self.touches.send(
                "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [dict(zip("xy", point))]}
            )
        self.touches.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def place(self, stroke):
        """Return the points of ``stroke``, which are the pad's, as points of the page."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        return [(box["x"] + 1 + x, box["y"] + 1 + y) for x, y in stroke]  # 1: the border

    def draw(self, strokes, move=None):
        """Draw ``strokes`` on the pad, waiting for the answer to each; return the last answer's
        digit.
        """
        for stroke in strokes:
            points = self.place(stroke)
            self.await_answer(lambda points=points: (move or self.move_mouse)(points))
        return self.digit()

    def drawn(self):
        """Return the pixels on the pad."""
        return self.canvas.evaluate("canvas => canvas.toDataURL()")

    def shown(self):
        """Return the pixels of the answer's picture."""
        return self.picture.evaluate("""image => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL(); }""")

    def digit(self):
        """Return the digit in the answer that the page shows."""
        return int(re.search(r" a (\d): probability", self.answer.inner_text())[1])

    def uncovered(self):
        """Return whether all of the pad, the buttons and the answer can be seen or clicked, nothing
        above them.
        """
        self.canvas.scroll_into_view_if_needed()
        return self.whole.evaluate("""whole => {
          const parts = [...whole.querySelectorAll("canvas, button, img, p")];
          return parts.every((part) => {
            part.scrollIntoView({ block: "center" });
            const { left, right, top, bottom, width } = part.getBoundingClientRect();
            const across = [left + 2, (left + right) / 2, right - 2];
            const down = [top + 2, (top + bottom) / 2, bottom - 2];
            const enough = part.matches("img, canvas") ? 240 : 20;
            const free = (x) => down.every((y) => document.elementFromPoint(x, y) === part);
            return width > enough && across.every(free); }); }""")


class Page:
    """The notebook in a page of ``chromium`` at ``address``, after all cells have run, and the two
    pads in it.
    """

    def __init__(self, chromium, address):
        self.context = chromium.new_context(
            has_touch=True, viewport={"width": 1400, "height": 1000}
        )
        self.requests = []
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.kernels = re.sub("/(lab|notebooks)/.*[?]", "/api/kernels{}?", address)
        others = self.connections()
        self.page.goto(address)
        deadline = time.monotonic() + PATIENCE
        while self.connections() <= others:
            assert time.monotonic() < deadline, "the page has not found an idle kernel"
            self.page.wait_for_timeout(100)
        self.run_all_cells()
        touches = self.context.new_cdp_session(self.page)
        self.pads = [Pad(self.page, touches, nth) for nth in range(2)]

    def connections(self):
        """Return how many pages are connected to the kernel, 0 while it starts."""
        response = self.page.request.get(self.kernels.format(""))
        kernels = (
            response.json() if response.ok else []
        )  # an error in the moment in which one starts
        return sum(
            kernel["connections"] for kernel in kernels if kernel["execution_state"] == "idle"
        )

    def restart_kernel(self):
        [kernel] = self.page.request.get(self.kernels.format("")).json()
        assert self.page.request.post(self.kernels.format(f"/{kernel['id']}/restart")).ok

    def run_all_cells(self):
        """Choose Run All Cells until cells run: in the page's first moments it does nothing."""
        started = self.page.locator(".jp-InputPrompt", has_text=re.compile(r"[\d*]")).first
        for _ in range(20):
            self.page.keyboard.press("Escape")  # closes a menu left open
            self.page.get_by_role("menuitem", name="Run", exact=True).click()
            self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            try:
                return started.wait_for(timeout=2_000)
            except TimeoutError:
                continue
        pytest.fail("no cell has started after 20 tries")

    def check_widths(self, *widths):
        """Demand that nothing covers anything in windows of these ``widths``."""
        covered = []
        for width in widths:
            self.page.set_viewport_size({"width": width, "height": 1000})
            self.page.wait_for_function("width => innerWidth === width", arg=width)
            self.page.wait_for_timeout(500)  # the notebook lays itself out anew some time after
            covered += [] if self.pads[0].uncovered() else [width]
        self.page.set_viewport_size({"width": 1400, "height": 1000})
        assert not covered


@pytest.fixture(scope="module")
def lab(chromium, server):
    """The notebook in JupyterLab."""
    return Page(chromium, server.format("lab/tree"))


@pytest.fixture(scope="module")
def notebook_7(chromium, server):
    """The notebook in Notebook 7, on the same kernel as ``lab``'s."""
    return Page(chromium, server.format("notebooks"))


@pytest.fixture
def pad(lab):
    """The first pad in JupyterLab, wiped."""
    lab.pads[0].clear()
    return lab.pads[0]


def test_ten_digits_drawn_with_the_mouse(pad):
    read = []
    for strokes in DIGITS.values():
        pad.clear()
        read.append(pad.draw(strokes))
    print(
        f"answered within {median(pad.waits) * 1000:.0f} ms "
        f"(median of {len(pad.waits)} strokes and clicks)"
    )
    assert sum(np.array(read) == list(DIGITS)) >= 9, f"0 to 9 were read as {read}"


def test_a_finger_draws_too(pad):
    for digit in [3, 7]:
        pad.clear()
        assert pad.draw(DIGITS[digit], pad.move_finger) == digit


def test_the_right_button_does_not_draw(pad):
    blank, source = pad.drawn(), pad.picture.get_attribute("src")
    for button in ["right", "middle"]:
        pad.move_mouse(pad.place(DIGITS[1][0]), button)
        pad.page.keyboard.press("Escape")  # closes the menu
    assert pad.drawn() == blank and pad.picture.get_attribute("src") == source
    assert pad.draw(DIGITS[1]) == 1


def test_undo_takes_back_one_stroke_and_its_answer(pad):
    pad.draw(DIGITS[4][:1])
    one_stroke, drawn = pad.shown(), pad.drawn()
    pad.draw(DIGITS[4][1:])
    assert pad.drawn() != drawn and pad.shown() != one_stroke
    pad.press("Undo")
    assert pad.drawn() == drawn and pad.shown() == one_stroke


def test_clear_leaves_no_answer(pad):
    blank, empty = pad.shown(), pad.drawn()
    pad.draw(DIGITS[0])
    assert pad.drawn() != empty and pad.shown() != blank
    pad.clear()
    assert pad.drawn() == empty and pad.shown() == blank


@pytest.fixture
def png(tmp_path):
    """A test image, a 7, as the content of a PNG file."""
    Image.fromarray(np.load(ROOT / "data" / "mnist.npz")["x_test"][0]).resize((280, 280)).save(
        tmp_path / "seven.png"
    )
    return (tmp_path / "seven.png").read_bytes()


def test_upload(pad, png):
    empty = pad.drawn()
    pad.draw(DIGITS[0])
    for _ in range(2):  # the same file again is a new question
        pad.upload("seven.png", png)
        expect(pad.answer).to_have_text(re.compile("This looks like a 7"))
        assert pad.drawn() == empty and pad.whole.locator("input").input_value() == ""
        pad.clear()


@pytest.mark.parametrize(
    "content, answer",
    [
        (b"no picture", "no picture that Pillow knows. Take a PNG or JPEG"),
        (b"", "no picture that Pillow knows. Take a PNG or JPEG"),
        ("half", "image file is truncated. .* copy the file again"),
    ],
    ids=["text", "nothing", "half a picture"],
)
def test_upload_of_garbage_is_answered_in_words(pad, png, content, answer):
    pad.draw(DIGITS[1])
    pad.upload("garbage.png", png[: len(png) // 2] if content == "half" else content)
    expect(pad.answer).to_have_text(re.compile(f"^No digit: cannot read .*{answer}"))


def test_two_pads_are_independent(lab):
    first, second = lab.pads
    first.clear()
    second.clear()
    second.draw(DIGITS[4][:1])
    drawn, shown, sentence = second.drawn(), second.shown(), second.answer.inner_text()
    second.draw(DIGITS[4][1:])
    first.clear()
    assert first.draw(DIGITS[7]) == 7 and second.digit() == 4
    second.press("Undo")
    assert (second.drawn(), second.shown(), second.answer.inner_text()) == (drawn, shown, sentence)
    assert first.digit() == 7


def test_nothing_is_covered_in_narrow_windows(lab):
    """JupyterLab with its file browser; at 390 pixels it leaves 70 for the notebook."""
    lab.check_widths(1400, 1200, 1000, 930)


def test_it_can_be_used_without_seeing_it(pad):
    """What is drawn and read has a name, and the keyboard reaches the buttons, in this order."""
    assert all(name in (pad.picture.get_attribute("alt") or "") for name in ["28x28", "bar"])
    pad.whole.get_by_role("button", name="Undo").focus()
    for name in ["Clear", "Upload"]:
        pad.page.keyboard.press("Tab")
        expect(pad.whole.get_by_role("button", name=name)).to_be_focused()


def test_nothing_is_fetched_from_elsewhere(pad, lab, server):
    home = server[: server.index("{")]
    assert lab.requests
    assert not [url for url in lab.requests if not url.startswith((home, "data:", "blob:"))]


def test_picture_of_the_pad(pad):
    assert pad.draw(DIGITS[5]) == 5
    pad.page.mouse.move(0, 0)
    pad.whole.screenshot(path=ROOT / "build" / "test" / "pad.png")


def test_notebook_7(notebook_7):
    pad = notebook_7.pads[0]
    pad.clear()
    assert pad.draw(DIGITS[2]) == 2
    notebook_7.check_widths(1400, 1000, 800, 390, 360)


def test_after_a_restart_the_old_answer_does_not_pass_for_a_new_one(lab, notebook_7):
    notebook_7.restart_kernel()
    for pad in [lab.pads[0], notebook_7.pads[0]]:
        pad.move_mouse(pad.place(DIGITS[1][0]))
        expect(pad.answer).to_have_text(re.compile("^No answer.* run all cells again"))
        expect(pad.picture).to_have_css("opacity", "0.3")


def test_without_the_package_the_notebook_goes_on(trained, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    names = run_cells("imports", "parameters", "definitions")
    assert "run `%pip install anywidget`" in capsys.readouterr().out
    names.robust, names.threshold = (
        names.keras.models.load_model(trained / "models" / "mnist_cnn.keras"),
        0.75,
    )
    shown = []
    names.display = lambda data, raw, metadata: shown.append((data, metadata["image/png"]["alt"]))
    [cell] = [cell for cell in read_notebook().cells if "pad" in tags(cell)]
    exec(cell.source, vars(names))
    [(data, alt)] = shown
    assert data.keys() == {"image/png", "text/plain"} and data["image/png"].startswith(b"\x89PNG")
    probability = re.search(r"a [17]: probability (\d+)%", alt)[1]
    assert 40 <= int(probability) <= 95, "the network does not hesitate: take another sample"
