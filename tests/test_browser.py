"""The drawing pad in a real browser, Chromium: alone in a page, in JupyterLab and in Notebook 7."""

import io
import json
import os
import re
import subprocess
import sys
from contextlib import suppress

import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT, open_alone, read_notebook, run_cells
from PIL import Image
from playwright.sync_api import TimeoutError, expect

expect.set_options(timeout=30_000)
PAD = ROOT / "notebooks" / "pad"
sys.path.append(str(PAD.parent))
from pad import show  # noqa: E402


@pytest.fixture(scope="module")
def networks(trained, definitions):
    """Both networks that the pad holds, and a smaller one, whose random weights give all digits."""
    small = run_cells("imports", "parameters", "model", FILTERS_1=3, FILTERS_2=5).model
    random = np.random.default_rng(1)
    small.set_weights([random.normal(0, 0.3, array.shape) for array in small.get_weights()])
    load, models = definitions.keras.models.load_model, trained / "models"
    files = {"plain": models / "part_1.keras", "robust": models / "mnist_cnn.keras"}
    return {"3 and 5 filters": small} | {name: load(file) for name, file in files.items()}


@pytest.fixture(scope="module")
def shown(networks):
    """What the pad's cell displays."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PAD.parent)
        patch.setattr(show, "display", lambda data, raw: shown.append(data))
        run_cells("imports", "parameters", "pad", **networks)
    return shown[0]


@pytest.fixture(scope="module")
def pad_file(shown, tmp_path_factory):
    """A page with what the pad's cell displays, twice: each in a box of its own, as in Jupyter."""
    file = tmp_path_factory.mktemp("pad") / "pad.html"
    html = shown["text/html"]
    file.write_text(f"""<!DOCTYPE html><html lang="en"><title>Two pads</title>
        <meta name="viewport" content="width=device-width"><style>
        :root {{ color-scheme: light dark }} .jupyter {{ background: #111; color: #eee }}</style>
        <main><div>{html}</div><div>{html}</div></main>""")
    return file


def test_without_its_files_the_lesson_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_cells("imports", "pad")
    assert "put the project's folder notebooks/pad beside this notebook" in capsys.readouterr().out


@pytest.fixture
def pad(chromium, pad_file):
    """The first pad of the page."""
    screen = {"width": 1000, "height": 1000}
    with open_alone(chromium, pad_file, has_touch=True, viewport=screen) as tab:
        yield Pad(tab)


@pytest.fixture(scope="module")
def scripts(chromium):
    """An empty page in which the functions of network.js and pad.js can be called."""
    with chromium.new_page() as tab:
        for name in ("network.js", "pad.js"):
            tab.add_script_tag(path=PAD / name)
        yield tab


class Pad:
    """One of the pads in ``page``."""

    def __init__(self, page, nth=0):
        self.page, self.whole = page, page.locator(".pad").nth(nth)
        self.canvas = self.whole.get_by_role("img", name="Drawing pad")
        self.status = self.whole.get_by_role("status")
        expect(self.status).to_have_text("They agree: plain reads 4, augmented reads 4.")

    def press(self, name):
        self.whole.get_by_role("button", name=name, exact=True).click()
        # Reset draws from a timer. One that is set now runs after it.
        self.page.evaluate("() => new Promise(done => setTimeout(done))")

    def set(self, name, value):
        control = self.whole.get_by_label(name)
        control.check() if value is True else control.fill(str(value))

    def place(self, stroke):
        """Return the points of ``stroke``, which are the pad's, as points of the page."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        points = np.reshape(stroke, (-1, 2)) * box["width"] / 280 + [box["x"], box["y"]]
        return points.tolist()

    def draw(self, strokes, button="left"):
        for first, *others in map(self.place, strokes):
            self.page.mouse.move(*first)
            self.page.mouse.down(button=button)
            for point in others:
                self.page.mouse.move(*point)
            self.page.mouse.up(button=button)

    def touch(self, strokes):
        session = self.page.context.new_cdp_session(self.page)
        for points in map(self.place, strokes):
            for kind, point in zip(["touchStart"] + ["touchMove"] * len(points), points):
                touched = [dict(zip("xy", point))]
                session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
            session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def answers(self):
        """Return both networks' digits, which have to be those of the longest bars."""
        rows = self.whole.locator("tr").evaluate_all("""rows => rows.slice(1).map(row =>
            [...row.cells].map(cell => [cell.innerText,
                                        getComputedStyle(cell).backgroundSize.slice(5)]))""")
        names, *columns = zip(*rows)
        assert "".join(name for name, _ in names) == "0123456789"
        best = []
        for column in columns:
            bars = [float(length.split("%")[0]) for _, length in column]
            assert [text for text, _ in column] == [f"{length:.0f}%" for length in bars]
            best.append(int(np.argmax(bars)))
        assert self.whole.locator("b").all_inner_texts() == [str(digit) for digit in best]
        return best

    def seen(self, name="28x28"):
        """Return the 28x28 pixels that the networks get, 0 to 1, or another picture by its name."""
        canvas = self.whole.get_by_role("img", name=name)
        width, *channels = canvas.evaluate("""canvas => [canvas.width, ...canvas.getContext("2d")
            .getImageData(0, 0, canvas.width, canvas.height).data]""")
        return np.reshape(channels, (-1, width, 4))[..., 0] / 255

    def drawn(self):
        """Return what an eye sees on the pad: its pixels in the page, in grey."""
        return np.asarray(Image.open(io.BytesIO(self.canvas.screenshot())).convert("L"))


