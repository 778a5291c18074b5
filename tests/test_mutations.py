"""The checks bite: each test breaks one thing in the notebook and demands an error that names the cause.

The notebook's cells run once, unbroken, in this process; the trained model comes from nbval's run, so that no test has to
train. Each mutation then starts from the state before the cell that it changes and goes on to the cell that must fail.
tests/README.md lists which check catches what.
"""
import copy
import re
import subprocess
import sys

import nbformat
import pytest

import test_saved_notebook as saved_checks
from conftest import ROOT, code_cells, copy_project, outputs, read_notebook, tags

# name: (what a cell says, what it says instead, the error that must follow)
MUTATIONS = {
    "scaling forgotten for the test images": (
        'x_test, y_test = preprocess(mnist["x_test"])', 'x_test, y_test = mnist["x_test"][..., np.newaxis].astype("float32")',
        "an image is not its original in x_test, divided by 255"),
    "scaling forgotten at prediction": (
        "probabilities = model.predict(x_test,", "probabilities = model.predict(x_test * 255,",
        "not the probabilities of the plain test images, scaled"),
    "labels shuffled": (
        "labels[train_indices]", "labels[np.random.default_rng(0).permutation(train_indices)]",
        "not the label of its image in y_train"),
    "one-hot columns permuted": (
        'labels = preprocess(mnist["x_train"]), keras.utils.to_categorical(mnist["y_train"], 10)',
        'labels = preprocess(mnist["x_train"]), keras.utils.to_categorical(mnist["y_train"], 10)[:, ::-1]',
        "not the label of its image in y_train"),
    "test images taken from the training images": (
        'preprocess(mnist["x_test"]), keras', 'preprocess(mnist["x_train"][:10_000]), keras',
        "not its original in x_test"),
    "validation taken from the test images": (
        "x_val, y_val = images[val_indices], labels[val_indices]", "x_val, y_val = x_test[:VALIDATION_SIZE], y_test[:VALIDATION_SIZE]",
        "not its original in x_train"),
    "validation images also trained on": (
        "x_train, y_train = images[train_indices]",
        "train_indices[:9] = val_indices[:9]; x_train, y_train = images[train_indices]",
        "an image is in two of the parts training, validation and test"),
    "a layer missing": ("        layers.Dropout(0.5),\n", "", r"'Dense', 'Dense'\]"),
    "a layer of another kind": ("    layers.Flatten(),\n", "    layers.Reshape((-1,)),\n", "Reshape"),
    "a layer doubled": ("        layers.Dropout(0.5),\n", "        layers.Dropout(0.5),\n" * 2, "Dropout', 'Dropout"),
    "another width": ("layers.Dense(128,", "layers.Dense(64,", "the first dense layer is to have 128 ReLU units"),
    "another dropout rate": ("layers.Dropout(0.5)", "layers.Dropout(0.4)", "half of the features are to be dropped"),
    "softmax left out": ('layers.Dense(10, activation="softmax")', "layers.Dense(10)", "the last layer is to give ten probabilities"),
    "augmentation applied to the validation images": (
        "validation_data=(x_val, y_val)", "validation_data=(warp(x_val, 0, 0.2, 2.0), y_val)",
        "`fit` did not validate on the plain validation images"),
    "augmentation applied to the test images": (
        "probabilities = model.predict(x_test,", "probabilities = model.predict(warp(x_test, 0, 0.2, 2.0),",
        "not the probabilities of the plain test images"),
    "confusion matrix transposed": (
        "confusion_matrix(true, predicted)", "confusion_matrix(predicted, true)", "the rows are not the true digits"),
    "abstaining where the network is sure": (
        "kept = confidence >= threshold", "kept = confidence < threshold", "abstaining gains nothing"),
    "a highlight on the wrong image": (
        "wrong = predicted[i] != true[i]\n    mark", "wrong = predicted[i - 1] != true[i - 1]\n    mark", "the mark above digit .* is wrong"),
    "a right answer among the mistakes": (
        "by_confidence = mistakes[", "mistakes[3] += 1\nby_confidence = mistakes[", "misses a mistake or shows a right answer"),
    "a mistake left out": (
        "for ax, i in zip(axes.flat, by_confidence):", "for ax, i in zip(axes.flat, by_confidence[:-1]):",
        "digits are shown instead of"),
    "the gallery in another order": (
        "for ax, i in zip(axes.flat, by_confidence):", "for ax, i in zip(axes.flat, mistakes):", "not where it should be"),
    "model saved before training": (
        "files = convert(model, EXPORTS)",
        "untrained = keras.models.clone_model(model)\nuntrained(x_val[:1])\nfiles = convert(untrained, EXPORTS)",
        "the loaded model predicts something else"),
    "reload check comparing a model with itself": (
        'reloaded = keras.models.load_model(MODELS / "mnist_cnn.keras")', "reloaded = model",
        "the model in memory proves nothing about the file"),
    "another model exported": (
        "files = convert(model, EXPORTS)",
        "other = keras.models.clone_model(model)\nother(x_val[:1])\nfiles = convert(other, EXPORTS) | convert(model, {})",
        "mnist_cnn.onnx reads other digits"),
    "scaling forgotten for the saved files": (
        "[ask(images) for images", "[ask(images * 255) for images", "mnist_cnn.keras (reads other digits|gives other probabilities)"),
    "polarity left out": ("lambda x: make_ink_bright(x, drawn)", "lambda x: x", "blank, or the ink too faint"),
    "flattening left out": ("lambda x: flatten(x, drawn)", "lambda x: x", "% of the pictures are read right|stands out|several digits"),
    "cropping left out": ('"crop": crop,', '"crop": lambda x: x,', "a digit's centre of mass is not in the middle"),
    "digits centred by their box": (
        'ndimage.center_of_mass(digit) if skip != "centre"', 'ndimage.center_of_mass(digit) if skip == "x"',
        "a digit's centre of mass is not in the middle"),
    "digits scaled to another size": ("lambda x: resize(x, 20)", "lambda x: resize(x, 9)", "are read right|spoils good digits"),
    "a warning threshold that flags more": (
        "np.quantile(prepared_probabilities.max(axis=1), 0.01)", "np.quantile(prepared_probabilities.max(axis=1), 0.1)",
        "of the real digits are flagged"),
}


