"""`to_mnist` prepares all kinds of pictures as MNIST was, and says what is wrong with others."""

import contextlib
import io
import sys

import checks
import numpy as np
import pytest
from checks import MNIST
from conftest import ROOT
from PIL import Image
from scipy import ndimage

sys.path.append(str(ROOT / "data"))
import draw_digits  # noqa: E402

DIGITS = ROOT / "data" / "digits"
FLOORS = {"pencil": 0.8, "marker": 0.88, "tiny": 0.88, "squares": 0.8}  # elsewhere 0.9


@pytest.fixture(scope="module")
def to_mnist(definitions):
    return definitions.to_mnist


@pytest.fixture(scope="module")
def read(model, to_mnist):
    """A function that returns the digits read in some pictures, and -1 for those refused."""

    def read(pictures):
        prepared = np.zeros((len(pictures), 28, 28, 1), "float32")
        for place, picture in zip(prepared, pictures):
            with contextlib.suppress(ValueError):
                place[..., 0] = to_mnist(picture)
        return np.where(prepared.any(axis=(1, 2, 3)), checks.read(model, prepared), -1)

    return read


def drawing(digit=4, size=(120, 100), height=0.6, pen=0.04):
    """Return a digit drawn black (0) on white (255), uint8 of shape ``size``."""
    rng = np.random.default_rng(digit)
    ink = draw_digits.ink(rng, draw_digits.HANDS[digit][0], size, height, pen)
    return np.uint8(255 - 255 * ink)


DRAWINGS = [drawing(digit, pen=0.02 + 0.014 * digit) for digit in range(10)]


def likeness(one, other):
    """Return how two prepared digits correlate, one of them shifted by a pixel at most."""
    shifted = [np.roll(other, (row - 1, column - 1), (0, 1)) for row, column in np.ndindex(3, 3)]
    return max(np.corrcoef(one.ravel(), image.ravel())[0, 1] for image in shifted)


def test_pictures_are_those_that_the_script_draws(tmp_path):
    draw_digits.draw_all(tmp_path)
    stored = sorted(DIGITS.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in stored]
    for path in stored:
        if path.suffix == ".png":  # JPEGs differ between versions of its library
            assert np.array_equal(Image.open(path), Image.open(tmp_path / path.name)), path.name
    digits = sum(path.name[0].isdigit() for path in stored)
    readme = " ".join((ROOT / "data" / "README.md").read_text().split())
    for stated in [f"{digits} digits", f"{len(stored) - digits} letters and doodles"]:
        assert stated in readme, f"data/README.md does not say {stated}"


@pytest.mark.parametrize("style", draw_digits.STYLES)
def test_fresh_pictures_are_read(style, read):
    """Sixty pictures from another seed than the stored ones."""
    rng = np.random.default_rng(2_000)
    hands = [draw_digits.HANDS[n % 10] for n in range(60)]
    pictures = [draw_digits.STYLES[style](rng, some[rng.integers(len(some))]) for some in hands]
    share = np.mean(read(pictures) == np.arange(60) % 10)
    assert share >= FLOORS.get(style, 0.9), f"{share:.0%} of the fresh pictures are read"


def test_mnist_passes_through(read, model):
    """Of 2,000 validation images, one may be refused, and two more may be read wrong."""
    images, labels = MNIST["x_train"][-2_000:], MNIST["y_train"][-2_000:]
    plain, answers = checks.read(model, images[..., np.newaxis] / np.float32(255)), read(images)
    lost, refused = np.sum(plain == labels) - np.sum(answers == labels), np.sum(answers == -1)
    assert lost <= 2 and refused <= 1, f"{lost} digits are lost, {refused} of them refused"


def test_an_answer_says_how_sure_it_is(definitions):
    for probability, words in [(0.9, "This looks like a 3"), (0.4, "hard to read, perhaps a 3")]:
        answer = np.where(np.arange(10) == 3, probability, (1 - probability) / 9)[np.newaxis]
        sentence = definitions.read_picture(drawing(), lambda batch: answer, 0.75)  # noqa: B023
        assert words in sentence and f"{probability:.0%}" in sentence
    assert "No digit: blank" in definitions.read_picture(np.zeros((28, 28)), None, 0.75)


def in_bad_light(a):
    """Return ``a`` in a shadow with an edge, in light that falls off downwards, with noise."""
    light = np.where(np.arange(a.shape[1]) > 55, 0.6, 1) * np.linspace(1, 0.4, len(a))[:, None]
    return a * light + np.random.default_rng(0).normal(0, 4, a.shape)


def as_strokes_on_nothing(a):
    """Return ``a`` as a paint program may export it: no paper, and nothing beside the strokes."""
    [box] = ndimage.find_objects(np.int32(a < 128))
    return np.dstack([0 * a[box], 255 - a[box]])


