"""Numbers in sentences are those of the code and the data that the sentences speak of.

Each number in the prose is changed, one at a time. Then one of the phrases below, which are made
from code and data, has to be missing. The numbers for which no phrase is made stand in EXEMPT.
"""

import re
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import MNIST, ROOT, code_cells, numbers, run_cells, tags
from PIL import Image

DIGITS = ROOT / "data" / "digits"
sys.path.append(str(ROOT / "benchmarks"))
import corruptions  # noqa: E402
from recipes import SEVERITY, calibration_error  # noqa: E402

WORDS = "no one two three four five six seven eight nine ten eleven twelve".split()
WORDS += "thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
NUMBER = re.compile(
    r"(?:(?<![\w-])|(?<=\dx))\d[\d,]*(?:\.\d+)*(?![a-wyz\d])"  # not in names: AVX2, MD5, 934632d
    rf"|\b(?:{'|'.join([*WORDS[2:], 'thirty', 'eighty'])})\b",
    re.IGNORECASE,
)
NOT_PROSE = re.compile(r"```.*?```|<!-- (\w+) -->.*?<!-- /\1 -->|\]\([^)]*\)|`[^`\n]*`", re.DOTALL)
# Numbers that no phrase is made for, as they stand in a text, and why.
EXEMPT = {
    "README.md": {
        r"glibc 2\.28 or later.*?a processor with AVX": "what the pinned packages ask for",
        r"digits the table gives two|(?:is less than|counts from) two": "named beside them",
        r"SA 3\.0": "a licence",
        r"3 to 12 minutes": "the quickest and the slowest machine",
        r"On two cores": "about",
        r"last measured with .*? 9\.6%": "rows of an earlier commit",
        r"TensorFlow 2\.16\.1 with Keras 3\.2\.1": "the test below",
    },
    "models/README.md": {
        "three forms, for three kinds": "the files are named below",
        "around 1990": "history",
    },
    "data/README.md": {
        r"Special Databases 1 and 3|Alike 3\.0|version 1\.2\.6": "names and versions of others",
        "shows a 7": "its name says so",
        r"two tones|Two styles.*?drawn to look": "read off the program's functions",
    },
    "benchmarks/README.md": {
        "others, 2017": "the year of a source",
        r"## What to keep in mind.*?## A study": "measured once, with the commands, on machines "
        "and at the commits that are named there; results.csv does not hold them",
    },
    "tests/README.md": {"a minute or two": "about"},
    "notebooks/mnist_cnn.ipynb": {
        r"pad with a \d,.*?augmented reads \d": "the pad's test compares what its picture says",
        r"other parts ask: 2\. .*?6\. How": "the parts' numbers",
        r"like a photo: 1\. Read|\. \d\. (?:Make|Remove|Keep|Cut)": "the steps' numbers",
        r"Exercises 1\.|avoid\? 2\.|is it\? 3\.|each\? 4\.|Solution \d": "the exercises' numbers",
        r"(?:Mueller \(|others, )\d{4}": "the year of a source",
        r"four other collections.*?\d+% and \d+%": "pictures that are not in the project",
        r"five people each|than three of the five": "told by the source",
        r"a 6 of a 0|a 3 and an 8|probability of 90%, nine in ten": "examples",
        r"two (?:losses|columns|rows|reads|networks|steps)": "as many as are named beside it",
        r"near 100%": "a limit",
        r"some by more than ten": "points, seen with other seeds",
        r"answer at 0.2%.*?at 5%": "measured by the solution; it says about",
        r"about 90%": "Fashion-MNIST has to be downloaded; measured with another edition",
        r"3 of 5: 6": "an example of a note",
    },
}


def prose(text):
    """Return ``text`` without code, tables that a tool writes, and addresses, as one line."""
    return " ".join(NOT_PROSE.sub(" ", text).split())


