"""What gets installed: pinned, hashed, without known holes, and nothing that is not used."""
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from conftest import ROOT

# The lowest version without a known advisory that matters here, where the advisory is. `pip-audit` needs the network,
# which the tests do not have, so this list stands in for it: extend it when an advisory appears.
FLOORS = {
    "keras": ("3.15", "load_model runs code or reads files in spite of safe mode: CVE-2025-1550, -8747, -9905, -49655 and later ones"),
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


def locked():
    """Return {name: [(version, number of hashes), ...]} of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text()
    found = {}
    for entry in re.split(r"\n(?=\w)", re.sub(r"^#.*\n", "", text, flags=re.M).strip()):
        head, *hashes = re.split(r"\\\n\s+--hash=sha256:", entry.strip())
        requirement = Requirement(head)
        [pin] = requirement.specifier
        assert pin.operator == "==" and all(re.fullmatch("[0-9a-f]{64} *", digest) for digest in hashes), entry
        found.setdefault(requirement.name.lower(), []).append((pin.version, len(hashes)))
    return found


def test_everything_is_pinned_and_hashed():
    lock = locked()
    assert len(lock) > 100
    for name, versions in lock.items():
        assert all(hashes for _, hashes in versions), f"{name} has no hash"


def test_lock_holds_the_direct_dependencies():
    lock = locked()
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line:
            name, version = line.split("==")
            assert [pin for pin, _ in lock[name]] == [version], f"{name} in requirements.lock is not {version}: make lock"


def test_lock_names_no_index_host_or_path():
    assert not re.search(r"://|@ |^-|--(index|find-links|extra)", (ROOT / "requirements.lock").read_text(), re.M)


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_with_a_known_hole(name):
    floor, advisory = FLOORS[name]
    for version, _ in locked()[name]:
        assert Version(version) >= Version(floor), f"{name} {version} is open to {advisory}: take {floor} or later"


def test_a_wrong_hash_is_refused(tmp_path):
    """pip itself, with the lock's format: a file whose hash is not the stated one does not get installed."""
    wheel = tmp_path / "nothing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"not what was promised")
    (tmp_path / "requirements.lock").write_text("nothing==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    process = subprocess.run([sys.executable, "-m", "pip", "install", "--no-index", "--find-links", tmp_path, "--require-hashes",
                              "--dry-run", "-r", tmp_path / "requirements.lock"], capture_output=True, text=True)
    assert process.returncode != 0 and "DO NOT MATCH THE HASHES" in process.stderr


def test_installed_packages_fit_each_other():
    process = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


def test_no_dependency_is_unused_or_undeclared():
    """deptry decides; it cannot see what is run as a command or loaded as a plug-in."""
    ours = [f"--known-first-party={path.stem}" for folder in ["benchmarks", "data", "tests", "tools"] for path in (ROOT / folder).glob("*.py")]
    process = subprocess.run([
        sys.executable, "-m", "deptry", ROOT, "--requirements-files", ROOT / "requirements.txt",
        "--extend-exclude", ".*benchmarks/.*|build", *ours,
        "--per-rule-ignores", "DEP002=jupyter|papermill|nbval|deptry|onnx|tf2onnx|backports-strenum"], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
