"""Numbers in sentences are those of the code and the data that the sentences speak of."""

import re
import sys

import numpy as np
import pandas as pd
from checks import MNIST
from conftest import ROOT, code_cells, run_cells, tags
from PIL import Image

sys.path.append(str(ROOT / "benchmarks"))
import corruptions  # noqa: E402
import report  # noqa: E402
from recipes import SEVERITY, calibration_error  # noqa: E402

DIGITS = ROOT / "data" / "digits"
WORDS = "no one two three four five six seven eight nine ten".split()


def demand(text, stated):
    """Raise unless ``text`` has each of the phrases ``stated``, whatever its lines' ends."""
    text = " ".join(text.split())
    missing = [phrase for phrase in stated if phrase not in text]
    assert not missing, f"the text does not say {missing}, as the code and the data do"


def test_numbers_in_the_lesson(saved):
    text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in code_cells(saved))
    names = run_cells("imports", "parameters", "seed", "definitions", "model", "disputed")
    saw, (first, pool, _, coarse, _, dense, *_) = (
        list(names.people_saw.values()),
        names.model.layers,
    )
    kernel, size, filters = first.kernel_size[0], first.output.shape[1], names.FILTERS_1
    [rate] = re.findall(r"CosineDecay\(([\d.]+),", code)
    [(low, high)] = re.findall(r"most \* tf\.nn\.relu\(.*, -([\d.]+), ([\d.]+)\)\)", code)
    [withheld] = re.findall(r"np\.quantile\(val_probabilities.*, ([\d.]+)\)", code)
    [wide] = re.findall(r"int\(([\d.]+) \* max\(bright", code)
    [share] = re.findall(r"BATCH_SIZE // (\d)", code)
    [pixels] = {path.stem: Image.open(path).size for path in DIGITS.glob("3_large*")}.values()
    demand(
        text,
        [
            f"MNIST has {len(MNIST['x_train']):,} handwritten digits to learn from and "
            f"{len(MNIST['x_test']):,} to test with",
            f"combines them into {dense.units} features",
            f"If each digit gets a tenth, that is {np.log(10):.2f}.",
            f"a {kernel}x{kernel} filter fits into 28 pixels at {size} positions, and pooling "
            f"halves {size} to {pool.output.shape[1]}.",
            f"Its {kernel**2} weights are its **filter**",
            f"{kernel}·{kernel}·1·{filters} + {filters} = {first.count_params()}.",
            f"each of the {coarse.output.shape[1]}x{coarse.output.shape[2]} places that are left",
            f"fall from {rate} to 0, along a cosine",
            f"touch about one image in {WORDS[round((float(low) + float(high)) / float(high))]},",
            f"In {WORDS[sum(digit.isdigit() for digit in saw)]} images most people saw another",
            f"in {WORDS[saw.count('no digit')]} no digit at all",
            f"On {WORDS[saw.count('they differ')]} images they did not agree",
            f"so that {float(withheld):.0%} of the answers there fall below it",
            f"and a {dict(zip('45', ['quarter', 'fifth']))[share]} of them are roughened too",
            f"wider than {wide} of the picture",
            f"`large` has {round(np.prod(pixels) / 1e6)} megapixels",
        ],
    )


def test_numbers_in_the_readmes(definitions, saved):
    [training] = [cell for cell in code_cells(saved) if "train-first" in tags(cell)]
    *first, last = re.findall(r" (\d+)s - ", training.outputs[0].text)
    rows = pd.read_csv(ROOT / "benchmarks" / "results.csv")
    [seeds] = set(rows.groupby("recipe").seed.nunique())
    core = (ROOT / "tests" / "elsewhere" / "core.txt").read_text().split()
    kinds = len(corruptions.KINDS)
    demand(
        (ROOT / "README.md").read_text(),
        [
            f"`pip install {' '.join(core)}`",
            f"`make bench`: {WORDS[seeds]} seeds each",
            f"{len(MNIST['x_test']):,} test images",
            f"the test images with {kinds} kinds of faults",
            f"kindred faults of all but {' and '.join(report.UNLIKE)}",
        ],
    )
    demand(
        (ROOT / "benchmarks" / "README.md").read_text(),
        [
            f"in {kinds} kinds of imperfection (`corruptions.py`, severity {SEVERITY} of 3)",
            f"MNIST's {len(MNIST['x_test']):,} test images",
            f"one training step of {definitions.BATCH_SIZE} images",
            f"In the run of Part I that is saved, the epochs took {', '.join(first)} and {last} s.",
            f"the expected calibration error in {calibration_error.__defaults__[0]} bins",
        ],
    )
