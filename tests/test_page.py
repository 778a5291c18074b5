"""The page and its drawing pad, in a real browser: what a reader sees and does.

The pad holds the saved notebook's networks, so nothing has to be trained. A test leaves in
build/test/pad.png the picture that pages without scripts show.
"""

import ast
import io
import json
import os
import re
import subprocess
import sys
import time
import zlib
from base64 import b64decode
from unittest import mock

import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT, code_cells, open_alone, outputs, read_notebook, run_cells, tags
from nbconvert import HTMLExporter
from PIL import Image
from playwright.sync_api import expect

expect.set_options(timeout=60_000)
sys.path.append(str(ROOT / "notebooks"))
from pad import show  # noqa: E402

PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
STROKES = re.findall(r'^  "([\d ,]+)",$', (show.FOLDER / "pad.js").read_text(), re.M)
DIGITS = [[np.fromstring(s, sep=" ").reshape(-1, 2) for s in d.split(",")] for d in STROKES]


def soon(holds):
    """Return whether ``holds()`` comes true: what is done to the pad may show a little later."""
    deadline = time.monotonic() + 60
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def unpack(array):
    """Return the numbers of an ``array`` that the pad holds as text."""
    whole = np.frombuffer(zlib.decompress(b64decode(array["bytes"])), f"int{array['bits']}")
    return whole * array["scale"]


@pytest.fixture(scope="module")
def weights(saved):
    """What the saved notebook's pad holds of each network."""
    [cell] = [cell for cell in saved.cells if "pad" in tags(cell)]
    [text] = re.findall(r"\{'plain': .*?\]\}", cell.outputs[0].data["text/html"])
    return ast.literal_eval(text)


@pytest.fixture(scope="module")
def networks(weights):
    """The same as Keras's networks."""
    networks = [run_cells("imports", "parameters", "model").model for _ in weights]
    for network, arrays in zip(networks, weights.values()):
        shapes = [array.shape for array in network.weights]
        network.set_weights([*map(np.reshape, map(unpack, arrays), shapes)])
    return networks


@pytest.fixture(scope="module")
def shown(weights):
    """What the pad's files, as they are now, display for them."""
    with mock.patch.multiple(show, pack=list, display=mock.DEFAULT) as replaced:
        show.show_pad(weights)
    return replaced["display"].call_args.args[0]


@pytest.fixture(scope="module")
def page_file(shown, tmp_path_factory):
    """The notebook's page with that pad; its first cell has printed, and complained."""
    notebook = read_notebook()
    first, [pad] = code_cells(notebook)[0], [c for c in notebook.cells if "pad" in tags(c)]
    said = {"stderr": "a machine complains", "stdout": "it prints"}
    first.outputs = [nbformat.v4.new_output("stream", name=n, text=said[n]) for n in said]
    pad.outputs = [nbformat.v4.new_output("display_data", data=shown)]
    templates = [str(ROOT / "templates")]
    exporter = HTMLExporter(template_name="page", extra_template_basedirs=templates)
    file = tmp_path_factory.mktemp("page") / "mnist_cnn.html"
    file.write_text(exporter.from_notebook_node(notebook)[0], encoding="utf-8")
    return file


@pytest.fixture(scope="module", params=[(PHONE, "dark"), (LAPTOP, "light")], ids=str)
def page(chromium, page_file, request):
    screen, scheme = request.param
    with open_alone(chromium, page_file, viewport=screen, color_scheme=scheme) as tab:
        yield tab


@pytest.fixture
def pad(chromium, page_file):
    """The pad of a page that is opened for one test."""
    with open_alone(chromium, page_file, has_touch=True, viewport=LAPTOP) as tab:
        yield Pad(tab)


class Pad:
    """One of the pads in ``page``."""

    def __init__(self, page, nth=0):
        self.page, self.whole = page, page.locator(".pad").nth(nth)
        self.paper = self.whole.get_by_role("img", name="Drawing pad")
        self.status = self.whole.get_by_role("status")
        expect(self.status).to_have_text("They agree: plain reads 4, augmented reads 4.")

    def press(self, name):
        self.whole.get_by_role("button", name=name, exact=True).click()

    def set(self, name, value):
        control = self.whole.get_by_label(name)
        control.check() if value is True else control.fill(str(value))

    def draw(self, strokes, finger=False):
        """Draw ``strokes``, places in 280x280, with the mouse or a ``finger``."""
        self.paper.scroll_into_view_if_needed()
        box = self.paper.bounding_box()
        session = self.page.context.new_cdp_session(self.page)
        for points in strokes:
            points = (points * box["width"] / 280 + [box["x"], box["y"]]).tolist()
            self.page.mouse.move(*points[0])
            for n, (x, y) in enumerate(points):
                kind = "touchMove" if n else "touchStart"
                if finger:
                    touch = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
                    session.send("Input.dispatchTouchEvent", touch)

            ...
