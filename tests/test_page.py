"""The page of the lesson and its drawing pad, in Chromium, JupyterLab and Notebook 7.

A test leaves in build/test/pad.png the picture of the pad that stands where no script runs.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from conftest import MNIST, NOTEBOOK, ROOT, code_cells, outputs, run_cells
from PIL import Image
from playwright.sync_api import TimeoutError, expect, sync_playwright

expect.set_options(timeout=30_000)
PAD = ROOT / "notebooks" / "pad"
sys.path.append(str(PAD.parent))
from pad import show  # noqa: E402

DIGITS = [
    [[int(at) for at in stroke.split()] for stroke in digit.split(",")]
    for digit in re.findall('^  "([0-9 ,]+)",$', (PAD / "pad.js").read_text(), re.M)
]


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium. Without one, tests are skipped; in continuous integration they fail."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        reason = "needs Chromium or Chrome: install it (Debian: apt install chromium)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    options = "no-sandbox disable-gpu disable-background-networking disable-sync"
    options = [f"--{name}" for name in [*options.split(), "disable-component-update"]]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=options)


@contextlib.contextmanager
def open_alone(chromium, file, width=1280, **options):
    """Open the HTML ``file`` in a tab; it may ask for no other file, nor complain."""
    with chromium.new_page(viewport={"width": width, "height": 900}, **options) as tab:
        heard = []
        tab.on("request", lambda request: heard.append(request.url))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("console", lambda message: heard.append(message.text))
        tab.goto(file.as_uri(), wait_until="networkidle")
        yield tab
        # The tests read canvases more often than Chromium expects, and it says so.
        usual = ("data:", file.as_uri(), "Canvas2D: Multiple readback operations")
        assert not [text for text in heard if not text.startswith(usual)]


def check_access(tab):
    """Raise if something is wider than the screen, or axe finds anything, all details open."""
    tab.evaluate("document.querySelectorAll('main details').forEach(box => box.open = true)")
    tab.locator(".pad summary").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == tab.viewport_size["width"]
    boxes = tab.locator("main :is(p, img, table), main .output_text pre:not(.drawn)")
    assert boxes.evaluate_all("""boxes => boxes.every(box => box.scrollWidth <= box.clientWidth + 1
        && box.getBoundingClientRect().right <= innerWidth)"""), "something is cut off"
    found = Axe().run(tab, options={"resultTypes": ["violations"]}).response["violations"]
    assert not [(problem["id"], problem["nodes"][0]["html"][:200]) for problem in found]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The page, built as `make html` builds it."""
    command = [sys.executable, "-m", "nbconvert", "--to=html", "--template=page", NOTEBOOK]
    command.append(f"--TemplateExporter.extra_template_basedirs={ROOT / 'templates'}")
    folder = tmp_path_factory.mktemp("page")
    subprocess.run([*command, f"--output-dir={folder}"], check=True)
    return folder / "mnist_cnn.html"


def test_page_in_docs_is_that_of_the_saved_notebook(page_file):
    assert page_file.stat().st_size <= 3_200_000, "too heavy for a phone"
    page = ROOT / "docs" / "index.html"
    assert page.read_bytes() == page_file.read_bytes(), "it is stale: run `make notebook`"


