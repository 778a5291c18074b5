"""Damaged data stops the notebook at the loading cell, with an error that says what is wrong and how to mend it."""
import io
import random
import zipfile

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from conftest import ROOT

GOOD = ROOT / "data" / "mnist.npz"
PLACES = [random.Random(seed).random() for seed in range(20)]


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOOD) as file:
        return dict(file)


def load(definitions, path):
    mnist = definitions.read_mnist(path)
    definitions.verify_mnist(mnist, path)
    return mnist


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def near_twins(images, some):
    """Of ``images`` at the places ``some``: how many times as often as by chance the one most like it is within 100 places."""
    images = images.reshape(len(images), -1).astype("float32")
    twins = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(images).kneighbors(images[some], return_distance=False)[:, 1]
    return np.mean(abs(twins - some) <= 100) / (200 / len(images))


def test_every_second_image_looks_like_one_nearby(arrays):
    """Section 3 says so. The images between are in random order, and show what the measure gives where there is nothing to find."""
    even = np.arange(1_000, 59_000, 50)
    assert near_twins(arrays["x_train"], even + 1) > 20
    assert near_twins(arrays["x_train"], even) < 3


def test_good_file_loads(definitions, arrays):
    for name, array in load(definitions, GOOD).items():
        assert np.array_equal(array, arrays[name])


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.99999, *PLACES])
def test_truncated_file(definitions, tmp_path, share):
    path = tmp_path / "mnist.npz"
    data = GOOD.read_bytes()
    path.write_bytes(data[:int(share * len(data))])
    with pytest.raises(ValueError, match=r"mnist\.npz.*not a readable copy of MNIST.*git checkout data/mnist\.npz"):
        load(definitions, path)


@pytest.mark.parametrize("share", [0.5, *PLACES])
def test_one_flipped_bit(definitions, tmp_path, share):
    path = tmp_path / "mnist.npz"
    data = bytearray(GOOD.read_bytes())
    place, bit = divmod(int(share * len(data) * 8), 8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"mnist\.npz.*git checkout data/mnist\.npz"):
        load(definitions, path)


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_one_altered_value_is_noticed_and_named(definitions, arrays, tmp_path, name):
    altered = arrays[name].copy()
    altered.flat[4321] ^= 1
    path = save(tmp_path / "mnist.npz", **{**arrays, name: altered})
    with pytest.raises(ValueError, match=f"{name} in .*mnist.npz differs from MNIST.*git checkout"):
        load(definitions, path)


def test_wrong_keys(definitions, arrays, tmp_path):
    path = save(tmp_path / "mnist.npz", train_images=arrays["x_train"], y_train=arrays["y_train"])
    with pytest.raises(ValueError, match="x_train"):
        load(definitions, path)


def test_wrong_dtype_and_shape(definitions, arrays, tmp_path):
    path = save(tmp_path / "mnist.npz", **{**arrays, "y_test": arrays["y_test"].view(np.int8)})
    with pytest.raises(ValueError, match="y_test .*int8.*not uint8"):
        load(definitions, path)
    path = save(tmp_path / "mnist.npz", **{**arrays, "x_test": arrays["x_test"].reshape(10_000, 784)})
    with pytest.raises(ValueError, match=r"x_test .*\(10000, 784\).*not uint8 and \(10000, 28, 28\)"):
        load(definitions, path)


class Trap:
    """Creates a file when it is unpickled."""
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickle_is_refused_and_not_run(definitions, arrays, tmp_path):
    sprung = tmp_path / "sprung"
    member = io.BytesIO()
    np.save(member, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    path = save(tmp_path / "mnist.npz", **{name: arrays[name] for name in ["y_train", "x_test", "y_test"]})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", member.getvalue())
    with pytest.raises(ValueError, match="not a readable copy of MNIST"):
        load(definitions, path)
    assert not sprung.exists()
    np.load(path, allow_pickle=True)["x_train"]
    assert sprung.exists(), "the trap itself does not work, so this test would prove nothing"


def test_directory_in_its_place(definitions, tmp_path):
    (tmp_path / "mnist.npz").mkdir()
    with pytest.raises(ValueError, match="not a readable copy of MNIST"):
        load(definitions, tmp_path / "mnist.npz")


def test_no_file_downloads_it(definitions, arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(definitions.keras.datasets.mnist, "load_data", lambda: (
        (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])))
    assert load(definitions, tmp_path / "mnist.npz").keys() == arrays.keys()


def test_no_file_and_no_network(definitions, tmp_path, monkeypatch):
    def offline():
        raise OSError("name resolution failed")
    monkeypatch.setattr(definitions.keras.datasets.mnist, "load_data", offline)
    with pytest.raises(ConnectionError, match=r"mnist\.npz does not exist and the download failed \(name resolution"):
        load(definitions, tmp_path / "mnist.npz")
