"""Numbers in sentences are those of the code and the data that the sentences speak of."""

import re

import corruptions
import numpy as np
import pandas as pd
import pytest
import recipes
from conftest import CELLS, MNIST, ROOT, TEXT, run_cells, tags
from PIL import Image
from told import says

# All numbers that stand below a heading, in order, by file: expressions of the names that
# the fixture `names` has, or of these reasons why a number may be any.
REASONS = {
    "beside": "as many as are named beside it",
    "by_others": "the year, version, licence or claim of a source",
    "elsewhere": "measured with pictures that are not in the project, or have to be downloaded",
    "example": "an example",
    "measured": "measured once, with the commands, machine and commit that are named there",
    "nth": "the number of a part, a step or an exercise, or a limit",
    "packages": "what the pinned packages ask for, and what the tests below tell",
    "pad": "the pad's test compares what its picture says",
    "seen": "seen with several seeds",
    "style": "read off the program's functions",
}
EXPECTED = """
README.md
  MNIST with a small Keras CNN, in one notebook = beside, len(kinds), seeds, test, beside, beside,
    pad, side, side, classes
  Run it = *14 * [packages]
  How good is it? = seeds, test, faults, severity, 3, beside, measured, measured
  Change it = by_others
models/README.md
  Model card: mnist_cnn = beside, beside, epochs, all_layers, 0, 9, side, side, classes, learned,
    by_others, classes, train, held_back, test, seeds, side, side, 1, black, 1, classes
data/README.md
  mnist.npz: the MNIST handwritten digits = *shapes, black, white, *to_nine, *3 * [by_others],
    len(shapes) - 4, *2 * [by_others]
  digits/: pictures to try the network on = nth, digits, classes, styles, large, style, side, side,
    style, style, large, pixels, others
benchmarks/README.md
  The benchmark: all recipes, all measures = test, bins, by_others, faults, severity, 3, faults - 3
  The lesson's kinds of pictures = test
  What to keep in mind = *10 * [measured]
  Where the time goes = *17 * [measured]
  How settings were chosen = *38 * [measured]
tests/README.md
  To check one thing alone = nth
notebooks/mnist_cnn.ipynb
  Read handwritten digits with a small neural network = *4 * [pad], beside, *5 * [nth]
  Look at the data = train, test, side, side, black, white, first_label
  Prepare = 0, 1, 3, classes, 1, 0, classes, held_back
  Build the network = all_layers, s, s, filters, filters, 2, 2, filters, units, 0, classes, 3, 0,
    2, *5 * [example], s, s, side, a, a, b, d, d, patterns, responses, 1, *3 * [example]
  Train = batch, epochs, learned, steps, steps, log_ten
  Look at the answers = classes, *to_nine
  One step by hand = 2, 2, 0.001
  Would less do? = classes, nearer, farther, 3, classes, far, *to_nine, held_back / 10
  What a convolution does = s, s, s * s, 0, 4, filters, t, t, t, t, filters, patterns, t, t,
    filters, 1, patterns, second, responses, 1, units, dense, dense_share, far, 4, far, far / 2,
    d, d
  Longer, with a falling learning rate = epochs, rate, 0, usual, memory
  Overfitting = few, few, 0
  The same digits, changed = 0, 1, starred
  Augmentation = drawn, 100 * warp, shift, beside, 1, 0, example, example, batch, part, part,
    batch - changes * part, beside
  What did augmentation buy? = 3, 2, turn, drawn, seeds, 2, held_back, seen, 2
  Draw and compare = classes
  The test, once = 95, seeds, mean, deviation, beside, beside
  Every mistake = by_others, by_others, votes, 3, by_others, *5 * [example]
  Can you believe its probabilities? = *3 * [example], 2, low, high
  When to say "I do not know" = share, lost / avoided
  What a picture needs = 20, 20, side, side, by_others, 2, *4 * [nth], 2, nth
  What do the steps buy? = beside, *7 * [elsewhere]
  Not digits = classes
  Part VI: How do I use it elsewhere? = 3
  Recap = 0, 1, 0
  Exercises = nth, share, nth, all_layers, nth, seeds, 2, nth, all_layers, nth, *5 * [seen], nth,
    classes, elsewhere, example, example, nth, seeds, part_1_deviation, part_1_deviation, 2, nth,
    seeds, one_epoch, one_epoch_deviation, epochs, part_1, part_1_deviation, epochs - 1
"""
FILES = re.findall(r"^\S+", EXPECTED, re.M)
NOT_PROSE = re.compile(r"```.*?```|<!-- (\w+) -->.*?<!-- /\1 -->|\]\([^)]*\)|`[^`\n]*`", re.DOTALL)