def as_a_turned_photo(a):
    """Return ``a`` as a JPEG that lies on its side, and says so in its EXIF data."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    turned = Image.fromarray(a).transpose(Image.Transpose.ROTATE_90)
    turned.save(file, "JPEG", exif=exif, quality=95)
    return file


CANVAS = [(200, 80), (30, 270), (0, 0)]  # added to rows, columns and channels
CHANGES = {
    "inverted": lambda a: 255 - a,
    "moved": lambda a: np.pad(a, ((9, 60), (40, 3)), constant_values=255),
    "faint": lambda a: np.uint8(100 + a * 0.3),
    "enlarged": lambda a: Image.fromarray(a).resize((237, 284)),
    "in bad light": in_bad_light,
    "with specks": lambda a: np.where(np.random.default_rng(0).random(a.shape) < 0.0005, 0, a),
    "at the edge of a table": lambda a: np.where(np.arange(a.shape[1]) < 6, 0, a),
    "on a transparent canvas": lambda a: np.pad(np.dstack([a, 0 * a + 255]), CANVAS),
    "strokes on nothing": as_strokes_on_nothing,
    "a turned photo": as_a_turned_photo,
    "an array of bool": lambda a: a > 128,
    "an array of 0..1": lambda a: a / 255,
    "16 bits": lambda a: a.astype("uint16") * 257,
    "mode I;16": lambda a: Image.fromarray(a.astype("uint16") * 257),
    "one channel": lambda a: a[..., None],
    "an array of RGB": lambda a: np.dstack([a] * 3),
    "an array of RGBA": lambda a: np.dstack([a] * 3 + [a * 0 + 255]),
    "a list": lambda a: a.tolist(),
    "in colour": lambda a: np.where(a[..., None] > 128, [255, 230, 120], [40, 60, 200]),
}
for mode in ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK"]:
    CHANGES[f"mode {mode}"] = lambda a, mode=mode: Image.fromarray(a).convert(mode)


@pytest.mark.parametrize("change", CHANGES)
def test_change_that_must_not_matter(change, to_mnist):
    for digit, a in enumerate(DRAWINGS):
        alike = likeness(to_mnist(CHANGES[change](a)), to_mnist(a))
        assert alike >= 0.93, f"{change}, the {digit} correlates by {alike:.2f} with what it was"


def test_prepared_digits_have_mnist_s_form(to_mnist):
    for digit in map(to_mnist, DRAWINGS):
        assert digit.shape == (28, 28) and digit.dtype == np.float32
        assert digit.min() >= 0 and digit.max() == 1
        rows, columns = (np.flatnonzero((digit > 0.5).any(axis)) for axis in (1, 0))
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
        assert np.allclose(ndimage.center_of_mass(digit), 14, atol=1)


def test_strokes_that_stand_apart_stay(to_mnist):
    """The second stroke of a 4 does not touch the first, and is no speck."""
    text = "-22,2 18,55 66,55 |-82,5 78,100"
    layer = draw_digits.ink(np.random.default_rng(5), text, (100, 100), 0.7, 0.03)
    assert ndimage.label(layer > 0.5)[1] == 2
    assert ndimage.label(to_mnist(layer) > 0.3, np.ones((3, 3)))[1] == 2


def test_a_row_of_784_numbers_is_an_image_of_mnist(to_mnist):
    image = MNIST["x_train"][0]
    assert np.array_equal(to_mnist(image.ravel()), to_mnist(image))


@pytest.mark.parametrize("convert", [np.array, Image.fromarray])
def test_the_picture_given_is_not_changed(convert, to_mnist):
    to_mnist(picture := convert(drawing(size=(300, 200))))
    assert np.array_equal(picture, drawing(size=(300, 200)))


RED_ON_GREEN = np.where(drawing()[..., None] > 128, [0, 130, 0], [255, 0, 0])
BAD = {  # bytes become a file of that name
    "no picture.png": (b"certainly no picture", "cannot identify .*no picture.png'.* Take a PNG"),
    "empty.png": (b"", "cannot identify .*empty.png'.* Take a PNG"),
    "photo.HEIC": (b"\0\0\0\x18ftypheic" + bytes(99), "cannot identify .*HEIC'.* Take a PNG"),
    "cut.png": ((DIGITS / "3_paint.png").read_bytes()[:500], "truncated.* Take a PNG"),
    "cut.jpg": ((DIGITS / "3_paper.jpg").read_bytes()[:900], "truncated.* Take a PNG"),
    "large.pgm": (b"P5 30000 30000 255 ", "exceeds limit of 178956970 pixels.* Take a PNG"),
    "missing": ("nowhere.png", "No such file.*nowhere.png.* Take a PNG"),
    "a folder": (ROOT, "Is a directory.* Take a PNG"),
    "nothing": (None, "'NoneType'.* Take .* finite numbers"),
    "NaN": (np.full((28, 28), np.nan), "NaNs. Take .* finite numbers"),
    "channels first": (np.zeros((3, 28, 28)), r"Take .* \(rows, columns\) or \(rows"),
    "783 numbers": (np.zeros(783), r"cannot reshape .* Take .* \(rows, columns\) or \(rows"),
    "white": (np.full((50, 60), 255, "uint8"), "blank, too faint"),
    "transparent": (Image.new("RGBA", (30, 30)), "blank, too faint"),
    "as bright as its paper": (np.uint8(RED_ON_GREEN), "ink as bright as its paper"),
    "noise": (np.random.default_rng(1).random((200, 200)), "several digits or noise"),
    "two digits": (np.hstack([drawing(3), drawing(8)]), "2 strokes.* several digits"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_picture_gets_an_error_that_names_the_cause(name, to_mnist, tmp_path):
    picture, message = BAD[name]
    if isinstance(picture, bytes):
        (tmp_path / name).write_bytes(picture)
        picture = tmp_path / name
    with pytest.raises(ValueError, match=message):
        to_mnist(picture)


def test_several_digits_and_noise_are_refused(read):
    images, rng = MNIST["x_train"][:80].reshape(40, 2, 28, 28), np.random.default_rng(3)
    pairs = [Image.fromarray(np.pad(np.hstack(pair), 20)).resize((300, 200)) for pair in images]
    assert np.mean(read(pairs) == -1) >= 0.9, "two digits are read as one"
    # Blank paper in noise of 2 or 5 grey levels.
    pages = [rng.normal(200, 2 + 3 * (n % 2), 2 * [(28, 100, 400)[n % 3]]) for n in range(42)]
    noise = [Image.fromarray(np.uint8(page)) for page in pages]
    assert np.mean(read(noise) == -1) >= 0.9, "noise is read as a digit"