def test_page_has_all_cells_descriptions_and_contents(page_file, saved):
    page = BeautifulSoup(page_file.read_text(encoding="utf-8"), "html.parser")
    for cell in code_cells(saved):
        shown = page.find(id=f"cell-id={cell.id}")
        assert shown.select_one(".input_area").get_text().strip() == cell.source.strip()
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert bool(shown.select("details:not([open]) .input_area")) == hidden, cell.source
        assert not shown.select("details .output_wrapper"), f"{cell.id} folds what it shows"
    assert "Show the pad" not in [name.get_text() for name in page.select("main summary")]
    described = [picture.get("alt") for picture in page.find_all("img")]
    figures = [
        output.get("metadata", {}).get("image/png", {}).get("alt") for output in outputs(saved)
    ]
    assert all(described) and set(filter(None, figures)) < set(described)
    text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    text = re.sub("[`*]", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    links = [("#" * len(link.find_parents("ol")), link.get_text()) for link in page.select("nav a")]
    assert [("#", page.title.string), *links] == re.findall(r"^(##?) (.*)$", text, re.M)
    for link in page.select('a[href^="#"]'):
        [target] = page.find_all(id=link["href"].removeprefix("#"))
        if depth := len(link.find_parents("ol")):
            assert (target.name, target.get_text()) == (f"h{depth + 1}", link.get_text() + "¶")


@pytest.mark.parametrize(("width", "colours"), [(390, "dark"), (1280, "light")])
def test_page_on_phone_and_laptop(chromium, page_file, width, colours):
    with open_alone(chromium, page_file, width, color_scheme=colours) as tab:
        tab.keyboard.press("Tab")
        expect(tab.get_by_role("link", name="Skip to the drawing pad")).to_be_in_viewport()
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("img", name="Drawing pad", exact=True)).to_be_in_viewport()
        folded = tab.locator("main details").first
        expect(folded.locator(".input_area")).to_be_hidden()
        folded.locator("summary").press("Enter")
        expect(folded.locator(".input_area")).to_be_visible()
        if width == 390:
            tab.get_by_text("Contents", exact=True).click()  # folded on a phone, to leave room
        link = tab.locator("nav a").nth(9)
        link.click()
        expect(tab.locator(f'[id="{link.get_attribute("href")[1:]}"]')).to_be_in_viewport()
        expect(tab.locator("nav [aria-current]")).to_have_text(link.text_content())
        check_access(tab)
        images = tab.locator(".output_png img")
        scales = images.evaluate_all("images => images.map(i => i.clientWidth / i.naturalWidth)")
        assert min(scales) * 25 >= 9, "type of 9 points, which is 25 pixels high, is too small"
        assert max(scales) <= 0.51, "blurred on a screen with twice the pixels"
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(re.search(r"\d+", paper)[0]) < 50) == (colours == "dark")
        dimmed = "brightness(0.75)" if colours == "dark" else "none"  # no white slabs in the dark
        expect(images.first).to_have_css("filter", dimmed)
        expect(images.first).to_have_css("background-color", "rgb(255, 255, 255)")


