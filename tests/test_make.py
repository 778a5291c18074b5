"""The README's commands exist, install what they need, and do the same whatever else is set."""

import io
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import check_machine
import nbformat
import pytest
from conftest import ROOT, outputs, read_notebook, run_cells
from run_notebook import set_parameters


def make(*arguments, cwd=ROOT, **environment):
    # Within `make test`, make would say which folder it enters.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    options = {"env": {**clean, **environment}, "capture_output": True, "text": True}
    return subprocess.run(["make", *arguments], cwd=cwd, **options)


@pytest.fixture
def checkout(tmp_path):
    """A folder with what `make` reads, where nothing has been set up."""
    folder = tmp_path / "a checkout"
    for name in ["tools", "templates", "benchmarks"]:
        shutil.copytree(ROOT / name, folder / name)
    for name in ["Makefile", "requirements.lock", "requirements-dev.lock"]:
        shutil.copy(ROOT / name, folder)
    return folder


def test_readme_names_what_exists_and_make_alone_lists_every_target():
    readme, makefile = ((ROOT / name).read_text() for name in ["README.md", "Makefile"])
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    listed = set(re.findall(r"^make ([a-z-]+) +[a-z]", make().stdout, re.M))
    assert targets == listed, "`make` alone does not explain every target"
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.M))
    assert {"run", "test"} <= named <= targets, "the README names targets that do not exist"
    paths = re.findall(r"\]\(([^)#:]+)\)", readme) + re.findall(r"^\| `([\w./]+)`", readme, re.M)
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert paths and not missing, f"the README names {missing}"


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
    assert (code != 0) == bool(failing), f"it ends with {code} where '{failing}' fails"
    called = [call for call in (tmp_path / "calls").read_text().splitlines() if "-qq" not in call]
    every = ["bench-env", "test", "-m pytest tests/elsewhere/check_elsewhere.py"]
    assert called == every[:calls]


def test_the_workflow_runs_it_and_forgives_nothing():
    [workflow] = (ROOT / ".github" / "workflows").iterdir()
    text = workflow.read_text()
    assert re.findall(r"- run: (.*)", text)[-1] == "bash .ci/run"
    assert not re.search(r"continue-on-error|\|\||\bif:", text), "the workflow forgives a failure"


def test_make_test_compares_the_notebook_and_runs_all_tests(checkout):
    [command] = re.findall(r".*-m pytest.*(?:\\\n.*)+", make("-n", "test", cwd=checkout).stdout)
    arguments = command.partition("--nbval")[2].split()
    assert arguments == ["build/test/notebooks/mnist_cnn.ipynb", "tests"]
    assert not re.search(r"\|\||-k |--deselect|--ignore", command), "`make test` leaves tests out"


def test_clean_removes_what_was_built_and_nothing_else(checkout):
    for name in ["build", ".venv", "models", "data", "notebooks"]:
        (checkout / name).mkdir()
        (checkout / name / "file").touch()
    before = {path.name for path in checkout.iterdir()}
    assert make("clean", cwd=checkout).returncode == 0
    assert {path.name for path in checkout.iterdir()} == before - {"build", ".venv"}


# What gets installed


@pytest.mark.parametrize(
    ("different", "reason"),
    [
        ({}, None),
        ({"version": (3, 10, 14)}, "Python 3.10 found, 3.11 to 3.13 needed"),
        ({"version": (3, 14, 0)}, "Python 3.14 found, 3.11 to 3.13 needed"),
        ({"venv": False}, "apt install python3-venv"),
        ({"libc": ""}, "needs glibc, which Alpine lacks"),
        ({"flags": "sse4_2 f16c"}, "needs a processor with AVX"),
        ({"system": "Darwin"}, "need macOS 14 or later on Apple silicon"),
        ({"system": "Darwin", "processor": "arm64", "macos": "13.7"}, "need macOS 14 or later"),
        ({"system": "Darwin", "processor": "arm64", "macos": "14.0"}, None),
        ({"free": 2.9e9}, "2.9 GB of disk free in"),
    ],
)
def test_what_is_in_the_way_is_told(monkeypatch, different, reason):
    good = {"version": (3, 13, 0), "venv": True, "system": "Linux", "processor": "x86_64"}
    good |= {"libc": "glibc", "flags": "sse avx f16c", "macos": "", "free": 9e9}
    found = SimpleNamespace(**(good | different))
    fakes = {
        "sys": SimpleNamespace(version_info=found.version, executable="python3"),
        "shutil": SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=found.free)),
        "platform": SimpleNamespace(
            system=lambda: found.system,
            machine=lambda: found.processor,
            libc_ver=lambda: (found.libc, ""),
            mac_ver=lambda: (found.macos, "", ""),
        ),
        "open": lambda path: io.StringIO(f"flags : {found.flags}\n"),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(check_machine, name, fake, raising=False)
    if not found.venv:
        monkeypatch.setitem(sys.modules, "ensurepip", None)
    told = check_machine.obstacle()
    assert reason in told if reason else told is None, told


