"""The drawing pad in a real browser, Chromium: alone in a page, in JupyterLab and in Notebook 7.

The pad holds the networks that nbval's run trained. Its picture, which the README, the notebook's
first cell and pages without scripts show, is what a test leaves in build/test/pad.png.
"""

import base64
import io
import os
import re
import socket
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT, copy_project, read_notebook, run_cells, tags
from PIL import Image
from playwright.sync_api import TimeoutError, expect

# Seconds before a page counts as hung: a busy machine is slow, and an idle one waits for nothing.
PATIENCE = 180
expect.set_options(timeout=30_000)
PAD = ROOT / "notebooks" / "pad"
TESTS = np.load(ROOT / "data" / "mnist.npz")["x_test"][:1_000]


@pytest.fixture(scope="module")
def lesson_names(trained):
    """The notebook's functions, and both networks as they were trained."""
    names = run_cells("imports", "parameters", "definitions", FILTERS_1=3, FILTERS_2=5)
    for name, file in {"plain": "part_1.keras", "robust": "mnist_cnn.keras"}.items():
        setattr(names, name, names.keras.models.load_model(trained / "models" / file))
    return names


def pad_cell():
    [cell] = [cell for cell in read_notebook().cells if "pad" in tags(cell)]
    return cell


def shown_by_pad_cell(names, folder):
    """Return what the pad's cell displays when it is run in ``folder``."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(pad_cell().source, {**vars(names), "display": lambda data, raw: shown.append(data)})
    return shown


@pytest.fixture(scope="module")
def pad_file(lesson_names, tmp_path_factory):
    """A page with what the pad's cell displays, twice: each in a box of its own, as in Jupyter."""
    [data] = shown_by_pad_cell(lesson_names, PAD.parent)
    file = tmp_path_factory.mktemp("pad") / "pad.html"
    html = data["text/html"]
    file.write_text(f"""<!DOCTYPE html><html lang="en"><title>Two pads</title>
        <meta name="viewport" content="width=device-width"><style>
        :root {{ color-scheme: light dark }} .jupyter {{ background: #111; color: #eee }}</style>
        <main><div>{html}</div><div>{html}</div></main>""")
    return file


@pytest.fixture
def page(chromium, pad_file):
    """The page with two pads; it may ask for nothing else, nor complain."""
    tab = chromium.new_page(has_touch=True, viewport={"width": 1000, "height": 1000})
    asked, complaints = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(pad_file.as_uri())
    yield tab
    assert asked == [pad_file.as_uri()] and not complaints
    tab.close()


@pytest.fixture
def pad(page):
    return Pad(page)


@pytest.fixture(scope="module")
def scripts(chromium):
    """An empty page in which the functions of network.js and pad.js can be called."""
    tab = chromium.new_page()
    for name in ("network.js", "pad.js"):
        tab.add_script_tag(path=PAD / name)
    yield tab
    tab.close()


class Pad:
    """One of the pads in ``page``."""

    def __init__(self, page, nth=0):
        self.page, self.whole = page, page.locator(".pad").nth(nth)
        self.canvas = self.whole.get_by_role("img", name="Drawing pad")
        self.status = self.whole.get_by_role("status")
        expect(self.status).to_have_text("They agree: plain reads 4, augmented reads 4.")

    def press(self, name):
        self.whole.get_by_role("button", name=name, exact=True).click()

    def set(self, name, value):
        self.whole.get_by_label(name).fill(str(value))

    def place(self, stroke):
        """Return the points of ``stroke``, which are the pad's, as points of the page."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        points = np.reshape(stroke, (-1, 2)) * box["width"] / 280 + [box["x"], box["y"]]
        return points.tolist()

    def draw(self, strokes, button="left"):
        for points in map(self.place, strokes):
            self.page.mouse.move(*points[0])
            self.page.mouse.down(button=button)
            for point in points[1:]:
                self.page.mouse.move(*point, steps=4)
            self.page.mouse.up(button=button)

    def touch(self, strokes):
        session = self.page.context.new_cdp_session(self.page)
        for points in map(self.place, strokes):
            for kind, point in zip(["touchStart"] + ["touchMove"] * len(points), points):
                touched = [dict(zip("xy", point))]
                session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
            session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def digits(self):
        """Return both networks' digits, which have to be those of the longest bars."""
        columns = self.whole.evaluate("""pad => [1, 2].map(column =>
            [...pad.querySelectorAll("tr")].slice(1).map(({ cells }) => [
                cells[0].innerText, cells[column].innerText,
                parseFloat(getComputedStyle(cells[column]).backgroundSize.slice(5))]))""")
        best = []
        for rows in columns:
            bars = {int(digit): percent for digit, _, percent in rows}
            assert {int(digit): text for digit, text, _ in rows} == {
                digit: f"{percent:.0f}%" for digit, percent in bars.items()
            }
            best.append(max(bars, key=bars.get))
        assert self.whole.locator("b").all_inner_texts() == [str(digit) for digit in best]
        return best

    def seen(self, name="28x28"):
        """Return the 28x28 pixels that the networks get, 0 to 1, or another picture by its name."""
        url = self.whole.get_by_role("img", name=name).evaluate("canvas => canvas.toDataURL()")
        picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
        return np.asarray(picture.convert("L")) / 255

    def drawn(self):
        """Return what an eye sees on the pad: its pixels in the page, in grey."""
        return np.asarray(Image.open(io.BytesIO(self.canvas.screenshot())).convert("L"))


