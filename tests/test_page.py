"""The page and its pad in Chromium, Firefox and Jupyter. A picture of it goes to build/test."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import nbformat.sign
import numpy as np
import pytest
import websocket
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from conftest import CELLS, NOTEBOOK, PAGE, ROOT, SAVED, TEXT, run_cells
from pad import show
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from told import NUMBER

expect.set_options(timeout=30_000)
FOUND = re.findall('^  "([0-9 ,]+)",$', (show.FOLDER / "pad.js").read_text(), re.M)
DIGITS = [[np.float64(stroke.split()) for stroke in digit.split(",")] for digit in FOUND]


def find(*names):
    """Return a browser's path, or skip the test; in continuous integration, fail."""
    for path in filter(None, map(shutil.which, names)):
        return path
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {names[0]}: install it")


@pytest.fixture(scope="module")
def chromium():
    options = "--no-sandbox --disable-gpu --disable-background-networking --disable-sync".split()
    with sync_playwright() as playwright:
        path = find("chromium", "google-chrome")
        yield playwright.chromium.launch(executable_path=path, args=options)


@pytest.fixture(scope="module")
def pads(networks, tmp_path_factory):
    """The saved networks, their pad, and a page: this pad, the same, and one of equal networks."""
    shown, file = [], tmp_path_factory.mktemp("pad") / "pad.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "display", lambda data, raw: shown.append(data["text/html"]))
        for plain in networks:
            show.show_pad({"plain": plain, "augmented": networks[1]})
    file.write_text(f"""<!DOCTYPE html><html lang="en"><title>Pads</title>
        <meta name="viewport" content="width=device-width"><style>
        :root {{ color-scheme: light dark }} .jupyter {{ background: #111; color: #eee }}</style>
        <main><h1>Pads</h1><div>{"</div><div>".join([shown[0], *shown])}</div></main>""")
    return SimpleNamespace(networks=networks, html=shown[0], file=file)


@pytest.fixture
def pad(chromium, pads):
    """The first pad of the page, with its 4. A page may ask for no other file; no script fails."""
    with chromium.new_page(viewport={"width": 1280, "height": 844}, has_touch=True) as tab:
        heard = []
        tab.on("request", lambda request: heard.append(request.url))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.goto(pads.file.as_uri())
        pad = Pad(tab)
        pad.press("Reset")
        pad.press("4")
        yield pad
        assert not [text for text in heard if not re.match(r"data:|file:\S+\.html", text)]


class Pad:  # one of those in a page
    def __init__(self, page, nth=0):
        self.page, self.whole = page, page.locator(".pad").nth(nth)
        self.get = self.whole.get_by_label  # a picture or a control by its name
        self.paper, self.said = self.get("Drawing pad"), self.whole.locator(".said")
        expect(self.said).to_contain_text("augmented")

    def press(self, name):
        self.whole.get_by_role("button", name=name, exact=True).click()
        self.page.evaluate("() => new Promise(done => setTimeout(done))")  # as Reset does

    def draw(self, strokes, on="Drawing pad", side=280):
        """Draw ``strokes``, given in ``side`` x ``side``, into the picture ``on``."""
        self.get(on).scroll_into_view_if_needed()
        box, mouse = self.get(on).bounding_box(), self.page.mouse
        for stroke in strokes:
            points = np.reshape(stroke, (-1, 2)) * box["width"] / side + [box["x"], box["y"]]
            mouse.move(*points[0])
            mouse.down()
            for point in points[1:]:
                mouse.move(*point)
            mouse.up()

    def answers(self):
        """Return the shares beside the bars, and both networks' digits, which are said as well."""
        texts, said = self.whole.locator("tr + tr td").all_inner_texts(), self.said.inner_text()
        shares = np.reshape([int(text[:-1]) for text in texts], (10, 2))
        best = shares.argmax(axis=0).tolist()
        told = list(map(int, NUMBER.findall(said)))
        assert told == np.ravel([best, shares.max(axis=0)], "F").tolist()
        assert said.startswith("They agree" if best[0] == best[1] else "They disagree")
        return shares / 100, best

    def seen(self, name="The 28x28 pixels"):
        """Return the 28x28 pixels that the networks get, 0 to 1, or another picture by its name."""
        width, *channels = self.get(name).evaluate("""canvas => [canvas.width,
            ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]""")
        return np.reshape(channels, (-1, width, 4))[..., 0] / 255


