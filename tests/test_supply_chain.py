"""No version in the locks has a known hole. The rest `make test` leaves to pip and deptry."""

import re

from conftest import ROOT
from packaging.version import Version

# The lowest version without a known advisory that matters here, and the advisory. `pip-audit` needs
# the network, which tests do not have; this list stands in for it: extend it when one appears.
FLOORS = """keras 3.15 load_model: CVE-2025-1550, -8747, -9905, -49655 and later;
tensorflow 2.12.1 CVE-2023-33976; pillow 12.2 CVE-2026-25990, GHSA-wjx4-4jcj-g98j;
jupyterlab 4.4.8 CVE-2025-59842; jupyter-core 5.8.1 CVE-2025-30167; tornado 6.5 CVE-2025-47287;
jinja2 3.1.6 CVE-2025-27516; h11 0.16 CVE-2025-43859; urllib3 2.5 CVE-2025-50181;
requests 2.32.4 CVE-2024-47081; protobuf 6.31.1 CVE-2025-4565; setuptools 78.1.1 CVE-2025-47273;
onnx 1.17 CVE-2024-7776"""


def test_no_pinned_version_has_a_known_hole():
    locks = "".join((ROOT / f"requirements{part}.lock").read_text() for part in ["", "-dev"])
    for entry in FLOORS.split(";"):
        name, floor, advisory = entry.split(maxsplit=2)
        pinned = re.findall(rf"^{name}==(\S+)", locks, re.M)
        assert pinned, f"{name} is not installed any more: take it off the list"
        assert min(map(Version, pinned)) >= Version(floor), f"{name} is open to {advisory}"
