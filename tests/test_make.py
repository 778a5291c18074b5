"""The README's commands exist, install what they need, and do the same whatever else is set."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile

import nbformat
import pytest
from conftest import NOTEBOOK, ROOT, code_cells, outputs, read_notebook, tags


def make(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


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
    assert {"run", "test"} <= named <= targets


def test_readme_names_only_files_that_exist():
    readme = (ROOT / "README.md").read_text()
    paths = re.findall(r"\]\(([^)#:]+)\)", readme) + re.findall(r"^\| `([\w./]+)`", readme, re.M)
    for path in paths:
        assert (ROOT / path).exists(), path


# What gets installed


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile alone, where nothing has been set up."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ["Makefile", "requirements.lock", "requirements-dev.lock"]:
        shutil.copy(ROOT / name, folder)
    return folder


def stamps(folder):
    """Return the files that say what ``folder`` has installed: for the notebook, for its tests."""
    variables = make("-pn", cwd=folder).stdout
    return [
        folder / re.search(f"^{name} := (.*)$", variables, re.M)[1]
        for name in ["READY", "DEV_READY"]
    ]


def fake_python(folder, before):
    """A Python that executes ``before`` first, to look like another one."""
    script = folder / "fake_python"
    script.write_text(
        f'#!/bin/sh\nexec python3 -c "import sys; {before}; exec(sys.argv[1])" "$2"\n'
    )
    script.chmod(0o755)
    return "PYTHON=./fake_python"


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
    assert (
        "has no venv module: install it (Debian, Ubuntu: apt install python3-venv)"
        in process.stdout
    )
    assert "Traceback" not in process.stderr


def test_no_python(checkout):
    process = make("run", "PYTHON=python3.99", cwd=checkout)
    assert process.returncode != 0
    assert "python3.99 not found: install Python 3.11" in process.stdout


def test_a_failed_install_is_not_taken_for_a_finished_one(checkout):
    (checkout / "requirements.lock").write_text("this is no requirement\n")
    process = make("run", cwd=checkout)
    assert process.returncode != 0 and "pip install" in process.stdout
    assert "pip install" in make("-n", "run", cwd=checkout).stdout


@pytest.mark.parametrize(
    ("target", "both"),
    [("run", False), ("lab", False), ("html", False), ("test", True), ("notebook", True)],
)
def test_only_tests_and_development_install_the_development_packages(checkout, target, both):
    commands = make("-n", target, cwd=checkout).stdout
    assert "-r requirements.lock" in commands
    assert ("-r requirements-dev.lock" in commands) == both


def write_lock(path, name, folder):
    """Make an empty package ``name`` in ``folder``, and a lock at ``path`` that asks for it."""
    wheel, info = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr("matplotlib/font_manager.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    path.write_text(f"{name}==1.0 --hash=sha256:{digest}\n")


def test_pip_installs_into_the_project_whatever_its_user_has_set(checkout, tmp_path):
    """The packages go to .venv, in spite of pip's settings; development's come on top."""
    write_lock(checkout / "requirements.lock", "first", tmp_path)
    write_lock(checkout / "requirements-dev.lock", "second", tmp_path)
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "constraints.txt").write_text("first==2.0\n")
    (tmp_path / "pip.conf").write_text("[install]\nuser = true\n")
    settings = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_USER": "1",
        "PIP_TARGET": str(elsewhere),
        "PIP_PREFIX": str(elsewhere),
        "PIP_CONSTRAINT": str(tmp_path / "constraints.txt"),
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PYTHONUSERBASE": str(elsewhere),
        "PYTHONPATH": str(elsewhere),
        "VIRTUAL_ENV": str(elsewhere),
    }
    ready, dev_ready = stamps(checkout)
    process = make(str(ready.relative_to(checkout)), cwd=checkout, **settings)
    assert process.returncode == 0, process.stdout + process.stderr
    [packages] = checkout.glob(".venv/lib/python*/site-packages")
    assert (packages / "first.py").exists() and not (packages / "second.py").exists()

    (checkout / ".venv" / "mine").touch()
    process = make(str(dev_ready.relative_to(checkout)), cwd=checkout, **settings)
    assert process.returncode == 0, process.stdout + process.stderr
    assert (packages / "second.py").exists() and (checkout / ".venv" / "mine").exists()
    assert not elsewhere.exists()


# What a run makes of its surroundings

PROBE = """\
import json, pathlib, shutil, sys
import keras, matplotlib
try:
    assert False
except AssertionError:
    print("asserts are on")
