"""The page that `make html` and `make run` build: one file that everyone can read, offline too."""

import copy
import re
import subprocess
import sys

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from conftest import NOTEBOOK, ROOT, code_cells, outputs
from playwright.sync_api import expect

PHONE, LAPTOP = (390, 844), (1280, 900)


def make_page(notebook, folder):
    """Return the page that `make run` would make of the file ``notebook``, in ``folder``."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "nbconvert",
            "--to",
            "html",
            "--template",
            "page",
            f"--TemplateExporter.extra_template_basedirs={ROOT / 'templates'}",
            "--output-dir",
            folder,
            notebook,
        ],
        check=True,
        capture_output=True,
    )
    return folder / "mnist_cnn.html"


def read_page(file):
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return make_page(NOTEBOOK, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(page_file):
    return read_page(page_file)


@pytest.fixture(
    scope="module",
    params=[(PHONE, "light"), (PHONE, "dark"), (LAPTOP, "light"), (LAPTOP, "dark")],
    ids=["phone, light", "phone, dark", "laptop, light", "laptop, dark"],
)
def opened(chromium, page_file, request):
    """The page in Chromium, with this screen and colour scheme; it may ask for nothing else."""
    (width, height), scheme = request.param
    tab = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    asked, complaints = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    tab.goto(page_file.as_uri(), wait_until="networkidle")
    yield tab
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()], (
        "the page is to hold all that it needs"
    )
    assert not complaints
    tab.close()


def headings(notebook):
    """Return (depth, text) of the headings below the title: a section in a part has depth 2."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    found, in_parts = [], False
    for marks, line in re.findall(r"^(##?) (.*)$", text, re.M)[1:]:
        in_parts = in_parts or marks == "#"
        found.append((2 if in_parts and marks == "##" else 1, re.sub(r"[`*]", "", line)))
    return found


def test_every_picture_is_described(page, saved):
    described = [picture.get("alt") for picture in page.find_all("img")]
    assert described and all(described)
    figures = [
        output.metadata["image/png"]["alt"]
        for output in outputs(saved)
        if "image/png" in output.get("data", {})
    ]
    assert [alt for alt in described if alt in figures] == figures


def test_everything_is_in_the_page(page):
    for picture in page.find_all("img"):
        assert picture["src"].startswith("data:image/png;base64,")
    for element in page.find_all(["script", "link", "iframe", "source", "video", "audio"]):
        assert element.get("src") is None and element.get("href", "data:").startswith("data:"), (
            element
        )
    for style in page.find_all("style"):
        assert not re.search(r"@import|url\(", style.string)


def test_every_cell_is_in_the_page(page, saved):
    shown = [element.get_text().strip() for element in page.select(".input_area")]
    assert shown == [cell.source.strip() for cell in code_cells(saved)]


def test_folded_code_is_folded_and_what_it_shows_is_not(page, saved):
    for cell in code_cells(saved):
        shown = page.find(id=f"cell-id={cell.id}")
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert bool(shown.select("details:not([open]) .input_area")) == hidden, cell.source
        assert not shown.select("details .output_wrapper")
    for summary in page.select("main summary"):
        assert len(summary.get_text().strip()) > 5 and "\n" not in summary.get_text()


def test_folded_code_opens_with_the_keyboard(opened):
    folded = opened.locator("main details")
    if not folded.count():
        pytest.skip("no folded code in the notebook")
    code = folded.first.locator(".input_area")
    assert not code.is_visible()
    folded.first.locator("summary").focus()
    opened.keyboard.press("Enter")
    assert code.is_visible()
    opened.keyboard.press("Enter")
    assert not code.is_visible()


def test_weight(page_file):
    assert page_file.stat().st_size <= 2_600_000


def test_one_title(page):
    [title] = page.find_all("h1")
    assert title.get_text().removesuffix("¶") == page.title.string


def test_table_of_contents(page, saved):
    """A list of the parts, in each a list of its sections, linked to the headings."""
    links = [(len(link.find_parents("ol")), link) for link in page.select("nav a")]
    assert [(depth, link.get_text()) for depth, link in links] == headings(saved) != []
    for depth, link in links:
        [heading] = page.find_all(id=link["href"].removeprefix("#"))
        assert heading.name == f"h{depth + 1}" and heading.get_text() == link.get_text() + "¶"


def test_a_link_in_the_contents_leads_to_its_section(opened):
    if opened.viewport_size["width"] == PHONE[0]:
        opened.get_by_text("Contents", exact=True).click()  # folded on a phone, to leave room
    for link in opened.locator("nav a").all():
        link.click()
        section = opened.locator(f'[id="{link.get_attribute("href").removeprefix("#")}"]')
        assert 0 <= section.bounding_box()["y"] < opened.viewport_size["height"], link.inner_text()


