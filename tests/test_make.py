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
from conftest import ROOT, code_cells, outputs, read_notebook, tags
from run_notebook import set_parameters


def make(*arguments, cwd=ROOT, **environment):
    # Within `make test`, make would say which folder it enters.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env={**clean, **environment},
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


def test_a_clone_has_the_same_bytes_whatever_git_does_to_line_endings(tmp_path):
    if not (ROOT / ".git").exists():
        reason = "needs a clone of the repository: run it in one"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    for name in ["true", "false"]:
        clone = ["git", "clone", "-q", "-c", f"core.autocrlf={name}", ROOT, tmp_path / name]
        subprocess.run(clone, check=True)
    different = ["diff", "-rq", "-x", ".git", tmp_path / "true", tmp_path / "false"]
    assert subprocess.run(different, capture_output=True, text=True).stdout == ""


# What continuous integration runs


@pytest.mark.parametrize(("failing", "calls"), [("bench-env", 1), ("test", 2), ("-m", 3), ("", 3)])
def test_ci_runs_everything_and_fails_where_one_thing_fails(tmp_path, failing, calls):
    """With commands that only note how they were called, and of which one fails."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for path in ["make", "apt-get", "sudo", ".venv/bin/python"]:
        (tmp_path / path).write_text(f'#!/bin/sh\necho "$@" >> calls\ntest "$1" != "{failing}"\n')
        (tmp_path / path).chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    code = subprocess.run(["bash", tmp_path / ".ci" / "run"], env={"PATH": path}).returncode
    assert (code != 0) == bool(failing)
    called = [call for call in (tmp_path / "calls").read_text().splitlines() if "-qq" not in call]
    every = ["bench-env", "test", "-m pytest tests/elsewhere/check_elsewhere.py"]
    assert called == every[:calls]


def test_the_workflow_runs_it_and_forgives_nothing():
    [workflow] = (ROOT / ".github" / "workflows").iterdir()
    text = workflow.read_text()
    assert re.findall(r"- run: (.*)", text)[-1] == "bash .ci/run"
    assert not re.search(r"continue-on-error|\|\||\bif:", text)


def test_make_test_compares_the_notebook_and_runs_all_tests(checkout):
    told = make("--dry-run", "test", cwd=checkout).stdout
    [command], [arguments] = re.findall(r".*-m pytest.*", told), re.findall(r"--nbval(.*)", told)
    assert arguments.split()[:2] == ["build/test/notebooks/mnist_cnn.ipynb", "tests"]
    assert not re.search(r"\|\||-k |--deselect|--ignore", command + arguments)


def test_clean_removes_what_was_built_and_nothing_else(checkout):
    for name in ["build", ".venv", "models", "data", "notebooks"]:
        (checkout / name).mkdir()
        (checkout / name / "file").touch()
    before = {path.name for path in checkout.iterdir()}
    assert make("clean", cwd=checkout).returncode == 0
    assert {path.name for path in checkout.iterdir()} == before - {"build", ".venv"}


# What gets installed


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and the tools, where nothing has been set up."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ["Makefile", "requirements.lock", "requirements-dev.lock"]:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "tools", folder / "tools")
    return folder


def stamps(folder):
    """Return the files that say what ``folder`` has installed: for the notebook, for its tests."""
    variables = make("-pn", cwd=folder).stdout
    return [
        folder / re.search(f"^{name} := (.*)$", variables, re.M)[1]
        for name in ["READY", "DEV_READY"]
    ]


def fake_python(folder, before):
    """A Python that executes ``before`` ahead of a script, to look like another machine's."""
    script = folder / "fake_python"
    imports = "import builtins, io, platform, shutil, sys; from types import SimpleNamespace"
    script.write_text(
        "#!/bin/sh\nexec python3 -c "
        f'"{imports}; code = open(sys.argv[1]).read(); {before}; exec(code)" "$@"\n'
    )
    script.chmod(0o755)
    return "PYTHON=./fake_python"