@pytest.fixture(scope="module")
def names():
    """The names of EXPECTED and what they stand for, made from code, data and outputs."""
    lesson = run_cells("imports", "parameters", "definitions", "model", "disputed")
    code = "\n".join(cell.source for cell in CELLS)
    [told] = [cell.outputs[0].text for cell in CELLS if "threshold" in tags(cell)]
    [kinds] = [cell.source for cell in CELLS if "changes" in tags(cell)]

    def find(pattern, source=code):
        """Return the one number that ``pattern`` finds in ``source``."""
        [number] = set(re.findall(pattern, source))
        return float(number)

    # The data.
    train, test, held_back = len(MNIST["x_train"]), len(MNIST["x_test"]), lesson.VALIDATION_SIZE
    black, white, side = MNIST["x_train"].min(), MNIST["x_train"].max(), MNIST["x_train"].shape[1]
    shapes, first_label = [n for a in MNIST.values() for n in a.shape], MNIST["y_train"][0]
    learned, batch, to_nine = train - held_back, lesson.BATCH_SIZE, (0, 9)
    steps, part, votes, log_ten = -(-learned // batch), batch // 40, len(lesson.votes), np.log(10)
    # The layers: s and t are the sizes of the two kinds of filters, a, b and d of the responses.
    network = lesson.model.layers
    s, t = (network[n].kernel_size[0] for n in (0, 2))
    a, b, _, d = (layer.output.shape[1] for layer in network[:4])
    filters, patterns, units, classes = (network[n].output.shape[-1] for n in (0, 2, 5, 7))
    second, dense = (network[n].count_params() for n in (2, 5))
    responses, all_layers = network[4].output.shape[1], len(network)
    dense_share = 100 * dense / lesson.model.count_params()
    # The code.
    epochs, rate = find(r"epochs=(\d), val"), find(r"CosineDecay\(([\d.]+),")
    betas = lesson.keras.optimizers.Adam().beta_2, find(r"beta_2=([\d.]+)")
    usual, memory = (1 / (1 - beta) for beta in betas)  # in steps
    few = find(r"x_train\[:(\d+)\], x_train.shape")
    warp, shift = (find(rf"uniform\(\(n, 2, {n}\), -([\d.]+), ") for n in (2, 1))
    turn, drawn = 360 * find(r"RandomRotation\(\(([\d.]+), "), np.degrees(np.arctan(warp))
    share = 100 * find(r"threshold = np.quantile\(robust_answers.*, ([\d.]+)\)")
    far = find(r"np.roll\(x_val, \((\d), \d\), axis=\(1, 2\)\), verbose")
    _, nearer, _, farther = map(int, re.search(r"for pixels in \[(.*)\]", code)[1].split(", "))
    low, high = (find(rf"pd.cut\(confidence, \[{n}([\d.]+),") for n in ("0, ", r"0, [\d.]+, "))
    avoided, lost = (find(rf"test: .* {before} (\d+)", told) for before in ("lie", "and"))
    kinds = re.findall(r'^    "(.*)": ', kinds, re.MULTILINE)
    changes = len(re.findall(r'^    ".*": lambda x', code, re.MULTILINE))
    starred = sum("*" in kind for kind in kinds)
    # The pictures.
    paths = list((ROOT / "data" / "digits").iterdir())
    others = sum(path.name.startswith("no_") for path in paths)
    large = [path for path in paths if path.stem.endswith("large")]
    pixels = np.prod(Image.open(large[0]).size) / 1e6
    large, digits = len(large), len(paths) - others
    styles = len({path.stem[2:] for path in paths if path.name[0].isdigit()}) - 1
    # The benchmark.
    rows = pd.read_csv(ROOT / "benchmarks" / "results.csv")
    [seeds] = set(rows.groupby("recipe").seed.nunique())
    means, deviations = (100 * rows.groupby("recipe").accuracy.agg(f) for f in ("mean", "std"))
    mean, deviation = means["ours"], deviations["ours"]
    one_epoch, one_epoch_deviation = means["ours-1"], deviations["ours-1"]
    part_1, part_1_deviation = means["ours-part-1"], deviations["ours-part-1"]
    faults, severity = len(corruptions.KINDS), recipes.SEVERITY
    [bins] = recipes.calibration_error.__defaults__
    return locals() | REASONS


@pytest.mark.parametrize("file", FILES)
def test_numbers_in_sentences(names, file):
    text = TEXT if file.endswith(".ipynb") else (ROOT / file).read_text()
    sections = re.split(r"^#+ ", NOT_PROSE.sub(" ", text), flags=re.MULTILINE)
    below = dict(section.split("\n", 1) for section in sections[1:])
    listed = re.search(rf"^{file}\n((?: .*\n)+)", EXPECTED, re.MULTILINE)[1]
    for entry in re.split(r"\n  (?! )", listed.strip()):
        heading, numbers = re.fullmatch(r"(.+?) = (.*)", " ".join(entry.split())).groups()
        says(below.pop(heading), *eval(f"[{numbers}]", names))
    for rest in below.values():
        says(rest)


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