def test_no_sideways_scroll(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") == opened.viewport_size["width"]
    beyond = opened.evaluate("""() => [...document.querySelectorAll("main > div, main p, main img")]
        .map(box => box.closest(".output_png") || box)  // a figure scrolls in its own box
        .filter(box => box.getBoundingClientRect().left < 0
                       || box.getBoundingClientRect().right > innerWidth)
        .map(box => box.outerHTML.slice(0, 200))""")
    assert not beyond


def test_lines_are_of_a_readable_length(opened):
    """At most about 80 characters, each counted as half of the type size, near the mean."""
    width, size = opened.evaluate("""() => {
        const p = document.querySelector("main p");
        return [p.clientWidth, parseFloat(getComputedStyle(p).fontSize)];}""")
    assert size >= 16 and width / (size / 2) <= 82


def test_paper_follows_the_colour_scheme(opened):
    dark = opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    red, green, blue = map(
        int,
        re.findall(r"\d+", opened.evaluate("getComputedStyle(document.body).backgroundColor"))[:3],
    )
    assert (max(red, green, blue) < 50) if dark else (min(red, green, blue) > 240)
    # Figures have black text on a transparent or white ground: white behind them in both.
    looks = opened.evaluate("""[...document.images].filter(image => image.checkVisibility()).map(
        image => getComputedStyle(image)).map(style => [style.backgroundColor, style.filter])""")
    dimmed = "brightness(0.75)" if dark else "none"  # else it would be a white slab in the dark
    assert {tuple(look) for look in looks} == {("rgb(255, 255, 255)", dimmed)}


def test_axe_finds_no_serious_violation(opened):
    violations = Axe().run(opened).response["violations"]
    serious = [
        (found["id"], [node["html"][:200] for node in found["nodes"]])
        for found in violations
        if found["impact"] in ("serious", "critical")
    ]
    assert not serious


def test_printed_on_paper_it_is_dark_on_white_and_nothing_is_cut_off(chromium, page_file):
    tab = chromium.new_page(
        viewport={"width": 700, "height": 1000}, color_scheme="dark"
    )  # A4 within its margins
    tab.emulate_media(media="print")
    tab.goto(page_file.as_uri())
    assert not tab.locator("nav").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = tab.evaluate("""() => [...document.querySelectorAll("main :is(pre, .rendered_html, img)")]
        .filter(box => box.scrollWidth > box.clientWidth + 1)
        .map(box => box.outerHTML.slice(0, 200))""")
    assert not cut


def test_the_error_stream_is_not_on_the_page(saved, tmp_path):
    executed = copy.deepcopy(saved)
    stderr = nbformat.v4.new_output("stream", name="stderr", text="a machine complains")
    stdout = nbformat.v4.new_output("stream", text="a cell prints")
    code_cells(executed)[0].outputs = [stderr, stdout]
    nbformat.write(executed, tmp_path / "mnist_cnn.ipynb")
    text = read_page(make_page(tmp_path / "mnist_cnn.ipynb", tmp_path)).get_text()
    assert "a cell prints" in text and "complains" not in text


def test_first_picture_leads_to_the_pad_and_the_pad_reads(opened):
    picture = opened.locator("main img").first
    assert "pad" in picture.get_attribute("alt")
    picture.click()
    canvas = opened.get_by_role("img", name="Drawing pad", exact=True)
    assert 0 <= canvas.bounding_box()["y"] < opened.viewport_size["height"]
    opened.get_by_role("button", name="7", exact=True).click()
    expect(opened.get_by_role("status")).to_have_text(re.compile("augmented reads 7"))


def test_links_within_the_page_lead_somewhere(page):
    for link in page.select('a[href^="#"]'):
        assert page.find(id=link["href"].removeprefix("#")), link


def test_contents_mark_the_section_in_view(opened):
    links = opened.locator("nav a")
    for n in [0, links.count() // 2, links.count() - 2]:
        link = links.nth(n)
        opened.evaluate(
            "id => document.getElementById(id).scrollIntoView()",
            link.get_attribute("href").removeprefix("#"),
        )
        expect(opened.locator("nav [aria-current]")).to_have_text(link.text_content())
        expect(link).to_have_css("border-left-style", "solid")
    if opened.viewport_size["width"] != PHONE[0]:
        expect(link).to_be_in_viewport()


def test_figures_can_be_read_on_a_phone(opened):
    """Their text is of 15 pixels or a little less where a figure has its natural size."""
    scales = opened.evaluate("""() => [...document.querySelectorAll(".output_png img")].map(
        image => image.clientWidth / image.naturalWidth)""")
    assert min(scales) > 0.65
