"""The checks bite: each test breaks one thing and demands that it is noticed, with an error that
names the cause.

A mutation of the lesson starts from the state before the cell that it changes (lesson.py). Then
either the lesson itself stops, or the named check of checks.py fails. tests/README.md lists them.
"""

import copy
import re
import subprocess
import sys

import nbformat
import pytest
import test_saved_notebook as saved_checks
from checks import CHECKS
from conftest import ROOT, code_cells, copy_project, outputs, read_notebook, tags

# name: (what a cell says, what it says instead, the check that must fail or "" for the lesson
# itself, the error)
MUTATIONS = {
    "training images not scaled": (
        '.astype("float32") / 255',
        '.astype("float32")',
        "the_images_are_mnist_and_scaled",
        "divided by 255",
    ),
    "labels shuffled": (
        "keras.utils.to_categorical(train_labels)",
        "keras.utils.to_categorical(np.random.permutation(train_labels))",
        "the_images_are_mnist_and_scaled",
        "label of x_train is not its image's",
    ),
    "one-hot columns permuted": (
        "keras.utils.to_categorical(train_labels)",
        "keras.utils.to_categorical(train_labels)[:, ::-1]",
        "the_images_are_mnist_and_scaled",
        "label of x_train is not its image's",
    ),
    "validation taken from the test images": (
        "y_train, y_val =",
        "x_val = preprocess(test_images[:VALIDATION_SIZE])\ny_train, y_val =",
        "the_images_are_mnist_and_scaled",
        "x_val is not MNIST's training images",
    ),
    "validation images also trained on": (
        "np.split(preprocess(train_images), [-VALIDATION_SIZE])",
        "preprocess(train_images), preprocess(train_images)[-VALIDATION_SIZE:]",
        "",
        "a validation image is in training too",
    ),
    "a layer missing": (
        "    layers.Dropout(0.5),\n",
        "",
        "the_network_has_the_eight_layers",
        "'Dense', 'Dense'",
    ),
    "a layer of another kind": (
        "    layers.Flatten(),\n",
        "    layers.Reshape((-1,)),\n",
        "the_network_has_the_eight_layers",
        "Reshape",
    ),
    "a layer doubled": (
        "    layers.Dropout(0.5),\n",
        "    layers.Dropout(0.5),\n" * 2,
        "the_network_has_the_eight_layers",
        "Dropout', 'Dropout",
    ),
    "another width": (
        "layers.Dense(128,",
        "layers.Dense(64,",
        "the_network_has_the_eight_layers",
        "to have 128 and 10 units",
    ),
    "another dropout rate": (
        "Dropout(0.5)",
        "Dropout(0.25)",
        "the_network_has_the_eight_layers",
        "half of the features",
    ),
    "softmax left out": (
        ', activation="softmax"',
        "",
        "the_network_has_the_eight_layers",
        "'linear'",
    ),
    "ReLU left out of a convolution": (
        'layers.Conv2D(FILTERS_2, 3, activation="relu")',
        "layers.Conv2D(FILTERS_2, 3)",
        "the_network_has_the_eight_layers",
        "'linear'",
    ),
    "filters of the wrong parameter": (
        "Conv2D(FILTERS_1, 5",
        "Conv2D(FILTERS_2, 5",
        "the_network_has_the_eight_layers",
        "filters are not those",
    ),
    "SGD in Part I": (
        'optimizer="adam"',
        'optimizer="sgd"',
        "part_one_trains_plainly",
        "optimizer is SGD",
    ),
    "SGD in Part II": (
        "keras.optimizers.Adam(schedule, beta_1=0.8, beta_2=0.99)",
        "keras.optimizers.SGD(schedule)",
        "part_two_trains_the_same_layers_anew",
        "optimizer is SGD",
    ),
    "another loss in Part I": (
        'optimizer="adam", loss="categorical_crossentropy"',
        'optimizer="adam", loss="mse"',
        "part_one_trains_plainly",
        "the loss is mse",
    ),
    "another loss in Part II": (
        '    loss="categorical_crossentropy",',
        '    loss="mse",',
        "part_two_trains_the_same_layers_anew",
        "the loss is mse",
    ),
    "validation on augmented images": (
        "train_data, epochs=EPOCHS, validation_data=(x_val,",
        "train_data, epochs=EPOCHS, validation_data=(warp(x_val),",
        "part_two_trains_the_same_layers_anew",
        "does not validate on the plain validation images",
    ),
    "training goes on with Part I's weights": (
        "robust = keras.models.clone_model(model)",
        "robust = model",
        "part_two_trains_the_same_layers_anew",
        "",
    ),
    "no augmentation": (
        ".map(augment, num_parallel_calls=2)",
        "",
        "the_pipeline_augments_and_keeps_the_labels",
        "not augmented",
    ),
    "everything roughened": (
        "BATCH_SIZE // 5",
        "BATCH_SIZE",
        "the_pipeline_augments_and_keeps_the_labels",
        "a fifth of each batch",
    ),
    "nothing roughened": (
        "BATCH_SIZE // 5",
        "0",
        "the_pipeline_augments_and_keeps_the_labels",
        "a fifth of each batch",
    ),
    "labels reversed in the pipeline": (
        "warped[fifth:]], axis=0), labels",
        "warped[fifth:]], axis=0), labels[::-1]",
        "the_pipeline_augments_and_keeps_the_labels",
        "do not belong together",
    ),
    "a highlight on the wrong image": (
        "    right = predicted == label\n",
        "    right = predicted != label\n",
        "the_gallery_highlights_the_validation_mistakes",
        "the words above digit",
    ),
    "a frame that is always thin": (
        "else (ORANGE, 4)",
        "else (ORANGE, 1)",
        "the_gallery_highlights_the_validation_mistakes",
        "the frame of digit",
    ),
    "colour alone forgotten": (
        "else (ORANGE, 4)",
        "else (BLUE, 4)",
        "the_gallery_highlights_the_validation_mistakes",
        "colour",
    ),
    "Part I's model saved untrained": (
        "model.save(unfinished)",
        "keras.models.clone_model(model).save(unfinished)",
        "",
        "the loaded model reads other digits",
    ),
    "reload check comparing a model with itself": (
        'loaded = keras.models.load_model(f"{MODELS}/mnist_cnn.keras")',
        "loaded = model",
        "the_saved_file_is_part_ones_network",
        "proves nothing about the file",
    ),
    "moved digits not moved": (
        "np.roll(x_val, (pixels, pixels),",
        "np.roll(x_val, (0, 0),",
        "moved_digits_are_counted_right",
        "moved by 2",
    ),
    "other pictures made from training images": (
        "turn = layers",
        "x_val = x_train[:VALIDATION_SIZE]\nturn = layers",
        "other_pictures_are_validation_digits",
        "not made from the validation images",
    ),
    "the noisy ones from training images": (
        "x_val + noise",
        "x_train[-VALIDATION_SIZE:] + noise",
        "other_pictures_are_validation_digits",
        "'noisy' is not made",
    ),
    "the table's first column of the robust network": (
        "accuracy_on(model, images) for name",
        "0.9 for name",
        "the_table_tells_what_the_plain_network_reads",
        "is not what the network reads",
    ),
    "the table's second column of the plain network": (
        "accuracy_on(robust, images) for images",
        "accuracy_on(model, images) for images",
        "the_table_tells_what_the_robust_network_reads",
        "is not what the network reads",
    ),
    "scaling forgotten for the test images": (
        "x_test, y_test = preprocess(test_images)",
        "x_test, y_test = preprocess(test_images) * 255",
        "the_test_is_of_the_robust_network_on_the_test_images",
        "not that of the plain test images",
    ),
    "test images taken from the training images": (
        "x_test, y_test = preprocess(test_images), keras.utils.to_categorical(test_labels)",
        "x_test, y_test = x_train[:3_000], y_train[:3_000]",
        "the_test_is_of_the_robust_network_on_the_test_images",
        "not that of the plain test images",
    ),
    "augmentation applied to the test images": (
        "preprocess(test_images), keras",
        "warp(preprocess(test_images)).numpy(), keras",
        "the_test_is_of_the_robust_network_on_the_test_images",
        "not that of the plain test images",
    ),
    "Part I's network tested": (
        "test_loss, test_accuracy = robust.evaluate",
        "test_loss, test_accuracy = model.evaluate",
        "the_test_is_of_the_robust_network_on_the_test_images",
        "not that of the plain test images",
    ),
    "the interval at another level": (
        "margin = 1.96 *",
        "margin = 1.00 *",
        "the_test_is_of_the_robust_network_on_the_test_images",
        "interval are",
    ),
    "confusion matrix transposed": (
        "confusion_matrix(test_labels, predicted,",
        "confusion_matrix(predicted, test_labels,",
        "the_confusion_matrix_is_right",
        "its rows are not the true digits",
    ),
    "predictions of Part I's network": (
        "probabilities = robust.predict(x_test,",
        "probabilities = model.predict(x_test,",
        "the_confusion_matrix_is_right",
        "confusion matrix is not right",
    ),
    "a mistake left out": (
        "enumerate(by_confidence):",
        "enumerate(by_confidence[:-1]):",
        "every_mistake_is_shown",
        "digits are shown instead of",
    ),
    "a right answer among the mistakes": (
        "by_confidence = mistakes[",
        "mistakes = mistakes + (np.arange(len(mistakes)) == 3)\nby_confidence = mistakes[",
        "every_mistake_is_shown",
        "not where it should be",
    ),
    "the gallery in another order": (
        "enumerate(by_confidence):",
        "enumerate(mistakes):",
        "every_mistake_is_shown",
        "not where it should be",
    ),
    "second guess equal to the first": (
        "probabilities.argsort(axis=1)[:, -2]",
        "probabilities.argsort(axis=1)[:, -1]",
        "every_mistake_is_shown",
        "below digit",
    ),
    "a disputed label at another index": (
        "[947, 1621,",
        "[948, 1621,",
        "every_mistake_is_shown",
        "not those that people disputed",
    ),
    "second guesses miscounted": (
        "np.sum(second[mistakes] == test_labels[mistakes])",
        "np.sum(second[mistakes] != test_labels[mistakes])",
        "every_mistake_is_shown",
        "right second guesses and disputed labels are",
    ),
    "Part II's model not saved": (
        "robust.save(unfinished)",
        "model.save(unfinished)",
        "the_saved_file_is_part_twos_network",
        "not hold the network of Part II",
    ),
    "the JSON's accuracy taken from validation": (
        "loss, accuracy = robust.evaluate(x_test, y_test,",
        "loss, accuracy = robust.evaluate(x_val, y_val,",
        "the_saved_file_is_part_twos_network",
        "JSON's test accuracy",
    ),
    "calibration of other answers": (
        '"right": predicted == test_labels',
        '"right": second == test_labels',
        "the_calibration_table_is_right",
        "",
    ),
    "the threshold taken from the test images": (
        "val_probabilities = robust.predict(x_val,",
        "val_probabilities = robust.predict(x_test,",
        "the_threshold_comes_from_validation_images",
        "the threshold is",
    ),
    "a threshold at another share": (
        ".max(axis=1), 0.01)",
        ".max(axis=1), 0.05)",
        "the_threshold_comes_from_validation_images",
        "the threshold is",
    ),
    "abstaining where the network is sure": (
        "unsure = confidence < threshold",
        "unsure = confidence >= threshold",
        "the_threshold_comes_from_validation_images",
        "what abstaining buys",
    ),
    "withholding the surest first": (
        "order = np.argsort(confidence)",
        "order = np.argsort(-confidence)",
        "the_curve_of_abstaining_is_right",
        "withheld",
    ),
    "scores of another preparation": (
        '"four steps": prepare_simply, "to_mnist": to_mnist',
        '"four steps": prepare_simply, "to_mnist": prepare_simply',
        "the_scores_of_the_drawn_pictures_are_right",
        "are not what the network reads",
    ),
    "polarity left out": (
        "grey if np.sum(relief**3) > 0 else 1 - grey",
        "grey",
        "the_scores_of_the_drawn_pictures_are_right",
        "preparation does not do what the text says",
    ),
    "digits centred by their box": (
        "for m in ndimage.center_of_mass(digit)",
        "for m in (7, 10)",
        "mnist_survives_its_preparation",
        "",
    ),
    "a warning threshold of its own": (
        "probabilities.max() >= threshold",
        "probabilities.max() >= 0.2",
        "warnings_follow_the_one_threshold",
        "do not follow Part III's threshold",
    ),
    "occlusion shifted": (
        "max(row - 2, 0) : row + 3",
        "max(row - 4, 0) : row + 1",
        "occlusion_covers_what_it_says",
        "",
    ),
    "Part I's network exported": (
        '{"image": robust.inputs[0]}, {"probabilities": robust.outputs[0]}',
        '{"image": model.inputs[0]}, {"probabilities": model.outputs[0]}',
        "",
        "mnist_cnn.onnx gives other probabilities than the network",
    ),
    "scaling forgotten for the exported files": (
        "run(temporary, x_test[:1_000])",
        "run(temporary, 255 * x_test[:1_000])",
        "",
        "gives other probabilities",
    ),
    "an export forgotten in the JSON": (
        "save_card(saved)",
        "save_card(saved[:2])",
        "all_files_are_saved_and_belong_together",
        "",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught(lesson, name):
    old, new, check, message = MUTATIONS[name]
    if check:
        until, check = CHECKS[check]
        state = lesson.run(old, new, until)
        with pytest.raises(AssertionError, match=re.escape(message) or None):
            check(state)
    else:
        with pytest.raises((AssertionError, ValueError), match=re.escape(message)):
            lesson.run(old, new, "save-all")


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
    code_cells(notebook)[0].outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="Warning")
    ]


