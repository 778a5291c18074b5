"""The page that `make run` leaves: one file, every picture described."""
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

from conftest import NOTEBOOK, ROOT, outputs


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    subprocess.run([sys.executable, "-m", "nbconvert", "--to", "html", "--template", "page",
                    f"--TemplateExporter.extra_template_basedirs={ROOT / 'templates'}",
                    "--output-dir", folder, NOTEBOOK], check=True, capture_output=True)
    return BeautifulSoup((folder / "mnist_cnn.html").read_text(encoding="utf-8"), "html.parser")


def test_every_picture_is_described(page, saved):
    pictures = page.find_all("img")
    figures = [output.metadata["image/png"]["alt"] for output in outputs(saved)
               if "image/png" in output.get("data", {})]
    assert [picture["alt"] for picture in pictures][1:] == figures
    assert "check mark" in pictures[0]["alt"]


def test_every_picture_is_in_the_page(page):
    for picture in page.find_all("img"):
        assert picture["src"].startswith("data:image/png;base64,")
