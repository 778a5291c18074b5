"""The data file is MNIST; a damaged, malicious or missing one ends in an error that names it."""

import hashlib
import io
import random
import re
import zipfile

import numpy as np
import pytest
from conftest import ROOT, run_cells

GOOD = ROOT / "data" / "mnist.npz"
PLACES = [random.Random(seed).random() for seed in range(10)]


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOOD) as file:
        return dict(file)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The place for a data file of a project in a temporary folder, in whose notebooks/ the tests
    run.
    """
    for name in ["data", "notebooks"]:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path / "data" / "mnist.npz"


def load():
    """Execute the lesson's cell that loads MNIST, and return its arrays by the names that the file
    has.
    """
    names = run_cells("imports", "definitions", "data")
    return {
        "x_train": names.train_images,
        "y_train": names.train_labels,
        "x_test": names.test_images,
        "y_test": names.test_labels,
    }


def test_the_file_is_mnist(arrays):
    """The checksums are those that data/README.md gives, and that file those of the published IDX
    files.
    """
    stated = dict(
        re.findall(
            r"\| `(\w+)` \| .* \| `([0-9a-f]{64})` \|", (ROOT / "data" / "README.md").read_text()
        )
    )
    assert stated == {
        name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()
    }
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        "x_train": ((60_000, 28, 28), np.uint8),
        "y_train": ((60_000,), np.uint8),
        "x_test": ((10_000, 28, 28), np.uint8),
        "y_test": ((10_000,), np.uint8),
    }


def test_good_file_loads(data, arrays):
    data.symlink_to(GOOD)
    for name, array in load().items():
        assert np.array_equal(array, arrays[name])


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.99999])
def test_truncated_file(data, share):
    content = GOOD.read_bytes()
    data.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        load()


@pytest.mark.parametrize("share", PLACES)
def test_one_flipped_bit(data, share):
    content = bytearray(GOOD.read_bytes())
    place, bit = divmod(int(share * len(content) * 8), 8)
    content[place] ^= 1 << bit
    data.write_bytes(content)
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        load()


def test_wrong_keys(data, arrays):
    np.savez(data, train_images=arrays["x_train"], y_train=arrays["y_train"])
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        load()


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickle_is_refused_and_not_run(data, arrays, tmp_path):
    sprung, member = tmp_path / "sprung", io.BytesIO()
    np.save(member, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    np.savez(data, **{name: arrays[name] for name in ["y_train", "x_test", "y_test"]})
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("x_train.npy", member.getvalue())
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        load()
    assert not sprung.exists()
    np.load(data, allow_pickle=True)["x_train"]
    assert sprung.exists(), "the trap itself does not work, so this test would prove nothing"


def test_directory_in_its_place(data):
    data.mkdir()
    with pytest.raises(ValueError, match=r"data/mnist\.npz is damaged"):
        load()


def test_no_file_takes_kerass_copy_and_says_so(data, arrays, monkeypatch, capsys):
    import keras

    monkeypatch.setattr(
        keras.datasets.mnist,
        "load_data",
        lambda: ((arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])),
    )
    assert np.array_equal(load()["x_test"], arrays["x_test"])
    assert re.search(
        r"No .*data/mnist\.npz \(start in notebooks/\): Keras's copy is used",
        capsys.readouterr().out,
    )


def test_no_file_and_no_network_says_what_to_put_where(data, monkeypatch):
    import keras

    def load_data():
        raise Exception("URL fetch failure on https://...: [Errno -3] name resolution")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
    advice = f"could not download MNIST: copy data/mnist.npz from the project to {data}."
    with pytest.raises(OSError, match=re.escape(advice)):
        load()
