"""The README's commands exist, say what is wrong in a line, and run alike whatever else is set.
What they install has no known hole. (That it is hashed and needed, pip and deptry check.)
"""

import os
import re
import subprocess
import sys

import check_machine
import pytest
from conftest import ROOT
from nbformat import v4, write
from packaging.version import Version

# Keras itself takes ten seconds to import. It reads these two variables, and keras.json there.
PROBE = """import matplotlib, os
assert EPOCHS == 4 and os.environ["KERAS_BACKEND"] == "tensorflow"
assert os.environ["KERAS_HOME"] == os.path.abspath("../build/settings/keras")
assert not os.path.exists(os.environ["KERAS_HOME"] + "/keras.json")
assert matplotlib.rcParams["lines.linewidth"] == 1.5 and "inline" in matplotlib.get_backend()
assert "intruder" not in globals()"""

# The lowest version without a known advisory that matters here, and the advisory. `pip-audit` needs
# the network, which tests do not have; this list stands in for it: extend it when one appears.
FLOORS = """keras 3.15 load_model: CVE-2025-1550, -8747, -9905, -49655 and later;
tensorflow 2.12.1 CVE-2023-33976; pillow 12.2 CVE-2026-25990, GHSA-wjx4-4jcj-g98j;
jupyterlab 4.4.8 CVE-2025-59842; jupyter-core 5.8.1 CVE-2025-30167; tornado 6.5 CVE-2025-47287;
jinja2 3.1.6 CVE-2025-27516; h11 0.16 CVE-2025-43859; urllib3 2.5 CVE-2025-50181;
requests 2.32.4 CVE-2024-47081; protobuf 6.31.1 CVE-2025-4565; setuptools 78.1.1 CVE-2025-47273;
onnx 1.17 CVE-2024-7776"""


def make(arguments, folder=ROOT, **environment):
    # Nothing comes from the `make test` that runs this.
    environment = os.environ | {"MAKEFLAGS": "", "MAKELEVEL": "0"} | environment
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    return subprocess.run(["make", *arguments.split()], **options)


def make_run(folder, source, **environment):
    """Run, in ``folder`` and with this Python, a lesson that consists of the code ``source``."""
    parts = "Makefile benchmarks requirements.lock requirements-dev.lock templates tools"
    for name in parts.split():
        (folder / name).symlink_to(ROOT / name)
    (folder / "installed").symlink_to(sys.prefix)
    (folder / "models").mkdir()
    (folder / "notebooks").mkdir()
    parameters = v4.new_code_cell("EPOCHS = 15", metadata={"tags": ["parameters"]})
    notebook = v4.new_notebook(cells=[parameters, v4.new_code_cell(source)])
    write(notebook, folder / "notebooks" / "mnist_cnn.ipynb")
    return make("run READY=tools PY=installed/bin/python", folder, **environment)


def test_readme_names_what_exists_and_make_alone_lists_every_target():
    readme, makefile = ((ROOT / name).read_text() for name in ["README.md", "Makefile"])
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    assert targets == set(re.findall(r"^make ([a-z-]+) +\w", make("").stdout, re.M))
    assert {"run", "test"} <= set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.M)) <= targets
    paths = re.findall(r"\]\(([^)#:]+)\)", readme) + re.findall(r"^\| `([\w./]+)`", readme, re.M)
    assert paths and all((ROOT / path).exists() for path in paths)


def test_a_wrong_python_is_refused(monkeypatch):
    process = make("run READY=build/none PYTHON=python3.99")
    assert process.returncode and "python3.99 not found: install Python 3.11" in process.stdout
    monkeypatch.setattr(check_machine.sys, "version_info", (3, 10))
    assert "Python 3.10 found, 3.11 to 3.13 needed" in check_machine.obstacle()


@pytest.mark.parametrize(
    ("arguments", "source", "told"),
    [
        ("-p EPOCHS many", "", r"EPOCHS cannot be many: give a number, as in -p EPOCHS 4\."),
        ("-p epochs 2", "", r"The notebook has no parameter epochs\. It has EPOCHS\."),
        ("", "1 / 0", r"(?s:.*)ZeroDivisionError.*: division by zero\n"),
        ("", "import os; os.kill(os.getpid(), 9)", "Python died in this cell, .*"),
    ],
)
def test_a_run_that_fails_says_why(tmp_path, arguments, source, told):
    process = make_run(tmp_path, source, ARGS=arguments)
    assert process.returncode and re.fullmatch(f"{told}\nmake: .*\n", process.stderr)


def test_a_run_is_the_same_whatever_its_user_has_set(tmp_path):
    """Three variables, and three files in the home folder, of those that the Makefile names."""
    for name, text in {
        "numpy.py": "raise ImportError('of another environment')",
        ".ipython/profile_default/startup/00.py": "intruder = True",
        ".keras/keras.json": '{"floatx": "float16", "backend": "torch"}',
        ".config/matplotlib/matplotlibrc": "lines.linewidth: 9",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    settings = {"HOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "KERAS_BACKEND": "jax"}
    process = make_run(tmp_path, PROBE, **settings, MPLBACKEND="TkAgg", ARGS="-p EPOCHS 4")
    assert process.returncode == 0 and process.stderr == "", process.stderr


def test_no_pinned_version_has_a_known_hole():
    locks = "".join((ROOT / f"requirements{part}.lock").read_text() for part in ["", "-dev"])
    for entry in FLOORS.split(";"):
        name, floor, advisory = entry.split(maxsplit=2)
        pinned = re.findall(rf"^{name}==(\S+)", locks, re.M)
        assert pinned, f"{name} is not installed any more: take it off the list"
        assert min(map(Version, pinned)) >= Version(floor), f"{name} is open to {advisory}"
