"""The page and its pad, in Chromium and Jupyter. It leaves build/test/pad.png, a picture of it."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys

import keras
import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from conftest import NOTEBOOK, ROOT, code_cells
from PIL import Image
from playwright.sync_api import expect, sync_playwright

expect.set_options(timeout=30_000)
PAD = ROOT / "notebooks" / "pad"
sys.path.append(str(PAD.parent))
from pad import show  # noqa: E402

FOUND = re.findall('^  "([0-9 ,]+)",$', (PAD / "pad.js").read_text(), re.M)
DIGITS = [[np.float64(stroke.split()) for stroke in digit.split(",")] for digit in FOUND]


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium. Without one, tests are skipped; in continuous integration they fail."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop("needs Chromium or Chrome: install it (Debian: apt install chromium)")
    options = "--no-sandbox --disable-gpu --disable-background-networking --disable-sync"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=options.split())


@contextlib.contextmanager
def open_alone(chromium, file, width=1280, **options):
    """Open the HTML ``file`` in a tab; it may ask for no other file, nor complain."""
    with chromium.new_page(viewport={"width": width, "height": 844}, **options) as tab:
        heard = []
        tab.on("request", lambda request: heard.append(request.url))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("console", lambda message: heard.append(message.text))
        tab.goto(file.as_uri(), wait_until="networkidle")
        yield tab
        # The tests read canvases more often than Chromium expects, and it says so.
        usual = ("data:", file.as_uri(), "Canvas2D: Multiple readback operations")
        assert not [text for text in heard if not text.startswith(usual)]


def check_sight(tab, boxes):
    """Raise if one of ``boxes`` is cut off, or axe finds anything, with all details open."""
    tab.evaluate("document.querySelectorAll('main details').forEach(box => box.open = true)")
    tab.locator(".pad summary").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == tab.viewport_size["width"]
    assert tab.locator(boxes).evaluate_all("""boxes => boxes.every(box => box.scrollWidth <=
        box.clientWidth + 1 && box.getBoundingClientRect().right <= innerWidth)""")
    found = Axe().run(tab, options={"resultTypes": ["violations"]}).response["violations"]
    assert not [(problem["id"], problem["nodes"][0]["html"][:200]) for problem in found]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The page, built as `make html` builds it."""
    folder = tmp_path_factory.mktemp("page")
    options = f"""--to=html --template=page --output-dir={folder}
        --TemplateExporter.extra_template_basedirs={ROOT / "templates"}"""
    subprocess.run([sys.executable, "-m", "nbconvert", *options.split(), NOTEBOOK], check=True)
    return folder / "mnist_cnn.html"


