"""Nothing that fails in `make test` or .ci/run is forgiven, and each push runs all of it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ["make", "apt-get", "sudo", "build/bench/bin/python"]
PROGRAMS += [f".venv/bin/{name}" for name in ["python", "oxfmt", "oxlint"]]
# Each says how it is called, and fails where that is FAILING.
STAND_IN = '#!/bin/sh\necho "called: $0 $*" >&2\ntest "$0 $*" != "$FAILING"\n'
MAKE_TEST = [
    "--require-hashes -r requirements.lock",
    "--require-hashes -r requirements-dev.lock",
    "ruff format --check",
    "ruff check",
    "oxfmt --check",
    "oxlint",
    "pip install --quiet --disable-pip-version-check --dry-run --no-index",
    "deptry",
    "--nbval build/test/notebooks/mnist_cnn.ipynb tests .ci/test_ci.py",
]
CI_RUN = ["make bench-env", "make test", "test_benchmarks.py", "check_elsewhere.py", "count.py"]


def run(folder, command, failing=""):
    """Run ``command`` in a copy of the project whose programs are stand-ins; return the process."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in [".ci", "tools", "benchmarks"]:
        shutil.copytree(ROOT / name, folder / name)
    for path in [ROOT / "Makefile", *ROOT.glob("requirements*")]:
        shutil.copy(path, folder)
    for name in PROGRAMS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    # Nothing comes from the `make test` that runs this.
    environment = os.environ | {"MAKEFLAGS": "", "MAKELEVEL": "0", "FAILING": failing}
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    return subprocess.run(command.split(), **options)


@pytest.mark.parametrize(
    ("command", "checks"),
    [
        ("make test PYTHON=.venv/bin/python", MAKE_TEST),
        ("env PATH=.:/usr/bin:/bin bash .ci/run", CI_RUN),
    ],
)
def test_whatever_fails_fails_the_whole(tmp_path, command, checks):
    process = run(tmp_path / "copy", command)
    calls = re.findall("^called: (.*)", process.stderr, re.M)
    assert process.returncode == 0, process.stderr
    for check in checks:
        assert any(check in call for call in calls), f"{check} is not called any more"
    forgiven = [call for call in calls if not run(tmp_path / "copy", command, call).returncode]
    assert not forgiven


def test_each_push_runs_it():
    [workflow] = (ROOT / ".github" / "workflows").iterdir()
    text = workflow.read_text()
    assert "\non: [push, pull_request]\n" in text and text.endswith("\n      - run: bash .ci/run\n")
    assert not re.search(r"continue-on-error|shell|\|\||\bif:", text)
