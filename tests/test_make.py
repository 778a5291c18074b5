"""The README's commands exist, and a machine that cannot run them is told why in one line."""
import re
import subprocess

import pytest

from conftest import ROOT


def make(*arguments, cwd=ROOT):
    return subprocess.run(["make", *arguments], cwd=cwd, capture_output=True, text=True)


def test_make_alone_lists_every_target():
    listed = make().stdout
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert targets
    for target in targets:
        assert re.search(f"^make {target} +[a-z]", listed, re.M), f"{target} is not explained"


def test_readme_names_only_targets_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.M))
    assert {"run", "test", "lab", "bench", "bench-quick", "html"} <= named <= targets


def test_readme_names_only_files_that_exist():
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\(([^)#:]+)\)", readme) + re.findall(r"^\| `([\w./]+)`", readme, re.M):
        assert (ROOT / path).exists(), path


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile alone, where nothing has been set up."""
    for name in ["Makefile", "requirements.lock"]:
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def fake_python(folder, before):
    """A Python that executes ``before`` first, to look like another one."""
    script = folder / "fake_python"
    script.write_text(f'#!/bin/sh\nexec python3 -c "import sys; {before}; exec(sys.argv[1])" "$2"\n')
    script.chmod(0o755)
    return f"PYTHON={script}"


@pytest.mark.parametrize("version", ["(3, 10, 14)", "(3, 14, 0)", "(2, 7, 18)"])
def test_wrong_python(checkout, version):
    process = make("run", fake_python(checkout, f"sys.version_info = {version}"), cwd=checkout)
    found = ".".join(version.strip("()").split(", ")[:2])
    assert process.returncode != 0
    assert f"Python {found} found, 3.11 to 3.13 needed" in process.stderr
    assert not (checkout / ".venv").exists()


def test_python_without_venv(checkout):
    process = make("run", fake_python(checkout, "sys.modules['ensurepip'] = None"), cwd=checkout)
    assert process.returncode != 0
    assert "has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" in process.stdout
    assert "Traceback" not in process.stderr


def test_no_python(checkout):
    process = make("run", "PYTHON=python3.99", cwd=checkout)
    assert process.returncode != 0
    assert "python3.99 not found: install Python 3.11" in process.stdout


def test_a_failed_install_is_not_taken_for_a_finished_one(checkout):
    (checkout / "requirements.lock").write_text("this is no requirement\n")
    for _ in range(2):
        process = make("run", cwd=checkout)
        assert process.returncode != 0 and "pip install" in process.stdout
