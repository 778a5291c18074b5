"""The data file is MNIST; a damaged, malicious or missing one ends in an error that names it."""

import hashlib
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from checks import MNIST
from conftest import ROOT

CONTENT = (ROOT / "data" / "mnist.npz").read_bytes()


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
    for (name, array), file in zip(MNIST.items(), files, strict=True):
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        row = f"| `{name}` | {array.shape} | {array.dtype} | `{digest}` |"
        assert row in readme, f"data/README.md does not say {row}"
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        digest = hashlib.md5(header + array.tobytes()).hexdigest()
        assert f"| {file} | `{digest}` |" in readme, f"{name} is not MNIST's {file}"


def flip_a_bit(share):
    """Return the good file's bytes, with a bit flipped at ``share`` of their length."""
    place = int(share * len(CONTENT))
    return CONTENT[:place] + bytes([CONTENT[place] ^ 1]) + CONTENT[place + 1 :]


DAMAGED = {
    "empty": b"",
    "cut short": CONTENT[: len(CONTENT) // 3],
    "without its end": CONTENT[:-100],
    "a page of a website": b"<!DOCTYPE html><title>Not found</title>",
    **{f"a bit flipped at {share:.0%}": flip_a_bit(share) for share in (0.1, 0.5, 0.9)},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_file(definitions, data, damage):
    data.write_bytes(DAMAGED[damage])
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        definitions.load_mnist()


def test_file_with_other_names(definitions, data):
    np.savez(data, train_images=MNIST["x_train"], y_train=MNIST["y_train"])
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        definitions.load_mnist()


class Trap:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_pickle_is_refused_and_not_run(definitions, data):
    np.savez(data, **MNIST | {"x_train": np.array([Trap()], dtype=object)})
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        definitions.load_mnist()
    assert not Path("sprung").exists(), "code in the data file was run"
    np.load(data, allow_pickle=True)["x_train"]
    assert Path("sprung").exists(), "the trap does not work, so this test proves nothing"


def test_without_the_file_keras_downloads_and_the_lesson_says_so(
    definitions, data, monkeypatch, capsys
):
    copy = (MNIST["x_train"], MNIST["y_train"]), (MNIST["x_test"], MNIST["y_test"])
    answers = Mock(side_effect=[copy, Exception("URL fetch failure on https://...")])
    monkeypatch.setattr(definitions.keras.datasets.mnist, "load_data", answers)
    assert definitions.load_mnist() == copy
    assert f"No {data} (start in notebooks/): Keras downloads MNIST" in capsys.readouterr().out
    with pytest.raises(Exception, match="URL fetch failure"):
        definitions.load_mnist()  # without a network
    assert f"No {data}" in capsys.readouterr().out