def look(box):
    """Return what an eye sees of ``box``: pixels, in grey."""
    return np.int32(Image.open(io.BytesIO(box.screenshot())).convert("L"))


def check_sight(pad, boxes):
    """Raise if ``boxes`` are cut off, drawing or bars cannot be seen, or axe finds something."""
    tab = pad.page
    tab.locator("details:not([open]) summary").evaluate_all("all => all.map(it => it.click())")
    assert tab.locator(boxes).evaluate_all("""boxes => [document.documentElement, ...boxes].every(
        box => box.scrollWidth <= box.clientWidth + 1
        && box.getBoundingClientRect().right <= innerWidth)""")
    row = pad.whole.locator("tr + tr").nth(pad.answers()[1][0])
    paper, bar = look(pad.paper), look(row.locator("td").first)
    assert paper[20:-20, 20:-20].min() < 50 and paper.max() > 200, "the drawing cannot be seen"
    assert abs(bar[len(bar) // 2, 5] - bar[1, -1]) > 60, "the bar cannot be seen"
    if tab.evaluate("matchMedia('screen').matches"):
        found = Axe().run(tab, options={"resultTypes": ["violations"]}).response["violations"]
        assert not [(problem["id"], problem["nodes"][0]["html"][:200]) for problem in found]


def test_page_is_the_saved_notebook_with_all_cells_and_contents(pads, tmp_path):
    """It is what `make html` builds, byte for byte, and its pad is what show_pad shows."""
    options = f"""--to=html --template=page --output-dir={tmp_path}
        --TemplateExporter.extra_template_basedirs={ROOT / "templates"}"""
    subprocess.run([sys.executable, "-m", "nbconvert", *options.split(), NOTEBOOK], check=True)
    content = (tmp_path / "mnist_cnn.html").read_bytes()
    assert content == PAGE.read_bytes(), "docs/index.html is stale: run `make notebook`"
    assert len(content) <= 3_200_000, "too heavy for a phone"
    varies = re.compile(r"pad-\w{8}\b|'bytes': '\S+")  # machines differ in how they compress
    text, shown = (varies.sub("", html) for html in (content.decode(), pads.html))
    assert shown.split("<script>")[1] in text, "the page's pad is stale: run `make notebook`"
    page = BeautifulSoup(content, "html.parser")
    for cell in CELLS:
        shown = page.find(id=f"cell-id={cell.id}")
        assert shown.select_one(".input_area").get_text().strip() == cell.source.strip()
        folded = bool(shown.select("details:not([open]) .input_area"))
        assert cell.metadata.get("jupyter", {}).get("source_hidden", False) == folded, cell.source
        assert not shown.select("details .output_wrapper"), f"{cell.id} folds what it shows"
    text = re.sub("[`*]", "", re.sub(r"^```.*?^```", "", TEXT, flags=re.M | re.S))
    links = [("#" * len(link.find_parents("ol")), link.get_text()) for link in page.select("nav a")]
    assert [("#", page.title.string), *links] == re.findall(r"^(##?) (.*)$", text, re.M)
    for link in page.select('a[href^="#"]'):
        assert len(page.find_all(id=link["href"][1:])) == 1, f"{link} leads to no place, or two"


@pytest.mark.parametrize(("width", "colours"), [(390, "dark"), (1280, "light")])
def test_page_on_phone_and_laptop_and_on_paper(pad, width, colours):
    tab, links = pad.page, pad.page.get_by_role("link", name="drawing pad")
    tab.set_viewport_size({"width": width, "height": 844})
    tab.emulate_media(color_scheme=colours)
    tab.goto(PAGE.as_uri())
    for link in (links.nth(1), links.nth(0)):  # the picture on top; the link to skip to it
        link.press("Enter")
        expect(pad.paper).to_be_in_viewport()
    if width == 390:
        tab.get_by_text("Contents", exact=True).click()  # folded on a phone, to leave room
    else:
        taken = Image.open(io.BytesIO(pad.whole.screenshot())).convert("RGB")
        taken.quantize(64).save(ROOT / "build" / "test" / "pad.png", optimize=True)
    read = re.findall(r"(\d) \(", pad.said.inner_text())
    alt = links.nth(1).locator("img").get_attribute("alt")
    assert re.findall(r"\d", alt) == [read[1], *read], "take pad.png"
    link = tab.locator("nav a").nth(9)
    link.click()
    expect(tab.locator("nav [aria-current]")).to_have_text(link.text_content())
    check_sight(pad, "main :is(p:not([role]), img, table, .output_text pre:not(.drawn))")
    images, title = tab.locator(".output_png img"), tab.locator("h1")
    scales = images.evaluate_all("images => images.map(i => i.clientWidth / i.naturalWidth)")
    assert 9 / 25 <= min(scales) and max(scales) <= 0.51  # 9 points, of 25 pixels; sharp in 2x
    seen = [look(box)[9, 1] for box in (images.first, title)]
    assert seen == ([191, 24] if colours == "dark" else [255, 255]), "white figures are dimmed"
    tab.set_viewport_size({"width": 700, "height": 1000})  # A4 within its margins
    tab.emulate_media(media="print")
    check_sight(pad, "main :is(pre, table, img)")
    assert look(title)[9, 1] == 255, "paper is white"


def test_start_keyboard_and_screen_reader(pad):
    """It starts with what plain misreads. The answer is shown at once, told when a key rests."""
    _, same, equal = (Pad(pad.page, n) for n in range(3))
    _, [plain, augmented] = same.answers()
    moves = [same.get(name).input_value() for name in ("right", "down")]
    assert plain != augmented and moves[0] == moves[1] in "345"
    same.press(str(augmented))
    assert same.answers()[1] == [plain, augmented], "it shows another digit"
    assert equal.answers()[1] == [4, 4] and equal.get("right").input_value() == "0"
    assert pad.answers()[1] == [4, 4], "one pad changes another"
    assert pad.page.evaluate("typeof makePad") == "undefined", "it leaves names in the page"
    status = pad.whole.get_by_role("status")
    expect(status).to_have_text(pad.said.inner_text())
    pad.whole.get_by_role("button", name="Undo").focus()
    for name in ["Clear", *"0123456789", "moved right", "moved down"]:
        pad.page.keyboard.press("Tab")
        expect(pad.whole.locator(":focus")).to_have_accessible_name(name)
    status.evaluate("""status => { window.told = []; new MutationObserver(() =>
        told.push(status.textContent)).observe(status, {childList: true}); }""")
    for _ in range(4):
        pad.page.keyboard.press("ArrowRight")
    assert pad.get("moved down").input_value() == "4" and pad.answers()
    pad.page.wait_for_function("told.length")
    assert pad.page.evaluate("told") == [pad.said.inner_text()]


def test_drawing(pad):
    """Digits as large as the paper, or 14% as high; Undo; dragging."""
    for digit, strokes in enumerate(DIGITS):
        pad.press(str(digit))
        taken = pad.seen()
        for size in (1, 0.22):
            pad.press("Clear")
            pad.draw([stroke * size for stroke in strokes])
            assert pad.answers()[1] == [digit, digit] and np.abs(pad.seen() - taken).mean() < 0.06
    pad.press("Clear")
    expect(pad.whole.get_by_role("status")).to_have_text("Draw a digit, or take one.")
    expect(pad.whole.locator("b").first).to_be_hidden()
    states = [look(pad.paper)]
    for stroke in DIGITS[5]:
        pad.draw([stroke])
        states.append(look(pad.paper))
    pad.press("Clear")
    for state in reversed(states):
        pad.press("Undo")
        assert np.array_equal(look(pad.paper), state), "Undo does not undo"
    pad.press("4")
    before = pad.seen()
    pad.draw([[9, 9, 12, 7]], on="The 28x28 pixels", side=28)
    assert np.array_equal(pad.seen(), np.roll(before, (-2, 3), (0, 1)))


def test_pictures_answers_and_responses_are_those_of_the_lesson(pad, pads):
    """Choose a filter and a place with the mouse, the arrow keys and a finger."""
    plain, wanted = pad.seen(), ("imports", "parameters", "definitions", "changes")
    lesson = run_cells(*wanted, x_val=plain[None, ..., None])
    prepared = lesson.to_mnist(np.uint8(look(pad.paper)[10:-10, 10:-10]))
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # rounding may differ by a pixel
    assert min(np.abs(np.roll(plain, move, (0, 1)) - prepared).mean() for move in moves) < 0.045
    values = dict.fromkeys(["black on white", "crossed out", "ringed*", "cut off*"], True)
    for name, value in (values | {"grey paper": 50, "turned": -25}).items():
        control = pad.get(name.strip("*"))
        control.check() if value is True else control.fill(str(value))
        difference = np.abs(pad.seen() - lesson.kinds[name][0, ..., 0]).mean()
        assert difference < (0.03 if name == "turned" else 0.003), name
        read = [network(pad.seen()[None, ..., None])[0] for network in pads.networks]
        assert np.abs(pad.answers()[0].T - read).max() < 0.05, "it does not read as Keras reads"
        pad.press("Reset")
        assert np.array_equal(pad.seen(), plain), "Reset does not reset"
    pad.whole.get_by_text("Look inside").click()
    pad.get("augmented").check()
    first = pads.networks[1].layers[0]
    kernel, bias, response = *first.get_weights(), first(plain[None, ..., None])[0].numpy()
    row, column, nth = np.unravel_index(response.argmax(), response.shape)
    x, y = 26 * (2 * (nth % 4) + 1), 26 * (nth // 4)  # of the tile of this filter's responses
    pad.draw([[x + column + 0.5, y + row - 0.5]], on="Filters and responses", side=208)
    pad.get("row").press("ArrowRight")
    under, weights = plain[row : row + 5, column : column + 5], kernel[..., 0, nth]
    total = np.sum(under * weights)
    expected = [*under.flat, *weights.flat, total, bias[nth], total + bias[nth], response.max()]
    told = pad.whole.locator(".numbers span, .sum").all_inner_texts()
    told = np.float64(re.findall(r"-?\d+\.\d+", " ".join(told)))
    assert np.abs(told - expected).max() < 0.02
    tile = pad.seen("Filters and responses")[y : y + 24, x : x + 24]
    assert np.median(np.abs(tile - response[..., nth] / response.max())) < 0.01
    expect(pad.paper).to_have_css("touch-action", "none")  # or the page moves under the finger
    pad.get("The place in the picture").tap(position={"x": 9, "y": 9})
    assert [pad.get(name).input_value() for name in ("row", "column")] == ["0", "0"]


def test_looks(pad):
    """On a phone, at half of a screen, in a dark Jupyter, and in forced colours."""
    expect(pad.whole).to_have_css("print-color-adjust", "exact")  # no screenshot shows it
    pad.page.evaluate("document.querySelectorAll('div ~ div').forEach(pad => pad.remove())")
    for sight in ["390 light light", "640 dark dark", "390 light jupyter", "900 dark dark forced"]:
        width, colours, name, *forced = sight.split()
        pad.page.emulate_media(color_scheme=colours, forced_colors="active" if forced else "none")
        pad.page.set_viewport_size({"width": int(width), "height": 844})
        pad.page.locator("body").evaluate("(body, name) => body.className = name", name)
        check_sight(pad, ".pad, .numbers, .said")
        pad.get("noisy").scroll_into_view_if_needed()
        expect(pad.get("The 28x28 pixels")).to_be_in_viewport(ratio=1)


def test_in_firefox(pads, tmp_path, request):
    """In a second engine, over WebDriver BiDi, both networks read what a finger draws."""

    def ask(method, **params):
        link.send(json.dumps({"id": 1, "method": method, "params": params}))
        answer = json.loads(link.recv())
        assert "result" in answer, answer  # it is not what a failing script logs
        return answer["result"]

    command = f"{find('firefox-esr', 'firefox')} --headless --remote-debugging-port=0 --profile"
    firefox = subprocess.Popen([*command.split(), tmp_path], stderr=subprocess.PIPE, text=True)
    request.addfinalizer(firefox.terminate)
    address = next(filter(None, map(re.compile(r"ws://\S+").search, firefox.stderr)))[0]
    link = websocket.create_connection(f"{address}/session", suppress_origin=True, timeout=60)
    ask("session.new", capabilities={})
    ask("session.subscribe", events=["log.entryAdded"])
    tab = {"context": ask("browsingContext.getTree")["contexts"][0]["context"]}
    ask("browsingContext.navigate", **tab, url=pads.file.as_uri(), wait="complete")
    reset = """new Promise(function wait(done) {
        window.root = document.querySelector("[data-taken] div")?.shadowRoot;
        root?.querySelector("[type=reset]").click();
        root ? done(root.querySelector("canvas")) : setTimeout(wait, 100, done); })"""
    paper = ask("script.evaluate", expression=reset, target=tab, awaitPromise=True)["result"]
    middle = {"origin": {"type": "element", "element": {"sharedId": paper["sharedId"]}}}
    points = np.int32((DIGITS[3][0].reshape(-1, 2) - 140) * 240 / 280).tolist()
    moves = [{"type": "pointerMove", "x": x, "y": y} | middle for x, y in points]
    down, up = ({"type": f"pointer{way}", "button": 0} for way in ("Down", "Up"))
    finger = {"type": "pointer", "id": "finger", "parameters": {"pointerType": "touch"}}
    ask("input.performActions", **tab, actions=[finger | {"actions": [moves[0], down, *moves, up]}])
    said = "root.querySelector('.said').textContent"
    said = ask("script.evaluate", expression=said, target=tab, awaitPromise=True)["result"]
    assert re.findall(r"(\d) \(", said["value"]) == ["3", "3"]


def test_in_jupyter(chromium, pads, tmp_path, request):
    """In a notebook that is not trusted the output is a picture, else a pad, here in two cells."""
    shown = [nbformat.v4.new_output("display_data", {"text/html": pads.html})]
    cells = [nbformat.v4.new_code_cell(outputs=shown) for _ in range(2)]
    notebook = nbformat.v4.new_notebook(metadata=SAVED.metadata, cells=cells)
    nbformat.write(notebook, tmp_path / "pads.ipynb")
    notary = nbformat.sign.NotebookNotary(data_dir=str(tmp_path))
    places = ["HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"]
    settings = {"cwd": tmp_path, "env": os.environ | dict.fromkeys(places, str(tmp_path))}
    command = f"""{sys.executable} -m jupyter lab --no-browser --allow-root --ip=127.0.0.1
        --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"""
    jupyter = subprocess.Popen(command.split(), stderr=subprocess.PIPE, text=True, **settings)
    request.addfinalizer(jupyter.terminate)
    found = re.compile(r"(http://127\S+/)lab(\?token=\w+)").search
    server, token = next(filter(None, map(found, jupyter.stderr))).groups()
    tab = chromium.new_page(viewport={"width": 1400, "height": 1000})
    tab.set_default_timeout(180_000)  # a busy machine is slow
    for where in ["lab/tree", "notebooks"]:
        notary.unsign(notebook)
        tab.goto(f"{server}{where}/pads.ipynb{token}")
        tab.get_by_role("img", name="drawing pad").nth(1).wait_for()
        expect(tab.get_by_text("or trust the notebook")).to_have_count(2)
        notary.sign(notebook)
        tab.reload()
        tab.locator(".pad").nth(1).wait_for()
        pad, cells = Pad(tab, 1), tab.locator(".jp-Cell").count()
        pad.press("Clear")
        pad.draw(DIGITS[5])
        pad.whole.get_by_role("button", name="Undo").focus()
        for key in "ababddx":  # Jupyter's shortcuts: new cells above and below, deleted, cut
            tab.keyboard.press(key)
        assert tab.locator(".jp-Cell").count() == cells and pad.answers()
