"""The page that `make html` and `make run` build: one file that everyone can read, offline too.

A test leaves in build/test/pad.png the picture that pages without scripts show.
"""

import copy
import io
import re
import subprocess
import sys

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from conftest import ROOT, code_cells, open_alone, outputs
from PIL import Image
from playwright.sync_api import expect

PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def page_file(saved, tmp_path_factory):
    """The page of the saved notebook, whose first cell has printed, and complained."""
    notebook, file = copy.deepcopy(saved), tmp_path_factory.mktemp("page") / "mnist_cnn.ipynb"
    stderr = nbformat.v4.new_output("stream", name="stderr", text="a machine complains")
    code_cells(notebook)[0].outputs = [stderr, nbformat.v4.new_output("stream", text="it prints")]
    nbformat.write(notebook, file)
    templates = f"--TemplateExporter.extra_template_basedirs={ROOT / 'templates'}"
    command = [sys.executable, "-m", "nbconvert", "--to=html", "--template=page", templates, file]
    subprocess.run(command, check=True)
    return file.with_suffix(".html")


@pytest.fixture(scope="module")
def page(page_file):
    return BeautifulSoup(page_file.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module", params=["dark phone", "light laptop"])
def opened(chromium, page_file, request):
    """The page in Chromium."""
    scheme, device = request.param.split()
    screen = PHONE if device == "phone" else LAPTOP
    with open_alone(chromium, page_file, viewport=screen, color_scheme=scheme) as tab:
        yield tab


def test_weight(page_file):
    assert page_file.stat().st_size <= 2_600_000, "too heavy for a phone: make its pictures smaller"


def test_every_picture_is_described(page, saved):
    described = [picture.get("alt") for picture in page.find_all("img")]
    assert all(described), "a picture has no text alternative"
    shown = [output for output in outputs(saved) if "image/png" in output.get("data", {})]
    figures = [output.metadata["image/png"]["alt"] for output in shown]
    assert [alt for alt in described if alt in figures] == figures != []


def test_every_cell_is_there_and_folded_code_hides_nothing_else(page, saved):
    for cell in code_cells(saved):
        shown = page.find(id=f"cell-id={cell.id}")
        assert shown.select_one(".input_area").get_text().strip() == cell.source.strip()
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert bool(shown.select("details:not([open]) .input_area")) == hidden, cell.source
        assert not shown.select("details .output_wrapper"), f"{cell.id} folds what it shows"
    for summary in page.select("main summary"):
        assert len(summary.get_text().strip()) > 5 and "\n" not in summary.get_text()


def test_the_error_stream_is_not_on_the_page(page):
    shown = page.select_one(".output_wrapper").get_text().strip()
    assert shown == "it prints", "the error stream is on the page, or what is printed is not"


def test_contents(page, saved):
    """A list of the parts, in each a list of its sections, linked to the headings."""
    text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    title, *headings = re.findall(r"^(##?) (.*)$", re.sub("[`*]", "", text), re.M)
    assert [page.title.string + "¶"] == [h1.get_text() for h1 in page.find_all("h1")]
    assert page.title.string == title[1]
    links = [("#" * len(link.find_parents("ol")), link.get_text()) for link in page.select("nav a")]
    assert links == headings != []
    for link in page.select('a[href^="#"]'):
        targets = page.find_all(id=link["href"].removeprefix("#"))
        assert len(targets) == 1, f"{link} leads to {len(targets)} places"
        if link.find_parent("nav"):
            assert targets[0].name == f"h{len(link.find_parents('ol')) + 1}"
            assert targets[0].get_text() == link.get_text() + "¶"


def test_a_link_in_the_contents_leads_to_its_section_and_is_marked(opened):
    if opened.viewport_size == PHONE:
        opened.get_by_text("Contents", exact=True).click()  # folded on a phone, to leave room
    links = opened.locator("nav a")
    for n in [0, links.count() // 2, links.count() - 2]:
        link = links.nth(n)
        link.click()
        section = opened.locator(f'[id="{link.get_attribute("href").removeprefix("#")}"]')
        expect(section).to_be_in_viewport()
        expect(opened.locator("nav [aria-current]")).to_have_text(link.text_content())
        expect(link).to_have_css("border-left-style", "solid")
        if opened.viewport_size == LAPTOP:
            expect(link).to_be_in_viewport()


def test_folded_code_opens_with_the_keyboard(opened):
    folded = opened.locator("main details").first
    expect(folded.locator(".input_area")).to_be_hidden()
    folded.locator("summary").press("Enter")
    expect(folded.locator(".input_area")).to_be_visible()


def test_it_fits_the_screen(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") == opened.viewport_size["width"]
    beyond = opened.evaluate("""() => [...document.querySelectorAll("main > div, main p, main img")]
        .map(box => box.closest(".output_png") || box)  // a figure scrolls in its own box
        .filter(box => box.getBoundingClientRect().left < 0
                       || box.getBoundingClientRect().right > innerWidth)
        .map(box => box.outerHTML.slice(0, 200))""")
    assert not beyond


def test_text_can_be_read(opened):
    """In lines of at most about 80 characters, each counted as half of the type size; in figures it
    is of 15 pixels or a little less where they have their natural size.
    """
    width, size, scales = opened.evaluate("""() => {
        const p = document.querySelector("main p");
        const figures = [...document.querySelectorAll(".output_png img")];
        return [p.clientWidth, parseFloat(getComputedStyle(p).fontSize),
                figures.map(image => image.clientWidth / image.naturalWidth)];}""")
    assert size >= 16 and width / (size / 2) <= 82
    assert min(scales) > 0.65, "a figure's text is too small"


def test_paper_follows_the_colour_scheme(opened):
    dark = opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    colours = [int(number) for number in re.findall(r"\d+", paper)[:3]]
    assert max(colours) < 50 if dark else min(colours) > 240, paper
    # Figures have black text on a transparent or white ground: white behind them in both.
    looks = opened.evaluate("""[...document.images].filter(image => image.checkVisibility()).map(
        image => getComputedStyle(image)).map(style => [style.backgroundColor, style.filter])""")
    dimmed = "brightness(0.75)" if dark else "none"  # else it would be a white slab in the dark
    assert {tuple(look) for look in looks} == {("rgb(255, 255, 255)", dimmed)}


def test_axe_finds_no_serious_violation(opened):
    found = Axe().run(opened, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [problem for problem in found if problem["impact"] in ("serious", "critical")]
    assert not [(problem["id"], problem["nodes"][0]["html"][:200]) for problem in serious]


def test_first_picture_leads_to_the_pad_and_the_pad_reads(opened):
    picture = opened.locator("main img").first
    assert "pad" in picture.get_attribute("alt")
    picture.click()
    expect(opened.get_by_role("img", name="Drawing pad", exact=True)).to_be_in_viewport()
    opened.get_by_role("button", name="7", exact=True).click()
    expect(opened.get_by_role("status")).to_have_text(re.compile("augmented reads 7"))
    # The picture is of this pad, and not of other networks'.
    digit, *read = re.findall(r"\d", picture.get_attribute("alt"))
    opened.get_by_role("button", name=digit, exact=True).click()
    for name in ("moved right", "moved down"):
        opened.get_by_label(name).fill("4")
    told = "plain reads {}, augmented reads {}".format(*read)
    expect(opened.get_by_role("status")).to_have_text(re.compile(told))
    if opened.viewport_size == LAPTOP:
        opened.mouse.move(0, 0)
        taken = Image.open(io.BytesIO(opened.locator(".pad").screenshot())).convert("RGB")
        (ROOT / "build" / "test").mkdir(parents=True, exist_ok=True)
        taken.quantize(64).save(ROOT / "build" / "test" / "pad.png", optimize=True)


def test_printed_on_paper_it_is_dark_on_white_and_nothing_is_cut_off(chromium, page_file):
    a4 = {"width": 700, "height": 1000}  # within its margins
    with chromium.new_page(viewport=a4, color_scheme="dark") as tab:
        tab.emulate_media(media="print")
        tab.goto(page_file.as_uri())
        expect(tab.locator("nav")).to_be_hidden()
        expect(tab.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
        cut = tab.evaluate("""[...document.querySelectorAll("main :is(pre, .rendered_html, img)")]
            .filter(box => box.scrollWidth > box.clientWidth + 1)
            .map(box => box.outerHTML.slice(0, 200))""")
        assert not cut