def unnoticed(text, phrases, exempt):
    """Return the numbers of ``text``, with what stands around them, that can be changed without
    one of ``phrases`` getting lost.
    """
    spared = [found.span() for pattern in exempt for found in re.finditer(pattern, text)]
    left = []
    for number in NUMBER.finditer(text):
        start, end = number.span()
        other = "some"
        if text[start].isdigit():
            other = f"{(int(text[start]) + 1) % 10}{text[start + 1 : end]}"
        changed = text[:start] + other + text[end:]
        exempted = any(first <= start < last for first, last in spared)
        if not exempted and all(phrase in changed for phrase in phrases):
            left.append(text[max(start - 40, 0) : end + 40])
    return left


def phrases_of(saved, definitions):
    """Return by file what its sentences have to say, made from code, data and outputs.

    The phrases stand one a line, or several with ~ between them.
    """
    code = "\n".join(cell.source for cell in code_cells(saved))
    names = run_cells("imports", "parameters", "definitions", "model", "disputed")
    rows = pd.read_csv(ROOT / "benchmarks" / "results.csv")
    [seeds] = set(rows.groupby("recipe").seed.nunique())
    shares = {recipe: 100 * group for recipe, group in rows.groupby("recipe").accuracy}
    part_1, one_epoch, ours = (shares[recipe] for recipe in ("ours-part-1", "ours-1", "ours"))
    images, labels = MNIST["x_train"], MNIST["y_train"]
    train, test, held_back = len(images), len(MNIST["x_test"]), names.VALIDATION_SIZE
    black, white, batch = images.min(), images.max(), names.BATCH_SIZE
    steps = -(-(train - held_back) // batch)
    # The layers: s and t are the sizes of the two kinds of filters.
    first, _, second, _, flat, dense, _, last = names.model.layers
    s, t = first.kernel_size[0], second.kernel_size[0]
    filters, patterns, units = first.filters, second.filters, dense.units
    a, b, _, d = (layer.output.shape[1] for layer in names.model.layers[:4])
    responses, dense_share = flat.output.shape[1], dense.count_params() / names.model.count_params()
    eight, ten, three = WORDS[len(names.model.layers)], WORDS[last.units], WORDS[3]
    five = WORDS[seeds]
    moved = re.search(r"pad with a (\d)", saved.cells[0].source)[1]

    def find(pattern, source=code):
        """Return the one number that ``pattern`` finds in ``source``."""
        [number] = set(re.findall(pattern, source))
        return float(number) if "." in number else int(number)

    few, rate = find(r"x_train\[:(\d+)\], x_train.shape"), find(r"CosineDecay\(([\d.]+),")
    warp, shift = (find(rf"uniform\(\(n, 2, {n}\), -([\d.]+), ") for n in (2, 1))
    turn, drawn = 360 * find(r"RandomRotation\(\(([\d.]+), "), np.degrees(np.arctan(warp))
    share = find(r"threshold = np.quantile\(robust_answers.*, ([\d.]+)\)")
    near = find(r"np.roll\(x_val, \((\d), \d\), axis=\(1, 2\)\), verbose")
    _, nearer, _, farther = map(int, re.search(r"for pixels in \[(.*)\]", code)[1].split(", "))
    low, high = (find(rf"pd.cut\(confidence, \[{n}([\d.]+),") for n in (r"0, ", r"0, [\d.]+, "))
    [told] = [cell.outputs[0].text for cell in code_cells(saved) if "threshold" in tags(cell)]
    avoided, _, lost = numbers(told.splitlines()[1])[1:]
    [kinds] = [cell.source for cell in code_cells(saved) if "changes" in tags(cell)]
    kinds = re.findall(r'^    "(.*)": ', kinds, re.MULTILINE)
    starred, faults = WORDS[sum("*" in kind for kind in kinds)], len(corruptions.KINDS)
    digits = [path for path in DIGITS.iterdir() if path.name[0].isdigit()]
    large = [path for path in digits if path.stem.endswith("large")]
    styles = len({path.stem[2:] for path in digits} - {"large"})
    pixels = round(np.prod(Image.open(large[0]).size) / 1e6)
    shapes = [" ".join(f"| | | {array.shape} | uint8 |".split()) for array in MNIST.values()]

    texts = {
        "README.md": f"""
Python 3.11, 3.12 or 3.13 ~ Measured by : {five} seeds each ~ each of the {ten} digits
{WORDS[len(kinds)]} pictures: as it is ~ over {five} seeds, on the {test:,} test images
a {moved} that is moved ~ the 28x28 pixels that both networks get
Two trainings differ in it alone ~ the weights of the last epoch, {test:,} test images
the test images with {faults} kinds of faults, of severity {SEVERITY} of 3
""",
        "models/README.md": f"""
trained for {three} epochs ~ and gives {ten} probabilities. [The ~ {five} seeds: see
network of {eight} Keras layers that reads one handwritten digit, 0 to 9, from a 28x28
a letter gets {ten} probabilities too ~ and give {ten} probabilities for each
trained on {train - held_back:,} digits ~ the {test:,} test images
Of the {train:,} training images the last {held_back:,} are held back
of shape (n, 28, 28, 1), from 0 (black background) to 1 (white ink)
""",
        "data/README.md": f"""
{" ".join(shapes)} ~ Pixels are {black} (black background) to {white}
the digits {labels.min()} to {labels.max()}. ~ Built from the four IDX files
There are {len(digits)} digits, {ten} in each of {WORDS[styles]} styles
styles and {WORDS[len(large)]} more ~ {WORDS[len(large)]} ones, of {pixels} megapixels
show {len(list(DIGITS.glob("no_*")))} letters and doodles
""",
        "benchmarks/README.md": f"""
MNIST's {test:,} test images ~ calibration error in {calibration_error.__defaults__[0]} bins
in {faults} kinds of imperfection ( , severity {SEVERITY} of 3); fifteen of them
from the {test:,} test images
""",
        "tests/README.md": "",
        "notebooks/mnist_cnn.ipynb": f"""
Train for {three} epochs ~ After {three} epochs the network ~ Ask {three} networks about all kinds
a move by {WORDS[nearer]} pixels far better. A move by {WORDS[farther]} pixels defeats all {three}.
one of the {ten}, and move ~ Over {five} seeds ~ seldom by more than two.
means above {low} and up to {high}. ~ has to read about {WORDS[round(lost / avoided)]} right answers
It needs two more packages ~ more than two pieces are left ~ in all {three} forms
Part I's network with {WORDS[5]} seeds ~ Solution 3: {WORDS[5]} seeds ~ With {five} seeds each
the meaning of the {ten} classes
{train:,} handwritten digits to learn from and {test:,} to test with
{images.shape[1]}x{images.shape[2]} numbers, from {black} (black background) to {white} (white ink)
a {labels[0]}: ## Prepare **Scale** the numbers to between 0 and 1,
one for grey, three for colour ~ Hold back the last {held_back:,} images
the labels: {ten} numbers each, a 1 in the place of the digit and 0 elsewhere. The
will answer with {ten} probabilities ~ There are {eight} layers ~ a neuron for {s}x{s} pixels
so {filters} filters make {filters} ~ in each 2x2 square ~ across all {filters} channels
layer has {units} neurons ~ half of the features to 0 in each training step. So
makes {ten} scores ~ 2·(3x + 1) is 6x + 2
**ReLU** replaces negative sums by 0. Without it, two dense layers
a {s}x{s} filter fits into 28 pixels at {a} places, pooling halves {a} to {b},
and in the end {d}·{d}·{patterns} is {responses:,}
positive and add up to 1. The scores 2, 1 and 0 become ~ takes a **batch** of {batch} images
{train - held_back:,} images make {steps} batches ~ make each step {steps} times as long
a loss of about {np.log(10):.2f} ~ row 2, column 2 of the first ~ usually 0.001
gives {ten} probabilities for each image, for the digits 0 to 9
directly to the {ten} neurons ~ one time in {ten}? ~ ReLU makes it 0.
a move by {WORDS[near]} pixels, from 0 to 9: ~ read each digit about {held_back // 10} times
comes from {s}x{s} pixels. The layer multiplies them by the {s * s} weights
the largest of {WORDS[4]} responses ~ The first layer makes {filters} channels
looks at {t}x{t} places in all of them at once. It has {t}·{t}·{filters} weights
So the {patterns} filters have ({t}·{t}·{filters} + 1)·{patterns} = {second.count_params():,} param
({responses:,} + 1)·{units} = {dense.count_params():,}, which is {dense_share:.0%} of all
moved by four pixels, through the first four layers ~ from four places to two and to one
each of the {d}x{d} places ~ falls from {rate} to 0. ~ with {few} different images
With {few} images, the loss on these images is nearly 0, ~ Black is 0 and white is 1,
marks {starred} kinds ~ tried on {held_back:,} images ~ into batches of {batch}
The first {WORDS[batch // 40]} images get the first change, the next {WORDS[batch // 40]} the second
turned by up to {drawn:.0f} degrees, sheared and stretched by up to {warp:.0%},
and moved by up to {WORDS[round(shift)]} pixels
between two bounds, and is 1 in a random strip of the picture and 0 elsewhere
Wilson's 95% interval
{five.title()} trainings with other seeds have a mean of {ours.mean():.2f}% and a standard
deviation of {ours.std():.2f} points
by {turn:.0f} degrees, there by {drawn:.0f} at most ~ In {len(names.votes)} images
it withholds {share:.0%} of the answers ~ least certain {share:.0%} of the answers
a box of 20x20 pixels, and placed it in 28x28 pixels ~ has {ten} answers and no other
negative numbers by 0 | ~ probabilities that add up to 1 |
half of the features to 0 in each training step, and none
the same {eight} layers on ~ Train the {eight} layers once
deviation is about {part_1.std():.1f} points. So a difference of {part_1.std():.1f} points
one epoch reads {one_epoch.mean():.2f}% of the test images,
and Part I's {three} epochs {part_1.mean():.2f}% ~ more than {WORDS[3 - 1]} more epochs
""",
    }
    return {file: re.split(r"\n| ~ ", text.strip()) for file, text in texts.items()}


@pytest.fixture(scope="module")
def phrases(saved, definitions):
    return phrases_of(saved, definitions)


@pytest.mark.parametrize("name", EXEMPT)
def test_numbers_in_sentences(saved, phrases, name):
    text = (ROOT / name).read_text()
    if name.endswith(".ipynb"):
        text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    text = prose(text)
    assert not [phrase for phrase in phrases[name] if phrase not in text]
    left = unnoticed(text, phrases[name], EXEMPT[name])
    assert not left, "\n".join(left)


def test_the_core_packages_and_their_oldest_versions_are_told():
    core = (ROOT / "tests" / "elsewhere" / "core.txt").read_text()
    tensorflow, keras, *others = re.findall("^[a-z].*", core, re.M)
    core = f"`pip install {' '.join(['tensorflow', *others])}`"
    oldest = f"TensorFlow {tensorflow.split('==')[1]} with Keras {keras.split('==')[1]}"
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert core in readme and oldest in readme
    assert oldest in (ROOT / "requirements.txt").read_text()


def test_which_kinds_gain_and_lose_without_being_in_the_augmentation():
    rows = pd.read_csv(ROOT / "benchmarks" / "results.csv").set_index("recipe").filter(like="kind_")
    plain, augmented = rows.loc["ours-control"], rows.loc["ours"]
    error = np.sqrt((plain.var() + augmented.var()) / len(plain))
    saved = ((plain.mean() - augmented.mean()) / error)["kind_ringed":"kind_neighbour"]
    assert list(saved.index[saved > 2]) == ["kind_wavy"], saved
    assert list(saved.index[saved < -2]) == ["kind_ringed"], saved
