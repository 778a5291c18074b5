"""`to_mnist` prepares all kinds of pictures as MNIST was, and says what is wrong with others."""

import io

import numpy as np
import pytest
from conftest import MNIST, ROOT
from draw_digits import HANDS, STYLES, draw_all, ink
from PIL import Image
from scipy import ndimage

DIGITS = ROOT / "data" / "digits"
SEEDED = [np.random.default_rng(seed) for seed in range(10)]
INK = [ink(SEEDED[n], HANDS[n][1], (120, 100), 0.6, 0.02 + 0.014 * n) for n in range(10)]
DRAWINGS = [np.uint8(255 - 255 * layer) for layer in INK]  # black on white, (120, 100)


def test_stored_pictures_are_those_that_the_script_draws(tmp_path):
    draw_all(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in DIGITS.iterdir()}
    for path in DIGITS.glob("*.png"):  # JPEGs differ between versions of its library
        assert np.array_equal(Image.open(path), Image.open(tmp_path / path.name)), path


@pytest.mark.parametrize("style", STYLES)
def test_fresh_pictures_are_read(style, networks, definitions, monkeypatch):
    monkeypatch.setattr(definitions, "robust", networks[1], raising=False)
    rng, hands = np.random.default_rng(2_000), [HANDS[n % 10] for n in range(60)]
    pictures = [STYLES[style](rng, some[rng.integers(len(some))]) for some in hands]
    read = np.sum(definitions.read_all(pictures)[0] == np.arange(60) % 10)
    assert read >= 50, f"{read} of 60 are read"  # seen: 56 to 60, with five networks, four seeds


def test_digits_that_need_no_change_stay(definitions):
    """MNIST's own, whatever the network; and a 4 whose second stroke stands apart: no speck."""
    changes = [np.abs(definitions.to_mnist(x) - x / 255) for x in MNIST["x_train"][-500:]]
    assert np.mean(changes) < 0.02  # it is 0.006; placed one pixel lower it would be 0.07
    layer = ink(np.random.default_rng(5), "-22,2 18,55 66,55 |-82,5 78,100", (100, 100), 0.7, 0.03)
    assert ndimage.label(definitions.to_mnist(layer) > 0.3, np.ones((3, 3)))[1] == 2


def as_a_turned_photo(a):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # a JPEG says that it lies on its side
    Image.fromarray(np.rot90(a)).save(file, "JPEG", exif=exif, quality=95)
    return file


# A shadow with an edge, in light that falls off downwards; noise; and specks.
LIGHT = np.where(np.arange(100) > 55, 0.6, 1) * np.linspace(1, 0.4, 120)[:, np.newaxis]
NOISE, SPECKS = SEEDED[0].normal(0, 4, (120, 100)), SEEDED[0].random((120, 100)) < 0.0005
CHANGES = {
    "inverted and moved": lambda a: np.pad(255 - a, ((0, 0), (43, 0))),
    "faint and enlarged": lambda a: Image.fromarray(np.uint8(100 + a * 0.3)).resize((237, 284)),
    "in bad light": lambda a: a * LIGHT + NOISE,
    "at the corner of a table": lambda a: np.pad(np.where(SPECKS, 0, a), ((20, 0), (20, 0))),
    "strokes on nothing": lambda a: Image.fromarray(np.dstack([0 * a, 255 - a])),
    "a palette": lambda a: Image.fromarray(a).convert("P"),
    "a turned photo": as_a_turned_photo,
    "16 bits": lambda a: Image.fromarray(a.astype("uint16") * 257),
    "a list of 0..1": lambda a: (a / 255).tolist(),
    "in colour": lambda a: np.where(a[..., None] > 128, [255, 230, 120], [40, 60, 200]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_that_must_not_matter(change, definitions):
    for digit, a in enumerate(DRAWINGS):
        one, other = definitions.to_mnist(CHANGES[change](a)), definitions.to_mnist(a)
        moved = [np.roll(other, (down - 1, right - 1), (0, 1)) for down, right in np.ndindex(3, 3)]
        alike = max(np.corrcoef(one.ravel(), image.ravel())[0, 1] for image in moved)
        # Seen: 0.91 at least, as widths are rounded; of two different digits 0.81 at most.
        assert one.max() == 1 and alike >= 0.86, f"the {digit} correlates by {alike:.2f} only"


RED_ON_GREEN = np.where(DRAWINGS[4][..., None] > 128, [0, 130, 0], [255, 0, 0])
THREE = np.pad(np.hstack([DRAWINGS[digit] for digit in (3, 8, 5)]), 99, constant_values=255)
BAD = {  # bytes become a file of that name
    "photo.HEIC": (b"\0\0\0\x18ftypheic" + bytes(99), "identify image file .*HEIC'.*: take a PNG"),
    "cut.jpg": ((DIGITS / "3_paper.jpg").read_bytes()[:900], "truncated.*: take a PNG"),
    "large.pgm": (b"P5 30000 30000 255 ", "exceeds limit of 178956970 pixels.*: take a PNG"),
    "missing": ("nowhere.png", "No such file.*nowhere.png.*: take a PNG"),
    "nothing": (None, "'NoneType'.*: take a PNG, JPEG or 28x28 numbers"),
    "NaN": (np.full((28, 28), np.nan), "NaNs.*: take a PNG, JPEG or 28x28 numbers"),
    "a row of 784": (np.zeros(784), "array is 1-dimensional.*: take a PNG, JPEG or 28x28 numbers"),
    "channels first": (np.zeros((3, 28, 28)), "Cannot handle this data type.*28x28 numbers"),
    "white": (np.full((50, 60), 255, "uint8"), "blank or too faint"),
    "as bright as its paper": (np.uint8(RED_ON_GREEN), "blank or too faint"),
    "three digits": (THREE, "3 pieces stand out: several digits or noise"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_picture_gets_an_error_that_names_the_cause(name, definitions, tmp_path):
    picture, message = BAD[name]
    if isinstance(picture, bytes):
        (tmp_path / name).write_bytes(picture)
        picture = tmp_path / name
    with pytest.raises(ValueError, match=message):
        definitions.to_mnist(picture)
