"""The data file is MNIST. A damaged, malicious or missing one ends in an error that names it, and
so does a Keras that is too old.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from conftest import MNIST, ROOT, run_cells


def test_the_file_is_mnist():
    """The checksums are those of data/README.md: our own, and those published for the IDX files."""
    readme = (ROOT / "data" / "README.md").read_text()
    files = ["train-images", "train-labels", "t10k-images", "t10k-labels"]
    for (name, array), file in zip(MNIST.items(), files, strict=True):
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        assert f"| `{name}` | {array.shape} | {array.dtype} | `{digest}` |" in readme
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        digest = hashlib.md5(header + array.tobytes()).hexdigest()
        assert f"| {file} | `{digest}` |" in readme, f"{name} is not MNIST's {file}"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The place for a project's data file; the tests run in its notebooks/."""
    for name in ["data", "notebooks"]:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path / "data" / "mnist.npz"


class Trap:
    def __reduce__(self):  # it creates a file when it is unpickled
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize("damage", ["empty", "cut short", "overwritten", "malicious"])
def test_damaged_or_malicious_file_is_refused(definitions, data, damage):
    content = (ROOT / "data" / "mnist.npz").read_bytes()
    overwritten = content[:5_000] + bytes(9) + content[5_009:]
    data.write_bytes({"empty": b"", "cut short": content[:5_000]}.get(damage, overwritten))
    if damage == "malicious":
        np.savez(data, **MNIST | {"x_train": np.array([Trap()], dtype=object)})
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        definitions.load_mnist()
    assert not Path("sprung").exists(), "code in the data file was run"


def test_without_the_file_keras_downloads(definitions, data, capsys, monkeypatch):
    downloaded = definitions.keras.datasets.mnist
    monkeypatch.setattr(downloaded, "load_data", lambda: "MNIST")
    assert definitions.load_mnist() == "MNIST"
    assert f"No {data} (start in notebooks/): Keras downloads MNIST" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["2.15.0", "3.1.1"])
def test_an_old_keras_ends_the_lesson_in_its_first_cell(definitions, monkeypatch, version):
    monkeypatch.setattr(definitions.keras, "__version__", version)
    with pytest.raises(ImportError, match=f"Keras is {version}, 3.2 is needed: %pip install -U"):
        run_cells("imports")