def test_make_refuses_a_wrong_python_before_it_installs_anything(checkout):
    process = make("run", "PYTHON=python3.99", cwd=checkout)
    assert process.returncode != 0
    assert "python3.99 not found: install Python 3.11" in process.stdout
    old = checkout / "old"
    old.write_text(
        "#!/bin/sh\n"
        "exec python3 -c 'import sys; sys.version_info = 3, 10; exec(open(sys.argv[1]).read())' $1"
    )
    old.chmod(0o755)
    process = make("run", "PYTHON=./old", cwd=checkout)
    assert process.returncode != 0 and not (checkout / ".venv").exists()
    [told] = [line for line in process.stderr.splitlines() if not line.startswith("make:")]
    assert "Python 3.10 found, 3.11 to 3.13 needed" in told


@pytest.mark.parametrize(
    ("target", "both"),
    [("run", False), ("lab", False), ("html", False), ("test", True), ("notebook", True)],
)
def test_only_tests_and_development_install_the_development_packages(checkout, target, both):
    commands = make("-n", target, cwd=checkout).stdout
    installs = re.findall(r"pip install .*", commands)
    assert installs and all("--require-hashes" in install for install in installs)
    assert "-r requirements.lock" in commands
    assert ("-r requirements-dev.lock" in commands) == both


def installed_stamps(folder):
    """Return the files that say what ``folder`` has installed: for the notebook, for its tests."""
    variables = make("-pn", cwd=folder).stdout
    names = [re.search(f"^{name}READY := (.*)$", variables, re.M)[1] for name in ["", "DEV_"]]
    return [folder / name for name in names]


def test_pip_installs_into_the_project_whatever_its_user_has_set(checkout):
    """With a Python that only notes what pip is told. An install that fails, here for want of a
    file, is not taken for a finished one.
    """
    (checkout / "python").write_text(
        "#!/bin/sh\nmkdir -p .venv/bin\ncp $0 .venv/bin/python 2>/dev/null\n"
        'for lock; do :; done\ncase "$*" in *pip*) env > settings; test -e "found-$lock";; esac\n'
    )
    (checkout / "python").chmod(0o755)
    stamps = installed_stamps(checkout)
    command = [str(stamps[1].relative_to(checkout)), "PYTHON=./python"]
    places = ["PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PYTHONPATH"]
    # First, no package is to be found; then the notebook's, but not the ones for tests; then both.
    for found, lock in enumerate([None, "requirements.lock", "requirements-dev.lock"]):
        if lock:
            (checkout / f"found-{lock}").touch()
        others = dict.fromkeys(places, "elsewhere")
        process = make(*command, cwd=checkout, PIP_USER="1", **others)
        assert (process.returncode == 0) == (found == 2), process.stderr
        taken = [stamp.exists() for stamp in stamps]
        assert taken == [found > 0, found > 1], "a failed install is taken for a finished one"
    settings = (checkout / "settings").read_text()
    assert "elsewhere" not in settings and "\nPIP_USER=0\n" in settings
    assert f"TMPDIR={checkout}/build/pip\n" in settings


# What a run makes of its surroundings

PROBE = """\
import shutil, sys
import keras, matplotlib
try:
    assert False
except AssertionError:
    print("asserts are on")
print(EPOCHS, keras.config.backend(), keras.config.floatx())
print(matplotlib.rcParams["lines.linewidth"], matplotlib.get_backend().rpartition("_")[2])
print(shutil.get_terminal_size().columns, open("ä", "w").encoding.lower())
print(sys.flags.hash_randomization, "intruder" in globals())
"""
OTHERS = """\
import os, sys, warnings
from pathlib import Path
import pandas
from IPython.display import Image, display
warnings.warn("about the machine")
print("of a library", file=sys.stderr)
os.system("echo of another process >&2")
display(Image(b"", format="png", metadata={"alt": "an empty picture"}))
display(pandas.DataFrame({"right": [0.5]}))
Path("../models").mkdir()
_ = Path("../models/mnist_cnn.json").write_text('{"test_accuracy": 0.5}')
"""
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
   right