def strokes_of(scripts, digit):
    return scripts.evaluate("digit => DIGITS[digit]", digit)


def small_network(names):
    """Return the lesson's network with 3 and 5 filters, taught little: it often doubts."""
    [cell] = [cell for cell in read_notebook().cells if "model" in tags(cell)]
    exec(cell.source, vars(names))
    data = np.load(ROOT / "data" / "mnist.npz")
    names.keras.utils.set_random_seed(1)
    names.model.compile("adam", "sparse_categorical_crossentropy")
    names.model.fit(data["x_train"][:10_000, ..., None] / 255, data["y_train"][:10_000], verbose=0)
    return names.model


@pytest.mark.parametrize("name", ["plain", "robust", "3 and 5 filters"])
def test_it_reads_as_keras_reads(scripts, lesson_names, name):
    network = getattr(lesson_names, name, None) or small_network(lesson_names)
    probabilities = scripts.evaluate(
        """async ([packed, images]) => {
            const weights = await Promise.all(packed.map(unpack));
            return images.map(image => predict(
                weights, Float32Array.from(image, byte => byte / 255)).probabilities); }""",
        [[*lesson_names.pack(network)], TESTS.reshape(-1, 784).tolist()],
    )
    expected = network.predict(TESTS[..., None] / 255, batch_size=1_000, verbose=0)
    same = np.argmax(probabilities, axis=1) == expected.argmax(axis=1)
    assert np.mean(same) >= 0.999 and np.abs(probabilities - expected).max() <= 0.05


def test_ten_digits_taken_and_drawn_with_mouse_and_finger(pad, scripts):
    for digit in range(10):
        pad.press(str(digit))
        taken = pad.seen()
        assert pad.digits() == [digit, digit]
        for move in (pad.draw, pad.touch):
            pad.press("Clear")
            move(strokes_of(scripts, digit))
            assert pad.digits() == [digit, digit] and np.abs(pad.seen() - taken).mean() < 0.03


def test_ink_undo_and_clear(pad, scripts):
    pad.press("Clear")
    expect(pad.status).to_have_text("Draw a digit, or take one.")
    expect(pad.whole.locator("b").first).to_be_hidden()
    states = [(pad.drawn(), pad.seen())]
    for button in ["right", "middle"]:
        pad.draw([[20, 20, 200, 200]], button)
    assert np.array_equal(pad.drawn(), states[0][0]) and not pad.seen().any()
    for stroke in strokes_of(scripts, 5):
        pad.draw([stroke])
        states.append((pad.drawn(), pad.seen()))
    paper, ink = (image[10:-10, 10:-10] for image, _ in states[:2])
    assert paper.min() > 200 and ink.min() < 50, "black on black, or white on white"
    for state in reversed(states[:-1]):
        pad.press("Undo")
        assert all(map(np.array_equal, (pad.drawn(), pad.seen()), state))


def test_changes_are_those_of_the_table(pad):
    plain, rows = pad.seen(), np.arange(28)[:, None] - 13.5
    ring = np.abs(np.hypot(rows, rows.T) - 13) < 0.8
    expected = {
        ("moved right", 3): np.roll(plain, 3, axis=1),
        ("moved right", -3): np.roll(plain, -3, axis=1),
        ("moved down", 2): np.roll(plain, 2, axis=0),
        ("moved down", -2): np.roll(plain, -2, axis=0),
        ("grey paper", 50): 0.5 + 0.5 * plain,
        ("black on white", True): 1 - plain,
        ("crossed out", True): np.maximum(plain, np.abs(rows - 1) < 1),
        ("ringed", True): np.maximum(plain, ring),
        ("cut off", True): np.where(rows < 5, plain, 0),
    }
    for (name, value), picture in expected.items():
        control = pad.whole.get_by_label(name)
        control.check() if value is True else control.fill(str(value))
        assert np.abs(pad.seen() - picture).max() < 0.02, name
        pad.press("Reset")
        expect(control).to_have_value("1" if value is True else "0")
        assert np.array_equal(pad.seen(), plain), "Reset does not reset"
    pad.set("noisy", 40)
    noise = (pad.seen() - plain)[plain == 0]
    assert 0.15 < noise.mean() < 0.17  # 0.4 of the mean of a normal distribution cut off at 0
    pad.press("Reset")
    pad.set("turned", 30)
    turned = Image.fromarray(np.float32(plain)).rotate(-30, Image.Resampling.BILINEAR)
    assert np.abs(pad.seen() - turned).mean() < 0.02
    pad.set("size", 50)
    assert 0.2 < pad.seen().sum() / plain.sum() < 0.3