@pytest.mark.parametrize("name", ["plain", "robust", "3 and 5 filters"])
def test_it_reads_as_keras_reads(scripts, networks, name):
    images = np.load(ROOT / "data" / "mnist.npz")["x_test"][:300]
    probabilities = scripts.evaluate(
        """async ([packed, images]) => {
            const weights = await Promise.all(packed.map(unpack));
            return images.map(image => predict(
                weights, Float32Array.from(image, byte => byte / 255)).probabilities); }""",
        [[*show.pack(networks[name])], images.reshape(-1, 784).tolist()],
    )
    expected = networks[name].predict(images[..., None] / 255, verbose=0)
    same = np.argmax(probabilities, axis=1) == expected.argmax(axis=1)
    assert np.mean(same) >= 0.99 and np.abs(probabilities - expected).max() <= 0.05


def test_ten_digits_taken_and_drawn_with_mouse_and_finger(pad, scripts):
    for digit, strokes in enumerate(scripts.evaluate("DIGITS")):
        pad.press(str(digit))
        taken = pad.seen()
        assert pad.answers() == [digit, digit]
        pad.press("Clear")
        pad.touch(strokes) if digit % 2 else pad.draw(strokes)
        assert pad.answers() == [digit, digit] and np.abs(pad.seen() - taken).mean() < 0.03


def test_ink_undo_and_clear(pad, scripts):
    pad.press("Clear")
    expect(pad.status).to_have_text("Draw a digit, or take one.")
    expect(pad.whole.locator("b").first).to_be_hidden()
    states = [(pad.drawn(), pad.seen())]
    pad.draw([[20, 20, 200, 200]], button="right")
    assert np.array_equal(pad.drawn(), states[0][0]) and not pad.seen().any()
    for stroke in scripts.evaluate("DIGITS[5]"):
        pad.draw([stroke])
        states.append((pad.drawn(), pad.seen()))
    paper, ink = (image[10:-10, 10:-10] for image, _ in states[:2])
    assert paper.min() > 200 and ink.min() < 50, "black on black, or white on white"
    for state in reversed(states[:-1]):
        pad.press("Undo")
        assert all(map(np.array_equal, (pad.drawn(), pad.seen()), state)), "Undo does not undo"


def test_changes_are_those_of_the_table(pad):
    plain, rows = pad.seen(), np.arange(28)[:, None] - 13.5
    ring = np.abs(np.hypot(rows, rows.T) - 13) < 0.8
    expected = {
        ("moved right", 3): np.roll(plain, 3, axis=1),
        ("moved down", -2): np.roll(plain, -2, axis=0),
        ("grey paper", 50): 0.5 + 0.5 * plain,
        ("black on white", True): 1 - plain,
        ("crossed out", True): np.maximum(plain, np.abs(rows - 1) < 1),
        ("ringed", True): np.maximum(plain, ring),
        ("cut off", True): np.where(rows < 5, plain, 0),
    }
    for (name, value), picture in expected.items():
        pad.set(name, value)
        assert np.abs(pad.seen() - picture).max() < 0.02, name
        pad.press("Reset")
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


def test_responses_are_those_of_the_first_layer(pad, networks):
    pad.whole.get_by_text("first layer").click()
    pad.set("moved right", 4)
    for name, network in {"plain": "plain", "augmented": "robust"}.items():
        responses = networks[network].layers[0](pad.seen()[None, ..., None])[0].numpy()
        tiles = np.pad(responses / responses.max(), [(0, 1), (0, 1), (0, 0)])
        rows = tiles.reshape(25, 25, 4, 4).transpose(2, 0, 3, 1).reshape(100, 100)
        assert np.abs(pad.seen(f"First layer, {name}") - rows[:-1, :-1]).max() < 0.03, name


def test_preparation_is_that_of_part_v(pad, scripts, definitions):
    """Of digits drawn aslant, half as tall and above the middle."""
    matrix = [[1, 0], [-0.2, 0.5]]
    for digit, strokes in enumerate(scripts.evaluate("DIGITS")):
        pad.press("Clear")
        pad.draw([np.reshape(stroke, (-1, 2)) @ matrix + [40, 0] for stroke in strokes])
        pixels, prepared = pad.seen(), definitions.to_mnist(pad.drawn()[10:-10, 10:-10])
        moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # rounding may differ by a pixel
        near = min(np.abs(np.roll(pixels, move, (0, 1)) - prepared).mean() for move in moves)
        # Seen: up to 0.047, because Part V also makes the ink stronger.
        assert near < 0.06, f"a {digit} differs by {near:.3f}"


