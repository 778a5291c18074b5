"""Say what on this machine is in the way of the notebook, before `make` installs anything.

Other Pythons than the notebook's read this file too: it keeps to what 3.6 knows.
"""

import os
import platform
import shutil
import sys

DISK = 5  # GB: the environment takes 3, what pip downloads and unpacks on the way the rest


def obstacle():
    """Return the first thing that is in the way and what to do about it, or None."""
    major, minor = sys.version_info[:2]
    if not (3, 11) <= (major, minor) <= (3, 13):
        return (
            f"Python {major}.{minor} found, 3.11 to 3.13 needed: "
            "install one of them and name it: make PYTHON=python3.12"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return (
            f"{sys.executable} has no venv module: "
            "install it (Debian, Ubuntu: apt install python3-venv)"
        )
    system, machine = platform.system(), platform.machine()
    if system == "Linux" and platform.libc_ver()[0] != "glibc":
        return "TensorFlow needs glibc, which Alpine lacks: use Debian, Ubuntu or Fedora, say"
    if system == "Linux" and machine == "x86_64":
        with open("/proc/cpuinfo") as file:
            if " avx " not in file.read():
                return "TensorFlow needs a processor with AVX, which this one lacks"
    if system == "Darwin" and (machine != "arm64" or int(platform.mac_ver()[0].split(".")[0]) < 14):
        return "the pinned packages need macOS 14 or later on Apple silicon"
    free = shutil.disk_usage(os.curdir).free / 1e9
    if free < DISK:
        return f"{free:.1f} GB of disk free in {os.getcwd()}, {DISK} GB needed: make room"
    return None


if __name__ == "__main__":
    sys.exit(obstacle())