def test_responses_are_those_of_the_first_layer(pad, lesson_names):
    pad.whole.get_by_text("first layer").click()
    for right in (0, 4):
        pad.set("moved right", right)
        for name, network in {
            "plain": lesson_names.plain,
            "augmented": lesson_names.robust,
        }.items():
            shown = pad.seen(f"First layer, {name}")
            responses = network.layers[0](pad.seen()[None, ..., None])[0].numpy()
            for channel in range(responses.shape[2]):
                row, column = 25 * (channel // 4), 25 * (channel % 4)
                tile = shown[row : row + 24, column : column + 24]
                expected = responses[..., channel] / responses.max()
                assert np.abs(tile - expected).max() < 0.03, f"{name}, channel {channel}"


def test_preparation_is_that_of_part_v(scripts, lesson_names):
    random, same = np.random.default_rng(1), []
    for digit in [*range(10)] * 3:
        turn, stretch = random.normal(0, 0.15), random.uniform(0.6, 1, 2)
        matrix = [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]] * stretch
        strokes = [
            (140 + (np.reshape(stroke, (-1, 2)) - 140) @ matrix).ravel().tolist()
            for stroke in strokes_of(scripts, digit)
        ]
        pixels, url = scripts.evaluate(
            """strokes => {
                const canvas = document.createElement("canvas");
                canvas.width = canvas.height = 280;
                const pen = Object.assign(canvas.getContext("2d"), ROUND);
                pen.fillStyle = "#fff"; pen.fillRect(0, 0, 280, 280);
                pen.stroke(new Path2D(toPath(strokes)));
                const still = {"moved right": 0, "moved down": 0, turned: 0, size: 100};
                return [[...prepare(strokes, still)], canvas.toDataURL()]; }""",
            strokes,
        )
        picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
        prepared, pixels = lesson_names.to_mnist(picture), np.reshape(pixels, (28, 28))
        moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # rounding may differ by a pixel
        near = min(np.abs(np.roll(pixels, move, (0, 1)) - prepared).mean() for move in moves)
        assert near < 0.03, f"a {digit} differs by {near:.3f}"
        both = np.float32([pixels, prepared])[..., None]
        same.append(len(set(lesson_names.robust(both).numpy().argmax(axis=1))) == 1)
    assert np.mean(same) >= 0.95


def test_two_pads_are_independent_and_leave_no_names(page, scripts):
    first, second = Pad(page, 0), Pad(page, 1)
    first.press("7")
    second.set("moved down", 2)
    assert first.digits() == [7, 7] and second.digits()[1] == 4
    first.press("Clear")
    expect(second.status).to_have_text(re.compile("augmented reads 4"))
    assert page.evaluate("typeof makePad") == "undefined" != scripts.evaluate("typeof makePad")


def test_where_the_networks_disagree_words_say_so(pad):
    for name, pixels in {"moved right": 4, "moved down": 4}.items():
        pad.set(name, pixels)
    plain, augmented = pad.digits()
    verdict = "They agree" if plain == augmented else "They disagree"
    expect(pad.status).to_have_text(f"{verdict}: plain reads {plain}, augmented reads {augmented}.")
    pad.page.mouse.move(0, 0)
    picture = Image.open(io.BytesIO(pad.whole.screenshot())).convert("RGB")
    picture.quantize(64).save(ROOT / "build" / "test" / "pad.png", optimize=True)
    assert augmented == 4


def test_keyboard_and_screen_reader(pad):
    """Everything can be reached in this order, and the answer is told once, when a slider stops."""
    names = ["Undo", "Clear", *"0123456789", "moved right", "moved down"]
    pad.whole.get_by_role("button", name="Undo").focus()
    for name in names[1:]:
        pad.page.keyboard.press("Tab")
        role = "slider" if name.startswith("moved") else "button"
        expect(pad.whole.get_by_role(role, name=name, exact=True)).to_be_focused()
    pad.status.evaluate("""status => { window.told = 0;
        new MutationObserver(() => window.told++).observe(status, {childList: true}); }""")
    for _ in range(4):
        pad.page.keyboard.press("ArrowRight")
    assert pad.whole.get_by_role("slider", name="moved down").input_value() == "4"
    pad.page.wait_for_function("window.told")
    assert pad.page.evaluate("window.told") == 1