LINUX = "platform.system, platform.machine = lambda: 'Linux', lambda: 'x86_64'"
MAC = "platform.system, platform.machine = lambda: 'Darwin', lambda: '{}'"


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("sys.version_info = (3, 10, 14)", "Python 3.10 found, 3.11 to 3.13 needed"),
        ("sys.version_info = (3, 14, 0)", "Python 3.14 found, 3.11 to 3.13 needed"),
        ("sys.modules['ensurepip'] = None", "apt install python3-venv"),
        (f"{LINUX}; platform.libc_ver = lambda: ('', '')", "needs glibc, which Alpine lacks"),
        (
            f"{LINUX}; platform.libc_ver = lambda: ('glibc', ''); "
            "builtins.open = lambda path: io.StringIO('flags : sse4_2 f16c')",
            "needs a processor with AVX",
        ),
        (MAC.format("x86_64"), "need macOS 14 or later on Apple silicon"),
        (f"{MAC.format('arm64')}; platform.mac_ver = lambda: ('13.7', '', '')", "need macOS 14"),
        ("shutil.disk_usage = lambda path: SimpleNamespace(free=2.9e9)", "2.9 GB of disk free in"),
    ],
)
def test_make_says_what_is_in_the_way_before_it_installs_anything(checkout, before, reason):
    process = make("run", fake_python(checkout, before), cwd=checkout)
    assert process.returncode != 0 and not (checkout / ".venv").exists()
    lines = process.stderr.splitlines()
    [said] = [line for line in lines if not line.startswith(("make:", "cat:"))]
    assert reason in said


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
        file.writestr(f"{name}.pth", "import tempfile; print('temporary:', tempfile.gettempdir())")
        file.writestr("matplotlib/font_manager.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    path.write_text(f"{name}==1.0 --hash=sha256:{digest}\n")


def test_pip_installs_into_the_project_whatever_its_user_has_set(checkout, tmp_path):
    """The packages go to .venv, in spite of pip's settings; development's come on top. What the
    first one prints when the second is installed: pip's temporary files are below build/.
    """
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
    assert f"temporary: {checkout}/build/pip\n" in process.stdout
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
OTHERS = """\
import os, sys, warnings
import pandas
from IPython.display import Image, display
warnings.warn("about the machine")
print("of a library", file=sys.stderr)
os.system("echo of another process >&2")
print(1 / EPOCHS if EPOCHS >= 0 else os.kill(os.getpid(), 9))
display(Image(b"", format="png", metadata={"alt": "an empty picture"}))
pandas.DataFrame({"right": [0.5]})
"""


@pytest.fixture
def project(checkout):
    """A copy of the project with this Python, and a notebook that only says what it finds."""
    for name in ["templates", "benchmarks"]:
        shutil.copytree(ROOT / name, checkout / name)
    parameters = nbformat.v4.new_code_cell(
        "EPOCHS = 15\nRATE = 0.1", metadata={"tags": ["parameters"]}
    )
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        parameters,
        nbformat.v4.new_code_cell(PROBE),
        nbformat.v4.new_markdown_cell("Then:\n\n## Others"),
        nbformat.v4.new_code_cell(OTHERS),
    ]
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
    assert printed[0] == "asserts are on\n3 tensorflow float32\n1.5 inline\n80 utf-8\n1 False\n"
    assert "rcParams" in (project / "build" / "mnist_cnn.html").read_text("utf-8")


RUN = """\
[1/4] Title
[2/4] Title
[3/4] Title
asserts are on
4 tensorflow float32
1.5 inline
80 utf-8
1 False
[4/4] Others
0.25
   right
0    0.5

time           0.X minutes
test accuracy  50.00%
page           build/mnist_cnn.html
saved          models/mnist_cnn.json
"""


def test_a_run_prints_its_progress_and_the_results_alone(project):
    process = make("run", "ARGS=-p EPOCHS 4", cwd=project)
    assert re.sub(r"0\.\d minutes", "0.X minutes", process.stdout) == RUN, process.stderr
    assert process.stderr == ""
    executed = read_notebook(project / "build" / "mnist_cnn.ipynb")
    assert "stderr" not in str(outputs(executed))
    log = (project / "build" / "mnist_cnn.log").read_text()
    assert all(f"of {what}" in log for what in ["a library", "another process"])
    assert "about the machine" in log and "not a writable location" not in log


def test_a_run_that_saves_nothing_reports_no_older_accuracy(project):
    (project / "models").mkdir()
    (project / "models" / "mnist_cnn.json").write_text('{"test_accuracy": 0.9}')
    path = project / "notebooks" / "mnist_cnn.ipynb"
    path.write_text(path.read_text().replace("../models", "../elsewhere"))
    process = make("run", cwd=project)
    assert process.returncode == 0 and "test accuracy" not in process.stdout, process.stderr
    assert process.stdout.endswith("saved         \n")


@pytest.mark.parametrize(("epochs", "reason"), [(0, "ZeroDivisionError"), (-1, "Python died")])
def test_a_run_that_fails_says_where_and_why(project, epochs, reason):
    process = make("run", f"ARGS=-p EPOCHS {epochs}", cwd=project)
    assert process.returncode != 0 and reason in process.stderr
    assert process.stdout.endswith("[4/4] Others\n")
    assert (project / "build" / "mnist_cnn.ipynb").exists()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("epochs 2", "The notebook has no parameter epochs. It has EPOCHS, RATE."),
        ("EPOCHS many", "EPOCHS cannot be many: give a number, as in -p EPOCHS 4."),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(project, wrong, reason):
    process = make("run", f"ARGS=-p EPOCHS 1 -p {wrong}", cwd=project)
    assert process.returncode != 0 and process.stdout == ""
    assert reason in process.stderr and "Traceback" not in process.stderr


def test_the_notebook_s_own_parameters_are_accepted():
    """All names that its cell of parameters assigns, and no others."""
    [cell] = [cell for cell in code_cells(read_notebook()) if "parameters" in tags(cell)]
    names = [
        line.targets[0].id for line in ast.parse(cell.source).body if isinstance(line, ast.Assign)
    ]
    with pytest.raises(SystemExit, match=f"It has {', '.join(names)}\\.$"):
        set_parameters(read_notebook(), [("?", "1")])