def test_first_picture_is_the_start_of_the_pad_and_leads_to_it(chromium, page_file):
    """And printed, the page is dark on white, with nothing cut off."""
    with open_alone(chromium, page_file) as tab:
        picture = tab.locator("main img").first
        picture.click()
        expect(tab.get_by_role("img", name="Drawing pad", exact=True)).to_be_in_viewport()
        tab.mouse.move(0, 0)
        taken = Image.open(io.BytesIO(tab.locator(".pad").screenshot())).convert("RGB")
        taken.quantize(64).save(ROOT / "build" / "test" / "pad.png", optimize=True)
        read = re.findall(r"(\d) \(", tab.locator(".said").text_content())
        assert re.findall(r"\d", picture.get_attribute("alt")) == [read[1], *read]
        tab.set_viewport_size({"width": 700, "height": 1000})  # A4 within its margins
        tab.emulate_media(media="print", color_scheme="dark")
        expect(tab.locator("nav")).to_be_hidden()
        expect(tab.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
        expect(tab.locator(".pad td").last).to_have_css("print-color-adjust", "exact")
        boxes = tab.locator("main :is(pre, table, img)")
        assert boxes.evaluate_all("all => all.every(box => box.scrollWidth <= box.clientWidth + 1)")


@pytest.fixture(scope="module")
def networks(trained, definitions):
    """Both networks that the pad holds."""
    names = ("part_1.keras", "mnist_cnn.keras")
    return [definitions.keras.models.load_model(trained / "models" / name) for name in names]


@pytest.fixture(scope="module")
def shown(networks):
    """What the pad's cell displays, twice; and what it displays for two equal networks."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PAD.parent)
        patch.setattr(show, "display", lambda data, raw: shown.append(data))
        for plain in (0, 0, 1):
            pair = {"plain": networks[plain], "robust": networks[1]}
            run_cells("imports", "parameters", "pad", **pair)
    return shown


@pytest.fixture(scope="module")
def pad_file(shown, tmp_path_factory):
    """A page with four pads. The second shows the first's output again, as Jupyter can."""
    file = tmp_path_factory.mktemp("pad") / "pad.html"
    pads = "".join(f"<div>{shown[n]['text/html']}</div>" for n in (0, 0, 1, 2))
    file.write_text(f"""<!DOCTYPE html><html lang="en"><title>Pads</title>
        <meta name="viewport" content="width=device-width"><style>
        :root {{ color-scheme: light dark }} .jupyter {{ background: #111; color: #eee }}</style>
        <main><h1>Pads</h1>{pads}</main>""")
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

    def control(self, name):
        return self.whole.locator(f"[name='{name}']").last

    def picture(self, name):
        return self.whole.get_by_role("img", name=name, exact=True)

    def draw(self, strokes, on="Drawing pad", side=280, **button):
        """Draw ``strokes``, given in ``side`` x ``side``, into the picture ``on``."""
        self.picture(on).scroll_into_view_if_needed()
        box, mouse = self.picture(on).bounding_box(), self.page.mouse
        for stroke in strokes:
            points = np.reshape(stroke, (-1, 2)) * box["width"] / side + [box["x"], box["y"]]
            mouse.move(*points[0])
            mouse.down(**button)
            for point in points[1:]:
                mouse.move(*point)
            mouse.up(**button)

    def answers(self):
        """Return both networks' digits: those of the longest bars, which are said as well."""
        cells = self.whole.locator("tr + tr td")
        bars = cells.evaluate_all("""cells => cells.map(cell =>
            parseFloat(getComputedStyle(cell).backgroundSize.slice(5)))""")
        assert cells.all_inner_texts() == [f"{bar:.0f}%" for bar in bars]
        bars = np.reshape(bars, (10, 2))
        best, most = bars.argmax(axis=0).tolist(), bars.max(axis=0)
        verdict = "They agree" if best[0] == best[1] else "They disagree"
        told = [f"{digit} ({share:.0f}%)" for digit, share in zip(best, most)]
        assert self.said.inner_text() == "{}: plain reads {}, augmented {}.".format(verdict, *told)
        return best

    def seen(self, name="The 28x28 pixels"):
        """Return the 28x28 pixels that the networks get, 0 to 1, or another picture by its name."""
        width, *channels = self.picture(name).evaluate("""canvas => [canvas.width,
            ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]""")
        return np.reshape(channels, (-1, width, 4))[..., 0] / 255

    def look(self, box=None):
        """Return what an eye sees of the paper, or of ``box``: pixels, in grey."""
        taken = (box or self.picture("Drawing pad")).screenshot()
        return np.asarray(Image.open(io.BytesIO(taken)).convert("L")).astype(int)


def test_it_reads_as_keras_reads(chromium, networks):
    images = MNIST["x_test"][:100]
    packed = [[*show.pack(network)] for network in networks]
    with chromium.new_page() as tab:
        tab.add_script_tag(path=PAD / "network.js")
        answers = tab.evaluate(
            """([packed, images]) => Promise.all(packed.map(async arrays => {
                const weights = await Promise.all(arrays.map(unpack));
                return images.map(image => predict(weights, image).probabilities)}))""",
            [packed, (images.reshape(-1, 784) / 255).tolist()],
        )
    for network, answer in zip(networks, answers):
        expected = network.predict(images[..., None] / 255, verbose=0)
        assert np.abs(answer - expected).max() <= 0.05


def test_it_starts_with_what_plain_misreads_if_there_is_something(pad):
    *_, one, same = (Pad(pad.page, n) for n in range(4))
    plain, augmented = one.answers()
    moves = [one.control(f"moved {way}").input_value() for way in ("right", "down")]
    assert plain != augmented and moves[0] == moves[1] in "345"
    assert same.answers() == [4, 4] and same.control("moved right").input_value() == "0"
    one.press(str(augmented))
    assert one.answers() == [plain, augmented], "it shows another digit"
    assert pad.answers() == [4, 4], "one pad changes another"
    assert pad.page.evaluate("typeof makePad") == "undefined"


def test_drawing(pad):
    """Large with a finger, 14% as high as the paper with the mouse; Undo goes back, also before
    Clear; and dragging."""
    touch = pad.page.context.new_cdp_session(pad.page)
    for digit, strokes in enumerate(DIGITS):
        pad.press(str(digit))
        taken = pad.seen()
        assert pad.answers() == [digit, digit]
        for finger, size in [(True, 1), (False, 0.22)]:
            pad.press("Clear")
            touch.send("Emulation.setEmitTouchEventsForMouse", {"enabled": finger})
            pad.draw([np.multiply(stroke, size) for stroke in strokes])
            touch.send("Emulation.setEmitTouchEventsForMouse", {"enabled": False})
            assert pad.answers() == [digit, digit] and np.abs(pad.seen() - taken).mean() < 0.06
    pad.press("Clear")
    expect(pad.status).to_have_text("Draw a digit, or take one.")
    expect(pad.whole.locator("b").first).to_be_hidden()
    states = [(pad.look(), pad.seen())]
    pad.draw([[20, 20, 200, 200]], button="right")
    assert np.array_equal(pad.look(), states[0][0]) and not pad.seen().any()
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


def test_changes_are_those_of_the_table_and_preparation_that_of_part_v(pad, definitions):
    plain, rows = pad.seen(), np.arange(28)[:, None] - 13.5
    prepared = definitions.to_mnist(np.uint8(pad.look()[10:-10, 10:-10]))
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # rounding may differ by a pixel
    assert min(np.abs(np.roll(plain, move, (0, 1)) - prepared).mean() for move in moves) < 0.045
    expected = {
        ("moved right", 3): np.roll(plain, 3, axis=1),
        ("moved down", -2): np.roll(plain, -2, axis=0),
        ("grey paper", 50): 0.5 + 0.5 * plain,
        ("black on white", True): 1 - plain,
        ("crossed out", True): np.maximum(plain, np.abs(rows - 1) < 1),
        ("ringed", True): np.maximum(plain, np.abs(np.hypot(rows, rows.T) - 13) < 0.8),
        ("cut off", True): np.where(rows < 5, plain, 0),
        ("turned", 30): Image.fromarray(np.float32(plain)).rotate(-30, Image.Resampling.BILINEAR),
    }
    for (name, value), picture in expected.items():
        pad.control(name).check() if value is True else pad.control(name).fill(str(value))
        assert np.abs(pad.seen() - picture).mean() < (0.03 if name == "turned" else 0.003), name
        pad.press("Reset")
        assert np.array_equal(pad.seen(), plain), "Reset does not reset"
    pad.control("noisy").fill("40")
    assert 0.15 < pad.seen()[plain == 0].mean() < 0.17  # 0.4 of a normal distribution, cut off at 0


def test_look_inside(pad, networks):
    """A filter and a place are chosen with the mouse, the arrow keys and in the picture."""
    pad.whole.get_by_text("Look inside").click()
    pad.control("network").check()
    response = networks[1].layers[0](pad.seen()[None, ..., None])[0].numpy()
    row, column, _ = np.unravel_index(response.argmax(), response.shape)
    nth = response[row, column].argmax()
    x, y = 26 * (2 * (nth % 4) + 1) + column, 26 * (nth // 4) + row
    pad.draw([[x + 0.5, y - 0.5]], on="Filters and responses", side=208)
    pad.control("row").press("ArrowRight")
    for move in (0, 2):
        pad.draw([[column + move + 2.5, row + 2.5]] * (move > 0), "The place in the picture", 28)
        kernel, bias = (array[..., nth] for array in networks[1].layers[0].get_weights())
        under = pad.seen()[row : row + 5, column + move :][:, :5]
        for box, numbers in zip(pad.whole.locator(".numbers").all(), (under, kernel[..., 0])):
            told = np.reshape(box.locator("span").all_inner_texts(), (5, 5)).astype(float)
            assert np.abs(told - numbers).max() < 0.01
        told = re.findall(r"-?\d+\.\d+", pad.whole.locator(".sum").inner_text())
        total = np.sum(under * kernel[..., 0]) + bias
        expected = [total - bias, bias, total, response[row, column + move, nth]]
        assert np.abs(np.float64(told) - expected).max() < 0.02
    tile = pad.seen("Filters and responses")[y - row :, x - column :][:24, :24]
    assert np.median(np.abs(tile - response[..., nth] / response.max())) < 0.01


def test_keyboard_and_screen_reader(pad):
    """All can be reached in this order; the answer is shown at once, and told when a key rests."""
    expect(pad.status).to_have_text(pad.said.inner_text())
    pad.whole.get_by_role("button", name="Undo").focus()
    for name in ["Clear", *"0123456789", "moved right", "moved down"]:
        pad.page.keyboard.press("Tab")
        role = "slider" if name.startswith("moved") else "button"
        expect(pad.whole.get_by_role(role, name=name, exact=True)).to_be_focused()
    pad.status.evaluate("""status => { window.told = [];
        new MutationObserver(() => told.push(status.textContent)).observe(
            status, {childList: true}); }""")
    for _ in range(4):
        pad.page.keyboard.press("ArrowRight")
    assert pad.control("moved down").input_value() == "4" and pad.answers()
    pad.page.wait_for_function("told.length")
    assert pad.page.evaluate("told") == [pad.said.inner_text()]


@pytest.mark.parametrize("look", ["390 light", "640 dark", "390 jupyter", "900 forced dark"])
def test_looks(pad, look):
    page, (width, *colours) = pad.page, look.split()
    dark = "dark" if "dark" in colours else "light"
    page.emulate_media(color_scheme=dark, forced_colors="active" if "forced" in colours else "none")
    page.set_viewport_size({"width": int(width), "height": 844})
    page.locator("body").evaluate("(body, name) => body.className = name", colours[0])
    check_access(page)
    paper, bar = pad.look(), pad.look(pad.whole.locator("tr").nth(5).locator("td").first)
    assert paper[20:-20, 20:-20].min() < 50 and paper.max() > 200, "the drawing cannot be seen"
    assert abs(bar[len(bar) // 2, 5] - bar[1, -1]) > 60, "the bar cannot be seen"
    if width == "390":
        pad.control("noisy").scroll_into_view_if_needed()
        expect(pad.picture("The 28x28 pixels")).to_be_in_viewport(ratio=1)


def test_without_scripts_a_picture_and_a_note_stand_there(chromium, pad_file):
    with chromium.new_page(java_script_enabled=False) as tab:
        tab.goto(pad_file.as_uri())
        expect(tab.get_by_role("img", name="drawing pad").first).to_be_visible()
        expect(tab.get_by_text("trust the notebook").first).to_be_visible()


@pytest.mark.parametrize("where", ["lab/tree", "notebooks"])
def test_in_jupyter(chromium, shown, tmp_path, where):
    """Untrusted, the output is a picture. When the cells have run, it is a pad, twice."""
    (tmp_path / "pad.json").write_text(json.dumps(shown[0]))
    source = "import json\ndisplay(json.load(open('pad.json')), raw=True)"
    cells = [nbformat.v4.new_code_cell(source) for _ in range(2)]
    cells[1].outputs = [nbformat.v4.new_output("display_data", data=shown[0])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "pad.ipynb")
    places = ["HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"]
    settings = os.environ | dict.fromkeys(places, str(tmp_path / "home"))
    options = """--no-browser --allow-root --ip=127.0.0.1 --LabApp.news_url=None
        --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"""
    command = [sys.executable, "-m", "jupyter", "lab", *options.split()]
    with contextlib.ExitStack() as ends:
        streams = {"stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=tmp_path, env=settings, **streams)
        ends.callback(process.communicate)
        ends.callback(process.terminate)
        said = ""
        while not (address := re.search(r"(http://127\S+/)lab(\?token=\w+)", said)):
            said += process.stderr.readline()
            assert process.poll() is None, f"JupyterLab does not start:\n{said}"
        tab = ends.enter_context(chromium.new_page(viewport={"width": 1400, "height": 1000}))
        tab.set_default_timeout(180_000)  # a busy machine is slow
        tab.goto("{1}{0}/pad.ipynb{2}".format(where, *address.groups()))
        tab.locator(".jp-OutputArea").get_by_role("img", name="drawing pad").wait_for()
        assert not tab.locator(".pad").count()
        tab.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        for _ in range(20):  # in the page's first moments the menu does nothing, or a dialog opens
            tab.keyboard.press("Escape")
            with contextlib.suppress(TimeoutError):
                for name in ("Run", "Run All Cells"):
                    tab.get_by_role("menuitem", name=name, exact=True).click(timeout=30_000)
                tab.locator(".pad").nth(1).wait_for(timeout=30_000)
                break
        pad = Pad(tab, 1)
        pad.press("Clear")
        pad.draw(DIGITS[5])
        cells = tab.locator(".jp-Cell").count()
        for key in "ababddx":  # Jupyter's shortcuts: new cells above and below, deleted, cut
            tab.keyboard.press(key)
        assert tab.locator(".jp-Cell").count() == cells and len(pad.answers()) == 2
