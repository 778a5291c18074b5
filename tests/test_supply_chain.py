"""What gets installed: pinned, hashed, without known holes, and nothing that is not used."""

import platform
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from check_machine import DISK
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.version import Version

# The lowest version without a known advisory that matters here, and the advisory. `pip-audit` needs
# the network, which tests do not have; this list stands in for it: extend it when one appears.
FLOORS = {
    "keras": ("3.15", "load_model: CVE-2025-1550, -8747, -9905, -49655 and later"),
    "tensorflow": ("2.12.1", "CVE-2023-33976"),
    "pillow": ("12.2", "CVE-2026-25990, GHSA-wjx4-4jcj-g98j"),
    "jupyterlab": ("4.4.8", "CVE-2025-59842"),
    "jupyter-core": ("5.8.1", "CVE-2025-30167"),
    "tornado": ("6.5", "CVE-2025-47287"),
    "jinja2": ("3.1.6", "CVE-2025-27516"),
    "urllib3": ("2.5", "CVE-2025-50181"),
    "requests": ("2.32.4", "CVE-2024-47081"),
    "protobuf": ("6.31.1", "CVE-2025-4565"),
    "setuptools": ("78.1.1", "CVE-2025-47273"),
    "onnx": ("1.17", "CVE-2024-7776"),
    "h11": ("0.16", "CVE-2025-43859"),
}
LOCKS = ["requirements.lock", "requirements-dev.lock"]


def locked(lock):
    """Return {name: versions} of the file ``lock``, each of which has to be pinned and hashed."""
    text = re.sub(r"^#.*\n", "", (ROOT / lock).read_text(), flags=re.M).strip()
    found = {}
    for entry in re.split(r"\n(?=\w)", text):
        head, *hashes = re.split(r"\\\n\s+--hash=sha256:", entry.strip())
        requirement = Requirement(head)
        [pin] = requirement.specifier
        assert pin.operator == "==", f"{head} is not pinned"
        assert hashes, f"{head} has no hash"
        assert all(re.fullmatch("[0-9a-f]{64} *", digest) for digest in hashes), entry
        found.setdefault(requirement.name.lower(), set()).add(pin.version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_the_direct_dependencies_from_no_place_of_its_own(lock):
    versions, text = locked(lock), (ROOT / lock).read_text()
    for line in (ROOT / lock.replace("lock", "txt")).read_text().splitlines():
        if requirement := line.partition("#")[0].strip():
            name, version = requirement.split("==")
            assert versions[name] == {version}, f"{name} in {lock} is not {version}: make lock"
    assert not re.search(r"://|@ |^-|--(index|find-links|extra)", text, re.M)


def test_what_development_adds_takes_nothing_away():
    """Installed on top of requirements.lock, requirements-dev.lock changes no version in it."""
    first, second = map(locked, LOCKS)
    assert len(first) > 10 and len(second) > 10
    changed = [name for name in first.keys() & second.keys() if not second[name] <= first[name]]
    assert not changed, f"{changed} have other versions in {LOCKS[1]}: make lock"


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_with_a_known_hole(name):
    floor, advisory = FLOORS[name]
    versions = [version for lock in LOCKS for version in locked(lock).get(name, [])]
    assert versions, f"{name} is not installed any more: take it off the list"
    for version in versions:
        hole = f"{name} {version} is open to {advisory}: take {floor} or later"
        assert Version(version) >= Version(floor), hole


def run_module(*arguments):
    """Run a module of Python in the project, and demand that it succeeds."""
    command = [sys.executable, "-m", *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def test_installed_packages_fit_each_other():
    run_module("pip", "check")


BENCHMARK = "requirements.txt,benchmarks/requirements.txt,benchmarks/requirements-ray.txt"


@pytest.mark.parametrize(
    "arguments",
    [
        ".",
        "notebooks --requirements-files requirements.txt --ignore DEP002",
        # Beside the notebook's; tqdm comes with one of those.
        f"benchmarks --exclude ^build --requirements-files {BENCHMARK} --ignore DEP002 "
        "--requirements-files-dev none --per-rule-ignores DEP003=tqdm",
    ],
    ids=["project", "notebook", "benchmark"],
)
def test_no_dependency_is_unused_or_undeclared(arguments):
    """Deptry compares imports with requirements; its settings are in pyproject.toml."""
    run_module("deptry", *arguments.split())


def test_readme_says_how_much_disk_the_environment_takes():
    """As `make` checks; what pip downloads on the way is not here any more, so it gets a third."""
    size = sum(path.lstat().st_size for path in Path(sys.prefix).rglob("*")) / 1e9
    assert DISK / 2 < size < DISK * 2 / 3, f"it takes {size:.1f} GB: correct DISK"
    assert f"{DISK} GB of disk" in (ROOT / "README.md").read_text()


def test_readme_says_which_systems_the_packages_serve():
    """As far as the packages installed here can tell: the least glibc, or macOS."""
    name, tag = {"Linux": ("glibc 2.", "manylinux_2"), "Darwin": ("macOS ", "macosx")}[
        platform.system()
    ]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    packages = [line.partition("==")[0] for line in lines if "==" in line]
    wheels = [distribution(package).read_text("WHEEL") for package in packages]
    served = [min(map(int, re.findall(rf"{tag}_(\d+)_", wheel)), default=0) for wheel in wheels]
    assert f"{name}{max(served)} or later" in (ROOT / "README.md").read_text()