class Walk:
    """The notebook's code cells and the state before each of them, from one run without training."""

    def __init__(self, weights):
        self.cells = code_cells(read_notebook())
        self.weights = weights
        self.before = []
        self.run({"__name__": "__main__"}, 0, record=True)

    def run(self, names, start, replace=None, record=False):
        """Execute the cells from number ``start`` on; the first with ``replace`` = (where, source)."""
        for n in range(start, len(self.cells)):
            cell, source = self.cells[n], self.cells[n].source
            if record:
                self.before.append(dict(names))
            if replace and n == replace[0]:
                source = replace[1]
            if "train" in tags(cell):
                names["model"].set_weights(self.weights)
                source = source.replace("train_data,", "train_data.take(2),", 1)
            exec(compile(source, f"<cell {n + 1}>", "exec"), names)
            if "parameters" in tags(cell):
                names.update(EPOCHS=1, LEARNING_RATE=1e-12)  # so that `fit` leaves the weights as they are


@pytest.fixture(scope="module")
def walk(trained, tmp_path_factory):
    import keras
    folder = copy_project(tmp_path_factory.mktemp("walk") / "project")
    model = keras.models.load_model(trained / "models" / "mnist_cnn.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "notebooks")
        yield Walk(model.get_weights())


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught(walk, name):
    old, new, message = MUTATIONS[name]
    [where] = [n for n, cell in enumerate(walk.cells) if old in cell.source]
    source = walk.cells[where].source
    assert source.count(old) == 1
    with pytest.raises((AssertionError, ValueError), match=message):
        walk.run(copy.copy(walk.before[where]), where, replace=(where, source.replace(old, new)))


def edit_an_output(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.get("name") == "stdout" and "test accuracy" in output.text:
                output.text = re.sub(r"\d\d\.\d\d%", "99.99%", output.text, count=1)
                return


def swap_counts(notebook):
    first, second = code_cells(notebook)[:2]
    first.execution_count, second.execution_count = 2, 1


def forget_a_count(notebook):
    code_cells(notebook)[-1].execution_count = None


def misspell_a_tag(notebook):
    cell = next(cell for cell in notebook.cells if "nbval-ignore-output" in tags(cell))
    cell.metadata.tags = ["nbval-ignore-outputs"]


def ignore_one_more(notebook):
    cell = next(cell for cell in notebook.cells if cell.get("outputs") and not tags(cell))
    cell.metadata.tags = ["nbval-ignore-output"]


def store_a_warning(notebook):
    code_cells(notebook)[0].outputs = [nbformat.v4.new_output("stream", name="stderr", text="Warning")]


def drop_a_description(notebook):
    next(o for o in outputs(notebook) if "image/png" in o.get("data", {})).metadata = {}


def paste_another_picture(notebook):
    notebook.cells[0].attachments["predictions.png"]["image/png"] = "iVBORw0KGgo="


@pytest.mark.parametrize("change, check", [
    (edit_an_output, saved_checks.test_outputs_are_those_of_the_run),
    (swap_counts, saved_checks.test_saved_from_one_clean_run),
    (forget_a_count, saved_checks.test_saved_from_one_clean_run),
    (misspell_a_tag, saved_checks.test_tags_are_spelt_right),
    (ignore_one_more, saved_checks.test_exactly_these_cells_are_not_compared),
    (store_a_warning, saved_checks.test_no_error_and_no_noise_is_stored),
    (drop_a_description, saved_checks.test_every_figure_has_a_text_alternative),
    (paste_another_picture, saved_checks.test_picture_on_top_is_the_one_that_the_notebook_drew),
], ids=lambda function: function.__name__)
def test_change_to_the_saved_notebook_is_caught(saved, change, check):
    changed = copy.deepcopy(saved)
    change(changed)
    assert changed != saved
    check(saved)
    with pytest.raises((AssertionError, KeyError)):
        check(changed)


def test_nbval_notices_an_edited_output(tmp_path):
    """nbval itself, on the notebook up to its first table of the data, in which one number was changed."""
    notebook = read_notebook()
    last = next(n for n, cell in enumerate(notebook.cells) if "60000" in str(cell.get("outputs")))
    notebook.cells = notebook.cells[:last + 1]
    folder = copy_project(tmp_path)
    path = folder / "notebooks" / "mnist_cnn.ipynb"
    for text, verdict in [("60000", 0), ("60001", 1)]:
        for output in notebook.cells[-1].outputs:
            output.data = {kind: value.replace("60000", text) for kind, value in output.data.items()}
        nbformat.write(notebook, path)
        process = subprocess.run([sys.executable, "-m", "pytest", "--nbval", path], capture_output=True, text=True)
        assert process.returncode == verdict, process.stdout
    assert "60001" in process.stdout


def test_every_mutation_is_listed_in_the_readme():
    readme = (ROOT / "tests" / "README.md").read_text()
    for name in MUTATIONS:
        assert f"| {name} |" in readme
