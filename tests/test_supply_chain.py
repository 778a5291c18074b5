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
    "keras": (
        "3.15",
        "load_model in spite of safe mode: CVE-2025-1550, -8747, -9905, -49655 and later",
    ),
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
    """Return {name: [(version, number of hashes), ...]} of the file ``lock``."""
    text = (ROOT / lock).read_text()
    found = {}
    for entry in re.split(r"\n(?=\w)", re.sub(r"^#.*\n", "", text, flags=re.M).strip()):
        head, *hashes = re.split(r"\\\n\s+--hash=sha256:", entry.strip())
        requirement = Requirement(head)
        [pin] = requirement.specifier
        assert pin.operator == "==", entry
        assert all(re.fullmatch("[0-9a-f]{64} *", digest) for digest in hashes), entry
        found.setdefault(requirement.name.lower(), []).append((pin.version, len(hashes)))
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_is_pinned_and_hashed(lock):
    assert len(locked(lock)) > 10
    for name, versions in locked(lock).items():
        assert all(hashes for _, hashes in versions), f"{name} has no hash"


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_the_direct_dependencies(lock):
    for line in (ROOT / lock.replace("lock", "txt")).read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line:
            name, version = line.split("==")
            pins = [pin for pin, _ in locked(lock)[name]]
            assert pins == [version], f"{name} in {lock} is not {version}: make lock"


def test_what_development_adds_takes_nothing_away():
    """Installed on top of requirements.lock, requirements-dev.lock changes no version in it."""
    first, second = map(locked, LOCKS)
    for name in first.keys() & second.keys():
        assert {pin for pin, _ in second[name]} <= {pin for pin, _ in first[name]}, (
            f"{name}: make lock"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_index_host_or_path(lock):
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|@ |^-|--(index|find-links|extra)", text, re.M)


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_with_a_known_hole(name):
    floor, advisory = FLOORS[name]
    versions = [version for lock in LOCKS for version, _ in locked(lock).get(name, [])]
    assert versions
    for version in versions:
        assert Version(version) >= Version(floor), (
            f"{name} {version} is open to {advisory}: take {floor} or later"
        )


def test_a_wrong_hash_is_refused(tmp_path):
    """Pip itself, with the lock's format: a file with another hash does not get installed."""
    wheel = tmp_path / "nothing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"not what was promised")
    (tmp_path / "requirements.lock").write_text(
        "nothing==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    )
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-index",
            "--find-links",
            tmp_path,
            "--require-hashes",
            "--dry-run",
            "-r",
            tmp_path / "requirements.lock",
        ],
        capture_output=True,
        text=True,
    )
    assert process.returncode != 0 and "DO NOT MATCH THE HASHES" in process.stderr


def test_installed_packages_fit_each_other():
    process = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


def test_readme_says_how_much_disk_the_environment_takes():
    """As `make` checks; what pip downloads on the way is not here any more, so it gets a third."""
    size = sum(path.lstat().st_size for path in Path(sys.prefix).rglob("*")) / 1e9
    assert DISK / 2 < size < DISK * 2 / 3
    assert f"{DISK} GB of disk" in (ROOT / "README.md").read_text()


def test_readme_says_which_systems_the_packages_serve():
    """As far as the packages installed here can tell: the least glibc, or macOS."""
    if platform.system() == "Windows":
        pytest.skip("the README promises nothing there")
    system, pattern = {
        "Linux": ("glibc 2.{}", r"manylinux_2_(\d+)_"),
        "Darwin": ("macOS {}", r"macosx_(\d+)_"),
    }[platform.system()]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wheels = [
        distribution(line.split("==")[0]).read_text("WHEEL") for line in lines if "==" in line
    ]
    served = [min(map(int, re.findall(pattern, wheel)), default=0) for wheel in wheels]
    assert f"{system.format(max(served))} or later" in (ROOT / "README.md").read_text()


def deptry(*arguments):
    """Run deptry, which compares imports with requirements; its settings are in pyproject.toml."""
    return subprocess.run(
        [sys.executable, "-m", "deptry", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_no_dependency_is_unused_or_undeclared():
    process = deptry(".")
    assert process.returncode == 0, process.stderr


def test_requirements_txt_alone_has_what_the_notebook_imports():
    process = deptry("notebooks", "--requirements-files", "requirements.txt", "--ignore", "DEP002")
    assert process.returncode == 0, process.stderr


def test_the_benchmark_s_requirements_have_what_it_imports():
    """Beside the notebook's; tqdm comes with one of those."""
    files = "requirements.txt,benchmarks/requirements.txt,benchmarks/requirements-ray.txt"
    process = deptry(
        "benchmarks",
        *["--exclude", "^build", "--requirements-files", files, "--requirements-files-dev", "none"],
        *["--ignore", "DEP002", "--per-rule-ignores", "DEP003=tqdm"],
    )
    assert process.returncode == 0, process.stderr
