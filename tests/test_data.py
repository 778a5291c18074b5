"""The data file is MNIST; a damaged, malicious or missing one ends in an error that names it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

GOOD = ROOT / "data" / "mnist.npz"
ARRAYS = dict(np.load(GOOD))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The place for a project's data file; the tests run in its notebooks/."""
    for name in ["data", "notebooks"]:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path / "data" / "mnist.npz"


def test_the_file_is_mnist():
    """The checksums are those of data/README.md: our own, and those published for the IDX files."""
    readme = (ROOT / "data" / "README.md").read_text()
    files = ["train-images", "train-labels", "t10k-images", "t10k-labels"]
    for (name, array), file in zip(ARRAYS.items(), files, strict=True):
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        row = f"| `{name}` | {array.shape} | {array.dtype} | `{digest}` |"
        assert row in readme, f"data/README.md does not say {row}"
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        digest = hashlib.md5(header + array.tobytes()).hexdigest()
        assert f"| {file} | `{digest}` |" in readme, f"{name} is not MNIST's {file}"


def flip_a_bit(share):
    """Return a function that flips a bit of some bytes, at ``share`` of their length."""

    def flip(content):
        content = bytearray(content)
        content[int(share * len(content))] ^= 1
        return content

    return flip


DAMAGES = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 3],
    "without its end": lambda content: content[:-100],
    "a page of a website": lambda content: b"<!DOCTYPE html><title>Not found</title>",
    **{f"a bit flipped at {share:.0%}": flip_a_bit(share) for share in (0.1, 0.5, 0.8, 0.9)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file(definitions, data, damage):
    data.write_bytes(DAMAGES[damage](GOOD.read_bytes()))
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        definitions.load_mnist()


def test_file_with_other_names(definitions, data):
    np.savez(data, train_images=ARRAYS["x_train"], y_train=ARRAYS["y_train"])
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        definitions.load_mnist()


class Trap:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_pickle_is_refused_and_not_run(definitions, data):
    np.savez(data, **ARRAYS | {"x_train": np.array([Trap()], dtype=object)})
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        definitions.load_mnist()
    assert not Path("sprung").exists(), "code in the data file was run"
    np.load(data, allow_pickle=True)["x_train"]
    assert Path("sprung").exists(), (
        "the trap itself does not work, so this test would prove nothing"
    )


def test_no_file_takes_kerass_copy_and_says_so(definitions, data, monkeypatch, capsys):
    copy = (ARRAYS["x_train"], ARRAYS["y_train"]), (ARRAYS["x_test"], ARRAYS["y_test"])
    monkeypatch.setattr(definitions.keras.datasets.mnist, "load_data", lambda: copy)
    assert definitions.load_mnist() is copy
    assert f"No {data} (start in notebooks/): Keras's copy is used" in capsys.readouterr().out


def test_no_file_and_no_network_names_the_file_and_the_cause(
    definitions, data, monkeypatch, capsys
):
    def load_data():
        raise Exception("URL fetch failure on https://...: [Errno -3] name resolution")

    monkeypatch.setattr(definitions.keras.datasets.mnist, "load_data", load_data)
    with pytest.raises(Exception, match="URL fetch failure|could not download MNIST"):
        definitions.load_mnist()
    assert f"No {data}" in capsys.readouterr().out
