"""Pictures that people bring: `to_mnist` prepares all kinds as MNIST was, and says what is wrong
with the others.
"""

import contextlib
import io
import struct
import sys
import warnings
import zlib

import keras
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from scipy import ndimage

sys.path.append(str(ROOT / "data"))
import draw_digits  # noqa: E402

PICTURES = sorted((ROOT / "data" / "digits").glob("[0-9]_*"))
OTHERS = sorted((ROOT / "data" / "digits").glob("no_*"))
MNIST = np.load(ROOT / "data" / "mnist.npz")


@pytest.fixture(scope="module")
def to_mnist(definitions):
    return definitions.to_mnist


@pytest.fixture(scope="module")
def model(trained):
    return keras.models.load_model(trained / "models" / "mnist_cnn.keras")


@pytest.fixture(scope="module")
def read(model, to_mnist):
    """A function that returns the digits read in some pictures, and -1 for those refused."""

    def read(pictures):
        prepared = np.zeros((len(pictures), 28, 28, 1), "float32")
        for place, picture in zip(prepared, pictures):
            with contextlib.suppress(ValueError):
                place[..., 0] = to_mnist(picture)
        answers = model.predict(prepared, batch_size=1_000, verbose=0).argmax(axis=1)
        return np.where(prepared.any(axis=(1, 2, 3)), answers, -1)

    return read


def refused(to_mnist, picture):
    try:
        to_mnist(picture)
    except ValueError:
        return True
    return False


def drawing(seed=0, digit=4, size=(120, 100), height=0.6, pen=0.04):
    """Return a digit drawn black (0) on white (255), uint8 of shape ``size``."""
    rng = np.random.default_rng(seed)
    return np.uint8(
        255 - 255 * draw_digits.ink(rng, draw_digits.HANDS[digit][0], size, height, pen)
    )


def alike(one, other, least=0.88):
    """Assert that two prepared digits show the same: their pixels correlate, one shifted by a pixel
    at most.
    """
    shifted = [np.roll(other, (row - 1, column - 1), (0, 1)) for row, column in np.ndindex(3, 3)]
    assert max(np.corrcoef(one.ravel(), image.ravel())[0, 1] for image in shifted) >= least


# --- how many are read ----------------------------------------------------------------------------


def test_pictures_are_those_that_the_script_draws(tmp_path):
    draw_digits.draw_all(tmp_path)
    stored = PICTURES + OTHERS
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in stored]
    for path in stored:
        if path.suffix == ".png":  # JPEGs differ between versions of its library
            assert np.array_equal(Image.open(path), Image.open(tmp_path / path.name)), path.name
    assert {path.stem[2:] for path in PICTURES} == {*draw_digits.STYLES, "large"}


def test_drawn_pictures_are_read(read):
    right = read(PICTURES) == [int(path.name[0]) for path in PICTURES]
    assert len(PICTURES) == 82 and right.sum() >= 79, np.array(PICTURES)[~right]


FLOORS = {"pencil": 0.8, "marker": 0.88, "tiny": 0.88, "squares": 0.8}


@pytest.mark.parametrize("style", draw_digits.STYLES)
def test_fresh_pictures_are_read(style, read):
    """Sixty pictures from another seed than the stored ones."""
    rng = np.random.default_rng(2_000)
    hands = [draw_digits.HANDS[n % 10] for n in range(60)]
    pictures = [draw_digits.STYLES[style](rng, some[rng.integers(len(some))]) for some in hands]
    share = np.mean(read(pictures) == np.arange(60) % 10)
    assert share >= FLOORS.get(style, 0.9), f"{share:.0%}"


def test_mnist_passes_through(read, model):
    """The last 5,000 training images lose .1 points of accuracy at most, and three are refused."""
    images, labels = MNIST["x_train"][-5_000:], MNIST["y_train"][-5_000:]
    plain = model.predict(images[..., np.newaxis] / np.float32(255), batch_size=1_000, verbose=0)
    answers = read(images)
    lost = np.mean(plain.argmax(axis=1) == labels) - np.mean(answers == labels)
    assert lost <= 0.001 and np.sum(answers == -1) <= 3, f"{lost:.2%}, {np.sum(answers == -1)}"


def test_an_answer_says_how_sure_it_is(definitions):
    for probability, words in [(0.9, "This looks like a 3"), (0.4, "hard to read, perhaps a 3")]:
        answer = np.full((1, 10), (1 - probability) / 9)
        answer[0, 3] = probability
        sentence = definitions.read_picture(drawing(), lambda batch: answer, 0.75)  # noqa: B023
        assert words in sentence and f"{probability:.0%}" in sentence
    assert "No digit: blank" in definitions.read_picture(np.zeros((28, 28)), None, 0.75)