def drop_a_description(notebook):
    next(o for o in outputs(notebook) if "image/png" in o.get("data", {})).metadata = {}


def paste_another_picture(notebook):
    notebook.cells[0].attachments["predictions.png"]["image/png"] = "iVBORw0KGgo="


@pytest.mark.parametrize(
    "change, check",
    [
        (edit_an_output, saved_checks.test_outputs_are_those_of_the_run),
        (swap_counts, saved_checks.test_saved_from_one_clean_run),
        (forget_a_count, saved_checks.test_saved_from_one_clean_run),
        (misspell_a_tag, saved_checks.test_tags_are_spelt_right),
        (ignore_one_more, saved_checks.test_exactly_these_cells_are_not_compared),
        (store_a_warning, saved_checks.test_no_error_and_no_noise_is_stored),
        (drop_a_description, saved_checks.test_every_figure_has_a_text_alternative),
        (
            paste_another_picture,
            saved_checks.test_pictures_shown_ahead_are_those_that_the_notebook_drew,
        ),
    ],
    ids=lambda function: function.__name__,
)
def test_change_to_the_saved_notebook_is_caught(saved, change, check):
    changed = copy.deepcopy(saved)
    change(changed)
    assert changed != saved
    check(saved)
    with pytest.raises((AssertionError, KeyError)):
        check(changed)