0    0.5

time           X minutes
test accuracy  50.00%
page           build/mnist_cnn.html
saved          models/mnist_cnn.json
"""


@pytest.fixture
def run(checkout):
    """A function that runs the project with this Python and a notebook of the given cells."""
    (checkout / "notebooks").mkdir()
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for stamp in installed_stamps(checkout):
        stamp.touch()

    def make_run(*sources, parameters, **environment):
        cells = [nbformat.v4.new_markdown_cell("# Title")]
        cells.append(nbformat.v4.new_code_cell("EPOCHS = 15", metadata={"tags": ["parameters"]}))
        for source in sources:
            cells.append(nbformat.v4.new_code_cell(source))
            cells.append(nbformat.v4.new_markdown_cell("Then:\n\n## Others"))
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=read_notebook().metadata)
        nbformat.write(notebook, checkout / "notebooks" / "mnist_cnn.ipynb")
        return make("run", f"ARGS={parameters}", cwd=checkout, **environment)

    return make_run


def test_a_run_is_the_same_whatever_its_user_has_set(run, checkout, tmp_path):
    """Variables for other work, and files in the home folder, change nothing. It prints its
    progress and the results alone; what libraries say about the machine goes into a log.
    """
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
    places = ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "JUPYTER_PATH", "MPLCONFIGDIR"]
    settings = dict.fromkeys(places, str(other)) | {
        "HOME": str(home),
        "PYTHONSTARTUP": str(other / "numpy.py"),
        "PYTHONHASHSEED": "1",
        "PYTHONOPTIMIZE": "1",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "latin-1",
        "IPYTHONDIR": str(home / ".ipython"),
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
        "MPLBACKEND": "TkAgg",
        "KERAS_HOME": str(home / ".keras"),
        "KERAS_BACKEND": "jax",
        "TF_USE_LEGACY_KERAS": "1",
        "COLUMNS": "40",
        "NO_COLOR": "1",
        "LC_ALL": "de_DE.ISO-8859-1",
    }
    process = run(PROBE, OTHERS, parameters="-p EPOCHS 4", **settings)
    assert re.sub(r"[\d.]+ minutes", "X minutes", process.stdout) == RUN, process.stderr
    assert process.returncode == 0 and process.stderr == ""
    assert "rcParams" in (checkout / "build" / "mnist_cnn.html").read_text("utf-8")
    assert "stderr" not in str(outputs(read_notebook(checkout / "build" / "mnist_cnn.ipynb")))
    log = (checkout / "build" / "mnist_cnn.log").read_text()
    assert re.search("about the machine.*of a library", log, re.S) and "another process" in log
    assert "not a writable location" not in log


def test_a_run_that_saves_nothing_reports_no_older_accuracy(run, checkout):
    (checkout / "models").mkdir()
    (checkout / "models" / "mnist_cnn.json").write_text('{"test_accuracy": 0.9}')
    process = run("1 + 1", parameters="")
    assert process.returncode == 0 and "test accuracy" not in process.stdout, process.stderr
    assert process.stdout.endswith("saved         \n")


@pytest.mark.parametrize(
    ("source", "reason"),
    [("1 / 0", "ZeroDivisionError"), ("import os; os.kill(os.getpid(), 9)", "Python died")],
)
def test_a_run_that_fails_says_where_and_why(run, checkout, source, reason):
    process = run("1 + 1", source, parameters="")
    assert process.returncode != 0 and reason in process.stderr
    assert process.stdout.endswith("[3/3] Others\n")
    assert (checkout / "build" / "mnist_cnn.ipynb").exists()


def test_a_wrong_parameter_is_refused_before_anything_runs(run):
    process = run(parameters="-p EPOCHS many")
    assert process.returncode != 0 and process.stdout == ""
    assert "EPOCHS cannot be many: give a number, as in -p EPOCHS 4." in process.stderr
    assert "Traceback" not in process.stderr


def test_the_notebook_s_own_parameters_are_accepted():
    """All names that its cell of parameters assigns, and no others."""
    names = [name for name in vars(run_cells("parameters")) if name.isupper()]
    known = f"^The notebook has no parameter epochs. It has {', '.join(names)}\\.$"
    with pytest.raises(SystemExit, match=known):
        set_parameters(read_notebook(), [("EPOCHS", "2"), ("epochs", "2")])