# --- what must not matter -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_properties(seed, to_mnist):
    """Range, shape and place hold; polarity, shift, scale and contrast do not matter."""
    picture = drawing(seed, digit=seed, pen=0.02 + 0.006 * seed)
    digit = to_mnist(picture)
    assert digit.shape == (28, 28) and digit.dtype == np.float32
    assert digit.min() >= 0 and digit.max() == 1
    rows, columns = (np.flatnonzero((digit > 0.5).any(axis)) for axis in (1, 0))
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    assert np.allclose(ndimage.center_of_mass(digit), 14, atol=1)
    alike(digit, to_mnist(255 - picture), 0.98)
    alike(digit, to_mnist(np.pad(picture, ((9, 60), (40, 3)), constant_values=255)))
    alike(digit, to_mnist(np.uint8(100 + picture * 0.3)))
    alike(digit, to_mnist(Image.fromarray(picture).resize((237, 284))))


@pytest.mark.parametrize("seed", range(10))
def test_shadow_specks_and_the_edge_of_a_table_do_not_matter(seed, to_mnist):
    rng = np.random.default_rng(seed)
    picture = drawing(seed, digit=seed, size=(150, 150), height=0.5, pen=0.05)
    digit = to_mnist(picture)
    light = np.where(np.arange(150) > 80, 0.6, 1) * np.linspace(1, 0.7, 150)[:, None]
    alike(digit, to_mnist(picture * light + rng.normal(0, 4, light.shape)))
    picture[rng.integers(0, 150, 6), rng.integers(0, 150, 6)] = 0
    picture[:, :6] = 0
    alike(digit, to_mnist(picture))


def test_strokes_that_stand_apart_stay(to_mnist):
    """The second stroke of a 4 does not touch the first, and is no speck."""
    text = "-22,2 18,55 66,55 |-82,5 78,100"
    layer = draw_digits.ink(np.random.default_rng(5), text, (100, 100), 0.7, 0.03)
    assert ndimage.label(layer > 0.5)[1] == 2
    assert ndimage.label(to_mnist(layer) > 0.3, np.ones((3, 3)))[1] == 2


@pytest.mark.parametrize(("orientation", "undo"), [(3, "ROTATE_180"), (6, "ROTATE_90")])
def test_photo_is_turned_as_its_exif_data_says(orientation, undo, to_mnist, tmp_path):
    upright, exif = Image.fromarray(drawing()), Image.Exif()
    exif[0x0112] = orientation
    turned = upright.transpose(Image.Transpose[undo])
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    alike(to_mnist(tmp_path / "turned.jpg"), to_mnist(upright))


MODES = ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(mode, to_mnist):
    grey = Image.fromarray(drawing())
    deep = Image.fromarray(drawing().astype("uint16") * 257)
    picture = deep.convert(mode) if mode in ("I;16", "I") else grey.convert("RGB").convert(mode)
    alike(to_mnist(picture), to_mnist(grey))


