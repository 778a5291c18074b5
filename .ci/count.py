"""Fail where less has passed than there is, or where a check overlooks a fault: the end of .ci/run.

One line in conftest.py, pyproject.toml or the Makefile can leave tests out, skip them, or call them
passed. So this compares the reports in build/test/ with what pytest lists without those files, and
has the checks read a file in which each of them must find a fault.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import nbformat

LESSON = "notebooks/mnist_cnn.ipynb"
TESTS = [*Path("tests").glob("test_*.py"), Path(".ci/test_ci.py")]
TESTS += [Path("benchmarks/test_benchmarks.py"), Path("tests/elsewhere/check_elsewhere.py")]
LIST = "-m pytest --collect-only --quiet --noconftest --rootdir . -c /dev/null"
FAULTS = "import os\n\n\ndef test_that_fails( ):\n    assert False\n"
CHECKS = ["ruff format --check", "ruff check", "pytest tests/test_faults.py"]


def read_reports():
    """Yield the file and the name of all that has run, and whether it has passed."""
    for report in Path("build/test").glob("*.xml"):
        for case in ElementTree.parse(report).iter("testcase"):
            # One that has failed, or was skipped, contains the reason.
            yield case.get("classname"), case.get("name"), len(case) == 0


def count_what_is_there():
    """Return how many tests each file has, and how many cells the lesson."""
    environment = os.environ | {"PYTEST_ADDOPTS": "", "PYTHONPATH": "tests"}
    options = {"env": environment, "stdout": subprocess.PIPE, "text": True, "check": True}
    listed = subprocess.run([sys.executable, *LIST.split(), *TESTS], **options).stdout
    counts = Counter(re.findall(r"^(.+)\.py::", listed, re.M))
    for file in TESTS:
        defined = re.findall(r"^def (test_\w+)", file.read_text(), re.M)
        unlisted = [name for name in defined if f"{file}::{name}" not in listed]
        counts[str(file.with_suffix(""))] += len(unlisted)
    here, copied = (nbformat.read(path, 4).cells for path in (LESSON, f"build/test/{LESSON}"))
    cells = copied + [cell for cell in here if cell not in copied]
    counts[f"build/test/{LESSON}"] = sum(cell.cell_type == "code" for cell in cells)
    return counts


def overlooks(check):
    """Say whether ``check`` finds nothing in a file that has a fault for each of them."""
    file = Path("tests/test_faults.py")
    file.write_text(FAULTS)
    try:
        command = [".venv/bin/python", "-m", *check.split()]
        return subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 1
    finally:
        file.unlink()


ran = set(read_reports())
problems = [f"{file}, {name}: has not passed" for file, name, passed in ran if not passed]
counts = Counter(file for file, _, passed in ran if passed)
for file, number in count_what_is_there().items():
    count = counts[file.replace("/", ".")]
    if count < number:
        problems.append(f"{file}: {count} of {number} have passed")
problems += [f"{check} finds no fault where there is one" for check in CHECKS if overlooks(check)]
if problems:
    sys.exit("\n".join(problems))
print(f"{counts.total()} tests and cells have passed")
