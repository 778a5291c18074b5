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
        r"3 to 12 minutes.*?three times that": "the quickest and the slowest machine",
        r"On two cores": "about",
    },
    "models/README.md": {
        "three forms, for three kinds": "the files are named below",
        "around 1990": "history",
    },
    "data/README.md": {
        r"Special Databases 1 and 3|Alike 3\.0|version 1\.2\.6": "names and versions of others",
        "shows a 7": "its name says so",
        r"two tones|Four styles.*?drawn to look": "read off the program's functions",
    },
    "benchmarks/README.md": {
        "others, 2017": "the year of a source",
        r"## What to keep in mind.*?## A study": "measured once, with the commands, on machines "
        "and at the commits that are named there; results.csv does not hold them",
    },
    "tests/README.md": {"a minute or two": "about"},
    "notebooks/mnist_cnn.ipynb": {
        r"pad with a 3,.*?augmented reads 3": "the pad's test compares what its picture says",
        r"other parts ask: 2\. .*?6\. How": "the parts' numbers",
        r"like a photo: 1\. Read|\. \d\. (?:Make|Remove|Keep|Cut)": "the steps' numbers",
        r"Exercises 1\.|avoid\? 2\.|is it\? 3\.|each\? 4\.|Solution \d": "the exercises' numbers",
        r"(?:Mueller \(|others, )\d{4}": "the year of a source",
        r"Four collections.*?\d+% and \d+%": "measured on pictures that are not in the project",
        r"five people each|than three of the five": "told by the source",
        r"a 6 of a 0|a 3 and an 8|probability of 90%, nine in ten": "examples",
        r"two (?:losses|columns|rows|reads|networks)": "as many as are named beside it",
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
        if any(first <= start < last for first, last in spared):
            continue
        other = (
            f"{(int(text[start]) + 1) % 10}" + text[start + 1 : end]
            if text[start].isdigit()
            else "some"
        )
        changed = text[:start] + other + text[end:]
        if all(phrase in changed for phrase in phrases):
            left.append(text[max(start - 40, 0) : end + 40])
    return left


def readme_phrases(saved, definitions):
    """Return by file what the READMEs have to say, made from code and data."""
    rows = pd.read_csv(ROOT / "benchmarks" / "results.csv")
    [seeds] = set(rows.groupby("recipe").seed.nunique())
    train, test = (f"{len(MNIST[name]):,}" for name in ("x_train", "x_test"))
    held_back = f"{definitions.VALIDATION_SIZE:,}"
    kinds = len(corruptions.KINDS)
    shown = kinds_shown(saved)
    shapes = [" ".join(f"| | | {array.shape} | uint8 |".split()) for array in MNIST.values()]
    digits = [path for path in DIGITS.iterdir() if path.name[0].isdigit()]
    others = len(list(DIGITS.glob("no_*")))
    styles = {path.stem[2:] for path in digits} - {"large"}
    large = [path for path in digits if path.stem.endswith("large")]
    pixels = round(np.prod(Image.open(large[0]).size) / 1e6)
    pythons = [f"3.{minor}" for minor in range(11, 14)]
    return {
        "README.md": [
            f"Python {', '.join(pythons[:-1])} or {pythons[-1]}",
            f"Measured by : {WORDS[seeds]} seeds each",
            f"{WORDS[len(shown)]} pictures: as it is",
            f"over {WORDS[seeds]} seeds, on the {test} test images",
            "a 3 that is moved",
            "the 28x28 pixels that both networks get",
            f"each of the {WORDS[10]} digits",
            "Two trainings differ in it alone",
            f"the weights of the last epoch, {test} test images",
            f"the test images with {kinds} kinds of faults, of severity {SEVERITY} of 3",
        ],
        "models/README.md": [
            f"trained for {WORDS[3]} epochs",
            "network of eight Keras layers that reads one handwritten digit, 0 to 9, from a 28x28",
            "and gives ten probabilities. [The",
            "a letter gets ten probabilities too",
            "and give ten probabilities for each",
            f"trained on {len(MNIST['x_train']) - definitions.VALIDATION_SIZE:,} digits",
            f"Of the {train} training images the last {held_back} are held back",
            f"the {test} test images",
            f"{WORDS[seeds]} seeds: see",
            "of shape (n, 28, 28, 1), from 0 (black background) to 1 (white ink)",
        ],
        "data/README.md": [
            " ".join(shapes),
            f"Pixels are {MNIST['x_train'].min()} (black background) to {MNIST['x_train'].max()}",
            f"the digits {MNIST['y_train'].min()} to {MNIST['y_train'].max()}.",
            "Built from the four IDX files",
            f"There are {len(digits)} digits, ten in each of {WORDS[len(styles)]} styles",
            f"styles and {WORDS[len(large)]} more",
            f"{WORDS[len(large)]} ones, of {pixels} megapixels",
            f"show {others} letters and doodles",
        ],
        "benchmarks/README.md": [
            f"MNIST's {test} test images",
            f"calibration error in {calibration_error.__defaults__[0]} bins",
            f"in {kinds} kinds of imperfection ( , severity {SEVERITY} of 3); fifteen of them",
            f"from the {test} test images",
        ],
        "tests/README.md": [],
    }


def kinds_shown(saved):
    """Return the names of the kinds of pictures that the lesson shows."""
    [cell] = [cell for cell in saved.cells if "changes" in tags(cell)]
    return re.findall(r'^    "(.*)": ', cell.source, re.MULTILINE)


def lesson_phrases(saved):
    """Return what the lesson's prose has to say, made from its code, its data and its outputs."""
    names = run_cells("imports", "parameters", "definitions", "model", "disputed", "own-digits")
    code = "\n".join(cell.source for cell in code_cells(saved))
    rows = pd.read_csv(ROOT / "benchmarks" / "results.csv")
    by = "deviation is about {0:.1f} points. So a difference of {0:.1f} points"
    part_1, one_epoch, ours = (
        100 * rows.accuracy[rows.recipe == recipe] for recipe in ("ours-part-1", "ours-1", "ours")
    )
    [seeds] = set(rows.groupby("recipe").seed.nunique())
    train, test, held_back = len(MNIST["x_train"]), len(MNIST["x_test"]), names.VALIDATION_SIZE
    steps = -(-(train - held_back) // names.BATCH_SIZE)
    first, _, second, _, flat, dense, _, last = names.model.layers
    ten, filters = WORDS[last.units], first.filters
    sizes = [layer.output.shape[1] for layer in names.model.layers[:4]]
    whole = names.model.count_params()
    [few] = re.findall(r"x_train\[:(\d+)\], x_train.shape", code)
    [rate] = re.findall(r"CosineDecay\(([\d.]+),", code)
    [warp, shift] = re.findall(r"uniform\(\(n, 2, .\), -([\d.]+), ", code)
    [turn] = re.findall(r"RandomRotation\(\(([\d.]+), ", code)
    [share] = re.findall(r"threshold = np.quantile\(robust_answers.*, ([\d.]+)\)", code)
    [near] = re.findall(r"np.roll\(x_val, \((\d), \d\), axis=\(1, 2\)\), verbose", code)
    kinds = sum("*" in kind for kind in kinds_shown(saved))
    drawn = round(np.degrees(np.arctan(float(warp))))
    moves = re.search(r"for pixels in \[(.*)\]", code)[1].split(", ")
    [low, high] = re.search(r"pd.cut\(confidence, \[0, ([\d.]+), ([\d.]+)", code).groups()
    [told] = [c.outputs[0].text for c in code_cells(saved) if "threshold" in tags(c)]
    avoided, _, lost = numbers(told.splitlines()[1])[1:]
    return [
        f"Train for {WORDS[3]} epochs",
        f"a move by {WORDS[int(moves[1])]} pixels far better. A move by {WORDS[int(moves[-1])]} "
        f"pixels defeats all {WORDS[3]}.",
        f"After {WORDS[3]} epochs the network",
        f"Ask {WORDS[3]} networks about all kinds",
        f"one of the {ten}, and move",
        f"Over {WORDS[seeds]} seeds",
        "seldom by more than two.",
        f"means above {low} and up to {high}.",
        f"has to read about {WORDS[round(lost / avoided)]} right answers",
        "It needs two more packages",
        "more than two pieces are left",
        f"in all {WORDS[3]} forms",
        f"Part I's network with {WORDS[5]} seeds",
        f"Solution 3: {WORDS[5]} seeds",
        f"the meaning of the {ten} classes",
        "second convolution has 96 filters",
        f"With {WORDS[seeds]} seeds each",
        f"{train:,} handwritten digits to learn from and {test:,} to test with",
        f"{MNIST['x_train'].shape[1]}x{MNIST['x_train'].shape[2]} numbers, from "
        f"{MNIST['x_train'].min()} (black background) to {MNIST['x_train'].max()} (white ink)",
        f"a {MNIST['y_train'][0]}: ## Prepare **Scale** the numbers to between 0 and 1,",
        "one for grey, three for colour",
        f"the labels: {ten} numbers each, a 1 in the place of the digit and 0 elsewhere. The",
        f"will answer with {ten} probabilities",
        f"Hold back the last {held_back:,} images",
        f"There are {WORDS[len(names.model.layers)]} layers",
        f"a neuron for {first.kernel_size[0]}x{first.kernel_size[1]} pixels",
        f"so {filters} filters make {filters}",
        "in each 2x2 square",
        f"across all {filters} channels",
        f"layer has {dense.units} neurons",
        "half of the features to 0 in each training step. So",
        f"makes {ten} scores",
        "**ReLU** replaces negative sums by 0. Without it, two dense layers",
        "2·(3x + 1) is 6x + 2",
        f"a 5x5 filter fits into 28 pixels at {sizes[0]} places, pooling halves {sizes[0]} to "
        f"{sizes[1]}, and in the end {sizes[3]}·{sizes[3]}·{second.filters} is "
        f"{flat.output.shape[1]:,}",
        "positive and add up to 1. The scores 2, 1 and 0 become",
        f"takes a **batch** of {names.BATCH_SIZE} images",
        f"{train - held_back:,} images make {steps} batches",
        f"make each step {steps} times as long",
        f"a loss of about {np.log(10):.2f}",
        f"gives {ten} probabilities for each image, for the digits 0 to 9",
        "row 2, column 2, input channel 0 of",
        "usually 0.001",
        f"directly to the {ten} neurons",
        f"a move by {WORDS[int(near)]} pixels, from 0 to 9: A guesser would read each digit about "
        f"{held_back // 10} times",
        f"one time in {ten}?",
        "comes from 5x5 pixels. The layer multiplies them by the 25 weights",
        "ReLU makes it 0.",
        f"the largest of {WORDS[4]} responses",
        f"The first layer makes {filters} channels",
        f"looks at 3x3 places in all of them at once. It has 3·3·{filters} weights",
        f"So the {second.filters} filters have (3·3·{filters} + 1)·{second.filters} = "
        f"{second.count_params():,} parameters",
        f"({flat.output.shape[1]:,} + 1)·{dense.units} = {dense.count_params():,}, which is "
        f"{dense.count_params() / whole:.0%} of all",
        f"moved by {WORDS[4]} pixels, through the first {WORDS[4]} layers",
        f"from {WORDS[4]} places to {WORDS[2]} and to one",
        f"each of the {sizes[3]}x{sizes[3]} places",
        f"falls from {rate} to 0.",
        f"with {few} different images",
        f"With {few} images, the loss on these images is nearly 0,",
        "Black is 0 and white is 1,",
        f"marks {WORDS[kinds]} kinds",
        f"turned by up to {drawn} degrees, sheared and stretched by up to {float(warp):.0%}, "
        f"and moved by up to {WORDS[round(float(shift))]} pixels",
        "between two bounds, and is 1 in a random strip of the picture and 0 elsewhere",
        f"into batches of {names.BATCH_SIZE}",
        f"a mean of {ours.mean():.2f}% and a standard deviation of {ours.std():.2f} points",
        f"by {round(360 * float(turn))} degrees, there by {drawn} at most",
        f"tried on {held_back:,} images",
        f"In {len(names.votes)} images",
        f"it withholds {float(share):.0%} of the answers",
        f"least certain {float(share):.0%} of the answers",
        "a box of 20x20 pixels, and placed it in 28x28 pixels",
        f"has {ten} answers and no other",
        "negative numbers by 0 |",
        "probabilities that add up to 1 |",
        "half of the features to 0 in each training step, and none",
        f"the same {WORDS[len(names.model.layers)]} layers on",
        f"Train the {WORDS[len(names.model.layers)]} layers once",
        by.format(part_1.std()),
        f"one epoch reads {one_epoch.mean():.2f}% of the test images, and Part I's "
        f"{WORDS[3]} epochs {part_1.mean():.2f}%",
    ]


@pytest.mark.parametrize("name", EXEMPT)
def test_numbers_in_sentences(saved, definitions, name):
    if name.endswith(".ipynb"):
        text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
        phrases = lesson_phrases(saved)
    else:
        text = (ROOT / name).read_text()
        phrases = readme_phrases(saved, definitions)[name]
    text = prose(text)
    assert not [phrase for phrase in phrases if phrase not in text]
    left = unnoticed(text, phrases, EXEMPT[name])
    assert not left, "\n".join(left)


def test_the_core_packages_are_told():
    core = (ROOT / "tests" / "elsewhere" / "core.txt").read_text().split()
    assert f"`pip install {' '.join(core)}`" in " ".join((ROOT / "README.md").read_text().split())