@pytest.mark.parametrize("width", [390, 1000, 1400])
@pytest.mark.parametrize("colours", ["light", "dark", "dark Jupyter on a light system"])
def test_looks(page, width, colours):
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 844})
    if "Jupyter" in colours:
        page.locator("body").evaluate("body => body.className = 'jupyter'")
    pad = Pad(page)
    pad.whole.get_by_text("first layer").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.mouse.wheel(0, -5_000)
    answer, drawing = pad.status.bounding_box(), pad.canvas.bounding_box()
    assert answer["y"] + answer["height"] - drawing["y"] < 664, (
        "they do not fit on a phone's screen"
    )
    found = Axe().run(page).response["violations"]
    assert not [problem["id"] for problem in found if problem["impact"] in ("serious", "critical")]


def test_without_scripts_a_picture_stands_there(chromium, pad_file):
    with chromium.new_context(java_script_enabled=False) as context:
        tab = context.new_page()
        tab.goto(pad_file.as_uri())
        picture = tab.get_by_role("img", name="drawing pad").first
        expect(picture).to_be_visible()
        assert picture.bounding_box()["width"] > 300 and not tab.locator(".pad").count()


def test_without_its_files_the_notebook_goes_on(lesson_names, tmp_path, capsys):
    assert shown_by_pad_cell(lesson_names, tmp_path) == []
    assert re.search("put .* notebooks/pad beside this notebook", capsys.readouterr().out)


@pytest.fixture(scope="module")
def server(lesson_names, trained, tmp_path_factory):
    """The address of a JupyterLab whose notebook has the pad's cell twice, with an output that it
    does not trust; {} is to be replaced by a path.
    """
    folder = copy_project(tmp_path_factory.mktemp("browser") / "project")
    notebook = read_notebook()
    needed = ("import keras\n", "def pack(")
    cells = [cell for cell in notebook.cells if any(text in cell.source for text in needed)]
    files = [str(trained / "models" / name) for name in ("part_1.keras", "mnist_cnn.keras")]
    load = nbformat.v4.new_code_cell(f"plain, robust = map(keras.models.load_model, {files})")
    pads = [nbformat.v4.new_code_cell(pad_cell().source) for _ in range(2)]
    notebook.cells = [*cells, load, *pads]
    for cell in notebook.cells:
        cell.outputs, cell.execution_count = [], None
    [data] = shown_by_pad_cell(lesson_names, PAD.parent)
    pads[1].outputs = [nbformat.v4.new_output("display_data", data=data)]
    nbformat.write(notebook, folder / "notebooks" / "mnist_cnn.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    kinds = ["CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"]
    settings = {name: str(home / name) for name in ["HOME", *(f"JUPYTER_{kind}" for kind in kinds)]}
    settings |= {f"JUPYTERLAB_{kind}_DIR": str(home / kind) for kind in ["SETTINGS", "WORKSPACES"]}
    options = f"""--no-browser --allow-root --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0
        --IdentityProvider.token=secret --ServerApp.root_dir={folder} --LabApp.news_url=None
        --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"""
    log = home / "log"
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", *options.split()],
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


@pytest.mark.parametrize("where", ["lab/tree", "notebooks"])
def test_in_jupyter(chromium, server, scripts, where):
    """Untrusted, the output is a picture. When the cells have run, it is a pad, twice."""
    tab = chromium.new_page(viewport={"width": 1400, "height": 1000})
    tab.set_default_timeout(PATIENCE * 1_000)
    tab.goto(server.format(where))
    tab.locator(".jp-OutputArea").get_by_role("img", name="drawing pad").wait_for()
    assert not tab.locator(".pad").count()
    for _ in range(20):  # in the page's first moments the menu does nothing
        tab.keyboard.press("Escape")
        tab.get_by_role("menuitem", name="Run", exact=True).click()
        tab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            tab.locator(".pad").nth(1).wait_for(timeout=30_000)
            break
        except TimeoutError:
            continue
    pad = Pad(tab, 1)
    for digit in [2, 5]:
        pad.press("Clear")
        pad.draw(strokes_of(scripts, digit))
        assert pad.digits() == [digit, digit]
    cells = tab.locator(".jp-Cell").count()
    for key in "ababddx":  # Jupyter's shortcuts: new cells above and below, deleted, cut
        tab.keyboard.press(key)
    assert tab.locator(".jp-Cell").count() == cells and pad.digits() == [5, 5]
    tab.close()