def test_nbval_notices_an_edited_output(tmp_path):
    """nbval itself, on the notebook up to the size of its training data, which was changed."""
    notebook = read_notebook()
    last = next(n for n, cell in enumerate(notebook.cells) if "55000" in str(cell.get("outputs")))
    notebook.cells = notebook.cells[: last + 1]
    for output in notebook.cells[-1].outputs:
        output.text = output.text.replace("55000", "55001")
    path = copy_project(tmp_path) / "notebooks" / "mnist_cnn.ipynb"
    nbformat.write(notebook, path)
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", path], capture_output=True, text=True
    )
    cells = len(code_cells(notebook))
    assert process.returncode == 1, process.stdout
    assert f"1 failed, {cells - 1} passed" in process.stdout and "55001" in process.stdout


def mutation_table():
    """Return the table of MUTATIONS that tests/README.md shows."""
    rows = [
        f"| {name} | {check.replace('_', ' ') or 'the lesson itself'} | {message} |"
        for name, (_, _, check, message) in MUTATIONS.items()
    ]
    return "\n".join([
        "| mistake | what notices it | and says, among other things |",
        "|---|---|---|",
        *rows,
    ])


def test_readme_lists_every_mutation():
    readme = (ROOT / "tests" / "README.md").read_text()
    assert mutation_table() in readme, f"the table in tests/README.md is to be:\n{mutation_table()}"