print(EPOCHS, keras.config.backend(), keras.config.floatx())
print(matplotlib.rcParams["lines.linewidth"], matplotlib.get_backend().rpartition("_")[2])
print(shutil.get_terminal_size().columns, open("ä", "w").encoding.lower())
print(sys.flags.hash_randomization, "intruder" in globals())
pathlib.Path("../models").mkdir()
_ = pathlib.Path("../models/mnist_cnn.json").write_text(json.dumps({"test_accuracy": 0.5}))
"""


@pytest.fixture
def project(checkout):
    """A copy of the project with this Python, and a notebook that only says what it finds."""
    for name in ["templates", "tools"]:
        shutil.copytree(ROOT / name, checkout / name)
    parameters = nbformat.v4.new_code_cell(
        "EPOCHS = 15\nRATE = 0.1", metadata={"tags": ["parameters"]}
    )
    cells = [nbformat.v4.new_markdown_cell("# Title"), parameters, nbformat.v4.new_code_cell(PROBE)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=read_notebook().metadata)
    (checkout / "notebooks").mkdir()
    nbformat.write(notebook, checkout / "notebooks" / "mnist_cnn.ipynb")
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for stamp in stamps(checkout):
        stamp.touch()
    return checkout


def test_a_run_is_the_same_whatever_its_user_has_set(project, tmp_path):
    """Variables for other work, and files in the home folder, change nothing."""
    home, other = tmp_path / "home", tmp_path / "other"
    profile, intruder = home / ".ipython" / "profile_default", "intruder = True"
    for path, content in {
        profile / "startup" / "00.py": intruder,
        profile / "ipython_config.py": f"c.InteractiveShellApp.exec_lines = ['{intruder}']",
        home / ".jupyter" / "jupyter_config.py": "c.TemplateExporter.exclude_input = True",
        home / ".keras" / "keras.json": '{"floatx": "float16", "backend": "torch"}',
        home / ".config" / "matplotlib" / "matplotlibrc": "lines.linewidth: 9",
        other / "matplotlibrc": "lines.linewidth: 8",
        other / "numpy.py": "raise ImportError('of another environment')",
        other / "kernels" / "python3" / "kernel.json": '{"argv": ["false"], "language": ""}',
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    process = make(
        "run",
        "ARGS=-p EPOCHS 3",
        cwd=project,
        HOME=str(home),
        PYTHONPATH=str(other),
        PYTHONHOME=str(other),
        PYTHONSTARTUP=str(other / "numpy.py"),
        PYTHONHASHSEED="1",
        PYTHONOPTIMIZE="1",
        PYTHONUTF8="0",
        PYTHONIOENCODING="latin-1",
        VIRTUAL_ENV=str(other),
        IPYTHONDIR=str(home / ".ipython"),
        JUPYTER_PATH=str(other),
        JUPYTER_CONFIG_DIR=str(home / ".jupyter"),
        MPLCONFIGDIR=str(other),
        MPLBACKEND="TkAgg",
        KERAS_HOME=str(home / ".keras"),
        KERAS_BACKEND="jax",
        TF_USE_LEGACY_KERAS="1",
        COLUMNS="40",
        NO_COLOR="1",
        LC_ALL="de_DE.ISO-8859-1",
        TZ="Asia/Tokyo",
    )
    assert process.returncode == 0, process.stdout + process.stderr
    found = outputs(read_notebook(project / "build" / "mnist_cnn.ipynb"))
    printed = [output.text for output in found if output.get("name") == "stdout"]
    assert (
        "".join(printed) == "asserts are on\n3 tensorflow float32\n1.5 inline\n80 utf-8\n1 False\n"
    )
    assert "rcParams" in (project / "build" / "mnist_cnn.html").read_text("utf-8")


def test_a_misspelt_parameter_is_refused_before_anything_runs(project):
    process = make("run", "ARGS=-p EPOCHS 1 -p epochs 2", cwd=project)
    assert process.returncode != 0
    assert "The notebook has no parameter epochs. It has EPOCHS, RATE." in process.stderr
    assert "Traceback" not in process.stderr and not (project / "models").exists()


def test_the_notebook_s_own_parameters_are_accepted(tmp_path):
    """All names that its cell of parameters assigns, and no others."""
    [cell] = [cell for cell in code_cells(read_notebook()) if "parameters" in tags(cell)]
    names = [
        line.targets[0].id for line in ast.parse(cell.source).body if isinstance(line, ast.Assign)
    ]
    process = subprocess.run(
        [
            sys.executable,
            ROOT / "tools" / "run_notebook.py",
            NOTEBOOK,
            tmp_path / "x.ipynb",
            "-p",
            "?",
            "1",
        ],
        capture_output=True,
        text=True,
    )
    assert process.stderr.strip().endswith(f"It has {', '.join(names)}.")