def test_two_pads_are_independent_and_leave_no_names(pad, scripts):
    second = Pad(pad.page, 1)
    pad.press("7")
    second.set("moved down", 2)
    assert pad.answers() == [7, 7] and second.answers()[1] == 4
    pad.press("Clear")
    expect(second.status).to_have_text(re.compile("augmented reads 4"))
    assert pad.page.evaluate("typeof makePad") == "undefined" != scripts.evaluate("typeof makePad")


def test_where_the_networks_disagree_words_say_so(pad):
    for name in ("moved right", "moved down"):
        pad.set(name, 4)
    plain, augmented = pad.answers()
    verdict = "They agree" if plain == augmented else "They disagree"
    expect(pad.status).to_have_text(f"{verdict}: plain reads {plain}, augmented reads {augmented}.")
    assert augmented == 4


def test_keyboard_and_screen_reader(pad):
    """Everything can be reached in this order, and the answer is told once, when a slider stops."""
    pad.whole.get_by_role("button", name="Undo").focus()
    for name in ["Clear", *"0123456789", "moved right", "moved down"]:
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


@pytest.mark.parametrize(("width", "colours"), [(390, "light"), (1000, "dark"), (390, "jupyter")])
def test_looks(pad, width, colours):
    page = pad.page
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 844})
    page.locator("body").evaluate(f"body => body.className = '{colours}'")
    pad.whole.get_by_text("first layer").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.mouse.wheel(0, -5_000)
    answer, drawing = pad.status.bounding_box(), pad.canvas.bounding_box()
    height = answer["y"] + answer["height"] - drawing["y"]
    assert height < 664, "drawing and answer do not fit on a phone's screen"
    found = Axe().run(page).response["violations"]
    assert not [problem["id"] for problem in found if problem["impact"] in ("serious", "critical")]


def test_without_scripts_a_picture_stands_there(chromium, pad_file):
    with chromium.new_page(java_script_enabled=False) as tab:
        tab.goto(pad_file.as_uri())
        picture = tab.get_by_role("img", name="drawing pad").first
        expect(picture).to_be_visible()
        assert picture.bounding_box()["width"] > 300 and not tab.locator(".pad").count()


@pytest.fixture(scope="module")
def server(shown, tmp_path_factory):
    """The address, {} for a path, of a notebook that shows the pad twice, once without trust."""
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "pad.json").write_text(json.dumps(shown))
    source = "import json\ndisplay(json.load(open('pad.json')), raw=True)"
    cells = [nbformat.v4.new_code_cell(source) for _ in range(2)]
    cells[1].outputs = [nbformat.v4.new_output("display_data", data=shown)]
    metadata = read_notebook().metadata
    nbformat.write(nbformat.v4.new_notebook(metadata=metadata, cells=cells), folder / "pad.ipynb")
    places = ["HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"]
    settings = os.environ | dict.fromkeys(places, str(folder / "home"))
    options = """--no-browser --allow-root --ip=127.0.0.1 --LabApp.news_url=None
        --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"""
    command = [sys.executable, "-m", "jupyter", "lab", *options.split()]
    streams = {"stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=settings, **streams) as process:
        try:
            said = ""
            while not (address := re.search(r"(http://127\S+/)lab(\?token=\w+)", said)):
                said += process.stderr.readline()
                assert process.poll() is None, f"JupyterLab does not start:\n{said}"
            yield "{}{{}}/pad.ipynb{}".format(*address.groups())
        finally:
            process.terminate()


@pytest.mark.parametrize("where", ["lab/tree", "notebooks"])
def test_in_jupyter(chromium, server, scripts, where):
    """Untrusted, the output is a picture. When the cells have run, it is a pad, twice."""
    with chromium.new_page(viewport={"width": 1400, "height": 1000}) as tab:
        tab.set_default_timeout(180_000)  # a busy machine is slow
        tab.goto(server.format(where))
        tab.locator(".jp-OutputArea").get_by_role("img", name="drawing pad").wait_for()
        assert not tab.locator(".pad").count()
        tab.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        for _ in range(20):  # in the page's first moments the menu does nothing, or a dialog opens
            tab.keyboard.press("Escape")
            with suppress(TimeoutError):
                for name in ("Run", "Run All Cells"):
                    tab.get_by_role("menuitem", name=name, exact=True).click(timeout=30_000)
                tab.locator(".pad").nth(1).wait_for(timeout=30_000)
                break
        pad = Pad(tab, 1)
        pad.press("Clear")
        pad.draw(scripts.evaluate("DIGITS[5]"))
        cells = tab.locator(".jp-Cell").count()
        for key in "ababddx":  # Jupyter's shortcuts: new cells above and below, deleted, cut
            tab.keyboard.press(key)
        assert tab.locator(".jp-Cell").count() == cells and pad.answers() == [5, 5]