ARRAYS = {
    "bool": lambda a: a > 128,
    "0..1": lambda a: a / 255,
    "float16, negative": lambda a: a.astype("float16") - 100,
    "16 bits": lambda a: a.astype("uint16") * 257,
    "one channel": lambda a: a[..., None],
    "RGB": lambda a: np.dstack([a] * 3),
    "RGBA": lambda a: np.dstack([a] * 3 + [a * 0 + 255]),
    "list": lambda a: a.tolist(),
    "colour": lambda a: np.where(a[..., None] > 128, [255, 230, 120], [40, 60, 200]),
    "transparent paper": lambda a: np.dstack([0 * a, 255 - a]),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_every_kind_of_array(kind, to_mnist):
    alike(to_mnist(ARRAYS[kind](drawing())), to_mnist(drawing()), 0.9)


def test_a_row_of_784_numbers_is_an_image_of_mnist(to_mnist):
    image = MNIST["x_train"][0]
    assert np.array_equal(to_mnist(image.ravel()), to_mnist(image))


def test_a_patch_on_a_transparent_canvas_is_all_that_counts(to_mnist):
    patch = Image.fromarray(drawing())
    canvas = Image.new("LA", (400, 400))
    canvas.paste(patch.convert("LA"), (30, 200))
    alike(to_mnist(canvas), to_mnist(patch), 0.99)


def test_strokes_on_nothing_get_a_margin(to_mnist):
    """A 1 as a paint program may export it: no paper, and nothing beside the stroke."""
    rows, columns = np.nonzero(drawing(digit=1) < 128)
    ink = 255 - drawing(digit=1)[min(rows) : max(rows), min(columns) : max(columns)]
    alike(to_mnist(np.dstack([0 * ink, ink])), to_mnist(drawing(digit=1)), 0.9)


@pytest.mark.parametrize("convert", [np.array, Image.fromarray])
def test_the_picture_given_is_not_changed(convert, to_mnist):
    to_mnist(picture := convert(drawing()))
    assert np.array_equal(picture, drawing())


def test_a_photo_of_200_megapixels_is_read_without_a_warning(to_mnist, tmp_path):
    Image.fromarray(drawing()).resize((12_288, 16_384), 0).save(tmp_path / "large.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        digit = to_mnist(tmp_path / "large.jpg")
    alike(digit, to_mnist(drawing()))


# --- bad pictures ---------------------------------------------------------------------------------


def encode(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb():
    """Return a PNG of a few bytes that claims 30,000 x 30,000 pixels."""
    data = bytearray(encode(Image.new("L", (1, 1)), "PNG"))
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def noise(least):
    return np.uint8(np.random.default_rng(1).integers(least, 256, (200, 200)))


RED_ON_GREEN = np.where(drawing()[..., None] > 128, [0, 130, 0], [255, 0, 0])
BAD = {  # bytes become a file of that name
    "no picture.png": (b"certainly no picture", "no picture that Pillow knows. Take a PNG"),
    "empty.png": (b"", "no picture that Pillow knows. Take a PNG"),
    "photo.HEIC": (b"\0\0\0\x18ftypheic" + bytes(99), "a HEIC photo.* Save it as JPEG"),
    "cut short.png": (encode(Image.fromarray(noise(0)), "PNG")[:500], "truncated.* copy the file"),
    "cut short.jpg": (encode(Image.fromarray(noise(0)), "JPEG")[:900], "truncated.* copy the file"),
    "large.png": (bomb(), "more than 420 megapixels. Make it smaller"),
    "missing": ("nowhere.png", "No such file.*nowhere.png.* Check the name"),
    "a folder": (ROOT, "Is a directory.* Check the name"),
    "nothing": (None, "'NoneType'.* Give a file, or finite numbers"),
    "no picture, in memory": (io.BytesIO(b"certainly no picture"), "no picture that(?!.* at 0x)"),
    "NaN": (np.full((28, 28), np.nan), "NaNs. Give .* finite numbers"),
    "infinite": (np.where(drawing() > 128, np.inf, 0), "infs or NaNs. Give .* finite numbers"),
    "empty": (np.zeros((0, 28)), "zero-size array"),
    "text": (np.full((28, 28), "a"), "could not convert string"),
    "a short row": (np.zeros(100), r"size 100 into shape \(28,28\)"),
    "channels first": (np.zeros((3, 28, 28)), r"Give .* \(rows, columns\) or \(rows"),
    "four axes": (np.zeros((2, 28, 28, 1)), r"Give .* \(rows, columns\) or \(rows"),
    "black": (np.zeros((28, 28)), "blank, too faint"),
    "white": (np.full((50, 60), 255, "uint8"), "blank, too faint"),
    "nearly white": (Image.fromarray(noise(252)), "blank, too faint"),
    "transparent": (Image.new("RGBA", (30, 30)), "blank, too faint"),
    "as bright as its paper": (np.uint8(RED_ON_GREEN), "ink as bright as its paper"),
    "noise": (noise(0), "several digits or noise"),
    "two digits": (np.hstack([drawing(0, 3), drawing(1, 8)]), "2 strokes.* several digits"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_picture_gets_an_error_that_names_the_cause(name, to_mnist, tmp_path):
    picture, message = BAD[name]
    if isinstance(picture, bytes):
        (tmp_path / name).write_bytes(picture)
        picture = tmp_path / name
    with pytest.raises(ValueError, match=message):
        to_mnist(picture)


def test_several_digits_are_refused(to_mnist):
    images = MNIST["x_train"][:80].reshape(40, 2, 28, 28)
    pairs = [Image.fromarray(np.pad(np.hstack(pair), 20)).resize((300, 200)) for pair in images]
    assert np.mean([refused(to_mnist, pair) for pair in pairs]) >= 0.9


def test_noise_is_refused(to_mnist):
    """Blank paper in noise of 2 or 5 grey levels."""
    rng = np.random.default_rng(3)
    pages = [rng.normal(200, 2 + 3 * (n % 2), 2 * [(28, 100, 400)[n % 3]]) for n in range(42)]
    assert np.mean([refused(to_mnist, Image.fromarray(np.uint8(page))) for page in pages]) >= 0.9
