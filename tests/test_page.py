"""The page that `make run` leaves: one file, every picture described."""
import copy
import subprocess
import sys

import nbformat
import pytest
from bs4 import BeautifulSoup

from conftest import NOTEBOOK, ROOT, outputs, tags


def make_page(notebook, folder):
    """Return the page that `make run` would make of the file ``notebook``, in ``folder``."""
    subprocess.run([sys.executable, "-m", "nbconvert", "--to", "html", "--template", "page",
                    f"--TemplateExporter.extra_template_basedirs={ROOT / 'templates'}",
                    "--output-dir", folder, notebook], check=True, capture_output=True)
    return BeautifulSoup((folder / "mnist_cnn.html").read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return make_page(NOTEBOOK, tmp_path_factory.mktemp("page"))


def test_every_picture_is_described(page, saved):
    pictures = page.find_all("img")
    figures = [output.metadata["image/png"]["alt"] for output in outputs(saved)
               if "image/png" in output.get("data", {})]
    assert [picture["alt"] for picture in pictures][1:] == figures
    assert "check mark" in pictures[0]["alt"]


def test_every_picture_is_in_the_page(page):
    for picture in page.find_all("img"):
        assert picture["src"].startswith("data:image/png;base64,")


def test_a_picture_stands_in_for_the_drawing_pad(page, saved, tmp_path):
    """A run leaves the widget and its state in the notebook; both would need a kernel, or code from the network."""
    executed = copy.deepcopy(saved)
    [cell] = [cell for cell in executed.cells if "pad" in tags(cell)]
    cell.outputs[0].data["application/vnd.jupyter.widget-view+json"] = {"model_id": "1", "version_major": 2, "version_minor": 0}
    state = {"1": {"model_name": "HBoxModel", "model_module": "@jupyter-widgets/controls", "model_module_version": "2.0.0", "state": {}}}
    executed.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {
        "state": state, "version_major": 2, "version_minor": 0}}
    nbformat.write(executed, tmp_path / "mnist_cnn.ipynb")
    made = make_page(tmp_path / "mnist_cnn.ipynb", tmp_path)
    assert [picture["alt"] for picture in made.find_all("img")] == [picture["alt"] for picture in page.find_all("img")]
    assert not made.find("script", type="application/vnd.jupyter.widget-view+json")
    assert "html-manager" not in str(made)