def test_page_is_the_saved_notebook_with_all_cells_descriptions_and_contents(page_file, saved):
    page = BeautifulSoup(page_file.read_text(encoding="utf-8"), "html.parser")
    for cell in code_cells(saved):
        shown = page.find(id=f"cell-id={cell.id}")
        assert shown.select_one(".input_area").get_text().strip() == cell.source.strip()
        hidden = bool(shown.select("details:not([open]) .input_area"))
        assert cell.metadata.get("jupyter", {}).get("source_hidden", False) == hidden, cell.source
        assert not shown.select("details .output_wrapper"), f"{cell.id} folds what it shows"
    assert all(picture.get("alt") for picture in page.find_all("img"))
    text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    text = re.sub("[`*]", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    links = [("#" * len(link.find_parents("ol")), link.get_text()) for link in page.select("nav a")]
    assert [("#", page.title.string), *links] == re.findall(r"^(##?) (.*)$", text, re.M)
    for link in page.select('a[href^="#"]'):
        assert len(page.find_all(id=link["href"][1:])) == 1, f"{link} leads to no place, or two"
    [pad] = page.select('[id^="pad-"]')  # without scripts a picture and a note stand there
    assert pad.img and "trust the notebook" in pad.get_text()
    content = (ROOT / "docs" / "index.html").read_bytes()
    assert content == page_file.read_bytes(), "docs/index.html is stale: run `make notebook`"
    assert len(content) <= 3_200_000, "too heavy for a phone"


@pytest.mark.parametrize(("width", "colours"), [(390, "dark"), (1280, "light")])
def test_page_on_phone_and_laptop_and_on_paper(chromium, page_file, width, colours):
    with open_alone(chromium, page_file, width, color_scheme=colours) as tab:
        picture, pad = tab.get_by_role("link", name="drawing pad"), Pad(tab)
        for link in (picture.nth(1), picture.nth(0)):  # the picture on top; the link to skip to it
            link.press("Enter")
            expect(pad.picture("Drawing pad")).to_be_in_viewport()
        if width == 390:
            tab.get_by_text("Contents", exact=True).click()  # folded on a phone, to leave room
        else:
            taken = Image.open(io.BytesIO(pad.whole.screenshot())).convert("RGB")
            taken.quantize(64).save(ROOT / "build" / "test" / "pad.png", optimize=True)
        read = re.findall(r"(\d) \(", pad.said.text_content())
        assert re.findall(r"\d", picture.nth(1).locator("img").get_attribute("alt")) == [
            read[1],
            *read,
        ], "take pad.png"
        link = tab.locator("nav a").nth(9)
        link.click()
        expect(tab.locator(f'[id="{link.get_attribute("href")[1:]}"]')).to_be_in_viewport()
        expect(tab.locator("nav [aria-current]")).to_have_text(link.text_content())
        folded = tab.locator("main details").first
        expect(folded.locator(".input_area")).to_be_hidden()
        folded.locator("summary").press("Enter")
        expect(folded.locator(".input_area")).to_be_visible()
        check_sight(tab, "main :is(p:not([role]), img, table, .output_text pre:not(.drawn))")
        images = tab.locator(".output_png img")
        scales = images.evaluate_all("images => images.map(i => i.clientWidth / i.naturalWidth)")
        assert min(scales) * 25 >= 9, "type of 9 points, which is 25 pixels high, is too small"
        assert max(scales) <= 0.51, "blurred on a screen with twice the pixels"
        dark = colours == "dark"  # figures are white, so they are dimmed there
        expect(images.first).to_have_css("filter", "brightness(0.75)" if dark else "none")
        paper = "rgb(22, 24, 26)" if dark else "rgb(255, 255, 255)"
        expect(tab.locator("body")).to_have_css("background-color", paper)
        tab.set_viewport_size({"width": 700, "height": 1000})  # A4 within its margins
        tab.emulate_media(media="print")
        expect(tab.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
        expect(tab.locator(".pad td").last).to_have_css("print-color-adjust", "exact")
        boxes = tab.locator("main :is(pre, table, img)")
        assert boxes.evaluate_all("all => all.every(box => box.scrollWidth <= box.clientWidth + 1)")


@pytest.fixture(scope="module")
def pad_file(trained, model, tmp_path_factory):
    """A page with a pad, the same output again, and a pad of two equal networks."""
    shown, file = [], tmp_path_factory.mktemp("pad") / "pad.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "display", lambda data, raw: shown.append(data["text/html"]))
        for plain in (keras.models.load_model(trained / "models" / "part_1.keras"), model):
            show.show_pad({"plain": plain, "augmented": model})
    file.with_name("one.html").write_text(shown[0])
    file.write_text(f"""<!DOCTYPE html><html lang="en"><title>Pads</title>
        <meta name="viewport" content="width=device-width"><style>
        :root {{ color-scheme: light dark }} .jupyter {{ background: #111; color: #eee }}</style>
        <main><h1>Pads</h1><div>{"</div><div>".join([shown[0], *shown])}</div></main>""")
    return file


@pytest.fixture
def pad(chromium, pad_file):
    """The first pad of the page, with its 4."""
    with open_alone(chromium, pad_file, has_touch=True) as tab:
        pad = Pad(tab)
        pad.press("Reset")
        pad.press("4")
        yield pad


class Pad:
    """One of the pads in ``page``."""

    def __init__(self, page, nth=0):
        self.page, self.whole = page, page.locator(".pad").nth(nth)
        self.said, self.status = self.whole.locator(".said"), self.whole.get_by_role("status")
        expect(self.said).to_contain_text("augmented")

    def press(self, name):
        self.whole.get_by_role("button", name=name, exact=True).click()
        # Reset draws from a timer. One that is set now runs after it.
        self.page.evaluate("() => new Promise(done => setTimeout(done))")

    def picture(self, name):
        return self.whole.get_by_role("img", name=name, exact=True)

    def draw(self, strokes, on="Drawing pad", side=280, finger=False):
        """Draw ``strokes``, given in ``side`` x ``side``, into the picture ``on``."""
        self.picture(on).scroll_into_view_if_needed()
        box, mouse = self.picture(on).bounding_box(), self.page.mouse
        send = self.page.context.new_cdp_session(self.page).send
        for stroke in strokes:
            points = np.reshape(stroke, (-1, 2)) * box["width"] / side + [box["x"], box["y"]]
            if finger:
                places = [[{"x": x, "y": y}] for x, y in points.tolist()]
                kinds = ["touchStart", *["touchMove"] * (len(points) - 1), "touchEnd"]
                for kind, each in zip(kinds, [*places, []]):
                    send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": each})
                continue
            mouse.move(*points[0])
            mouse.down()
            for point in points[1:]:
                mouse.move(*point)
            mouse.up()

    def answers(self):
        """Return the shares that stand beside the bars, and both networks' digits, as are said."""
        texts = self.whole.locator("tr + tr td").all_inner_texts()
        shares = np.reshape([int(text[:-1]) for text in texts], (10, 2))
        best, most = shares.argmax(axis=0).tolist(), shares.max(axis=0)
        verdict = "They agree" if best[0] == best[1] else "They disagree"
        told = [f"{digit} ({share}%)" for digit, share in zip(best, most)]
        assert self.said.inner_text() == "{}: plain reads {}, augmented {}.".format(verdict, *told)
        return shares / 100, best

    def seen(self, name="The 28x28 pixels"):
        """Return the 28x28 pixels that the networks get, 0 to 1, or another picture by its name."""
        width, *channels = self.picture(name).evaluate("""canvas => [canvas.width,
            ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]""")
        return np.reshape(channels, (-1, width, 4))[..., 0] / 255

    def look(self, box=None):
        """Return what an eye sees of the paper, or of ``box``: pixels, in grey."""
        taken = (box or self.picture("Drawing pad")).screenshot()
        return np.int32(Image.open(io.BytesIO(taken)).convert("L"))


def test_it_starts_with_what_plain_misreads_if_there_is_something(pad):
    _, same, equal = (Pad(pad.page, n) for n in range(3))
    _, [plain, augmented] = same.answers()
    moves = [same.whole.get_by_label(name).input_value() for name in ("right", "down")]
    assert plain != augmented and moves[0] == moves[1] in "345"
    same.press(str(augmented))
    assert same.answers()[1] == [plain, augmented], "it shows another digit"
    assert equal.answers()[1] == [4, 4] and equal.whole.get_by_label("right").input_value() == "0"
    assert pad.answers()[1] == [4, 4], "one pad changes another"
    assert pad.page.evaluate("typeof makePad") == "undefined", "it leaves names in the page"


def test_drawing(pad):
    """A finger draws large, the mouse 14% as high as the paper. Undo and dragging."""
    for digit, strokes in enumerate(DIGITS):
        pad.press(str(digit))
        taken = pad.seen()
        for finger, size in [(True, 1), (False, 0.22)]:
            pad.press("Clear")
            pad.draw([stroke * size for stroke in strokes], finger=finger)
            assert pad.answers()[1] == [digit, digit] and np.abs(pad.seen() - taken).mean() < 0.06
    pad.press("Clear")
    expect(pad.status).to_have_text("Draw a digit, or take one.")
    expect(pad.whole.locator("b").first).to_be_hidden()
    states = [(pad.look(), pad.seen())]
    for stroke in DIGITS[5]:
        pad.draw([stroke])
        states.append((pad.look(), pad.seen()))
    pad.press("Clear")
    for state in reversed(states):
        pad.press("Undo")
        assert all(map(np.array_equal, (pad.look(), pad.seen()), state)), "Undo does not undo"
    pad.press("4")
    before = pad.seen()
    pad.draw([[9, 9, 12, 7]], on="The 28x28 pixels", side=28)
    assert np.array_equal(pad.seen(), np.roll(before, (-2, 3), (0, 1)))


def test_preparation_changes_and_reading_are_those_of_the_lesson(pad, definitions, model):
    plain, rows = pad.seen(), np.arange(28)[:, None] - 13.5
    prepared = definitions.to_mnist(np.uint8(pad.look()[10:-10, 10:-10]))
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # rounding may differ by a pixel
    assert min(np.abs(np.roll(plain, move, (0, 1)) - prepared).mean() for move in moves) < 0.045
    expected = {
        ("moved right", 3): np.roll(plain, 3, axis=1),
        ("grey paper", 50): 0.5 + 0.5 * plain,
        ("black on white", True): 1 - plain,
        ("crossed out", True): np.maximum(plain, np.abs(rows - 1) < 1),
        ("ringed", True): np.maximum(plain, np.abs(np.hypot(rows, rows.T) - 13) < 0.8),
        ("cut off", True): np.where(rows < 5, plain, 0),
        ("turned", 30): Image.fromarray(np.float32(plain)).rotate(-30, Image.Resampling.BILINEAR),
    }
    for (name, value), picture in expected.items():
        control = pad.whole.get_by_label(name)
        control.check() if value is True else control.fill(str(value))
        assert np.abs(pad.seen() - picture).mean() < (0.03 if name == "turned" else 0.003), name
        read = model(pad.seen()[None, ..., None]).numpy()
        assert np.abs(pad.answers()[0][:, 1] - read).max() < 0.05, "it does not read as Keras reads"
        pad.press("Reset")
        assert np.array_equal(pad.seen(), plain), "Reset does not reset"


def test_look_inside(pad, model):
    """Choose a filter and a place with the mouse and the arrow keys."""
    pad.whole.get_by_text("Look inside").click()
    pad.whole.get_by_label("augmented").check()
    kernel, bias = model.layers[0].get_weights()
    response = model.layers[0](pad.seen()[None, ..., None])[0].numpy()
    row, column, nth = np.unravel_index(response.argmax(), response.shape)
    x, y = 26 * (2 * (nth % 4) + 1), 26 * (nth // 4)  # of the tile of this filter's responses
    pad.draw([[x + column + 0.5, y + row - 0.5]], on="Filters and responses", side=208)
    pad.whole.get_by_label("row").press("ArrowRight")
    under, weights = pad.seen()[row : row + 5, column : column + 5], kernel[..., 0, nth]
    for box, numbers in zip(pad.whole.locator(".numbers").all(), (under, weights)):
        told = np.float64(box.locator("span").all_inner_texts())
        assert np.abs(told - numbers.ravel()).max() < 0.01
    told = re.findall(r"-?\d+\.\d+", pad.whole.locator(".sum").inner_text())
    total, most = np.sum(under * weights), response[row, column, nth]
    assert np.abs(np.float64(told) - [total, bias[nth], total + bias[nth], most]).max() < 0.02
    tile = pad.seen("Filters and responses")[y : y + 24, x : x + 24]
    assert np.median(np.abs(tile - response[..., nth] / most)) < 0.01
    pad.draw([[7.5, 9.5]], "The place in the picture", 28, finger=True)
    place = [pad.whole.get_by_label(name).input_value() for name in ("row", "column")]
    assert place == ["7", "5"], "the finger chooses another place"


def test_keyboard_and_screen_reader(pad):
    """All can be reached in this order; the answer is shown at once, and told when a key rests."""
    expect(pad.status).to_have_text(pad.said.inner_text())
    pad.whole.get_by_role("button", name="Undo").focus()
    for name in ["Clear", *"0123456789", "moved right", "moved down"]:
        pad.page.keyboard.press("Tab")
        expect(pad.whole.locator(":focus")).to_have_accessible_name(name)
    pad.status.evaluate("""status => { window.told = []; new MutationObserver(() =>
        told.push(status.textContent)).observe(status, {childList: true}); }""")
    for _ in range(4):
        pad.page.keyboard.press("ArrowRight")
    assert pad.whole.get_by_label("moved down").input_value() == "4" and pad.answers()
    pad.page.wait_for_function("told.length")
    assert pad.page.evaluate("told") == [pad.said.inner_text()]


@pytest.mark.parametrize("look", "390 light,640 dark,390 jupyter,900 dark forced".split(","))
def test_looks(pad, look):
    page, (width, name, *forced) = pad.page, look.split()
    forced = "active" if forced else "none"
    page.emulate_media(color_scheme="dark" if "dark" in name else "light", forced_colors=forced)
    page.set_viewport_size({"width": int(width), "height": 844})
    page.locator("body").evaluate("(body, name) => body.className = name", name)
    page.evaluate("document.querySelectorAll('div ~ div').forEach(pad => pad.remove())")
    check_sight(page, ".pad, .numbers, .said")
    paper, bar = pad.look(), pad.look(pad.whole.locator("tr").nth(5).locator("td").first)
    assert paper[20:-20, 20:-20].min() < 50 and paper.max() > 200, "the drawing cannot be seen"
    assert abs(bar[len(bar) // 2, 5] - bar[1, -1]) > 60, "the bar cannot be seen"
    if width == "390":
        pad.whole.get_by_label("noisy").scroll_into_view_if_needed()
        expect(pad.picture("The 28x28 pixels")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("where", ["lab/tree", "notebooks"])
def test_in_jupyter(chromium, pad_file, saved, tmp_path, where):
    """In a notebook that is not trusted the output is a picture, else a pad, here in two cells."""
    data = {"text/html": pad_file.with_name("one.html").read_text()}
    shown = [nbformat.v4.new_output("display_data", data=data)]
    for name, count in {"strange.ipynb": 1, "trusted.ipynb": 2}.items():
        cells = [nbformat.v4.new_code_cell(outputs=shown) for _ in range(count)]
        notebook = nbformat.v4.new_notebook(metadata=saved.metadata, cells=cells)
        nbformat.write(notebook, tmp_path / name)
    places = ["HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"]
    settings = {"cwd": tmp_path, "env": os.environ | dict.fromkeys(places, str(tmp_path / "home"))}
    jupyter = [sys.executable, "-m", "jupyter"]
    subprocess.run([*jupyter, "trust", "trusted.ipynb"], check=True, **settings)
    options = """--no-browser --allow-root --ip=127.0.0.1 --LabApp.news_url=None
        --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"""
    pipe = {"stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*jupyter, "lab", *options.split()], **pipe, **settings)
    try:
        found = re.compile(r"(http://127\S+/)lab(\?token=\w+)").search
        server, token = next(filter(None, map(found, process.stderr))).groups()
        tab = chromium.new_page(viewport={"width": 1400, "height": 1000})
        tab.set_default_timeout(180_000)  # a busy machine is slow
        tab.goto(f"{server}{where}/strange.ipynb{token}")
        tab.locator(".jp-OutputArea").get_by_role("img", name="drawing pad").wait_for()
        assert not tab.locator(".pad").count()
        tab.goto(f"{server}{where}/trusted.ipynb{token}")
        tab.locator(".pad").nth(1).wait_for()
        pad, cells = Pad(tab, 1), tab.locator(".jp-Cell").count()
        pad.press("Clear")
        pad.draw(DIGITS[5])
        pad.whole.get_by_role("button", name="Undo").focus()
        for key in "ababddx":  # Jupyter's shortcuts: new cells above and below, deleted, cut
            tab.keyboard.press(key)
        assert tab.locator(".jp-Cell").count() == cells and pad.answers()
    finally:
        process.terminate()
