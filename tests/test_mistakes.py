"""Mistakes that would make the lesson untrue without changing how it looks. They are made together,
in two small notebooks, and the named check of checks.py has to say what is wrong.
"""

import json

import pytest
from conftest import copy_project, start_small_run

RING = "tf.cast(tf.abs(tf.sqrt(down**2 + across**2) - 13) < 0.8, 'float32')"
# By notebook: what a cell says, what it says instead, the check, and what that says.
MISTAKES = {
    "one": {
        "half of the images, twice": (
            "from_tensor_slices((x_train, y_train))",
            "from_tensor_slices((x_train, y_train)).take(len(x_train) // 2).repeat(2)",
            "the_control_sees_each_training_image_once_an_epoch",
            "each once",
        ),
        "test images used to choose": (
            "threshold = np.quantile(robust_answers",
            "threshold = np.quantile(test_answers",
            "the_threshold_comes_from_validation_images",
            "the threshold is",
        ),
        "another learning rate for the control": (
            "CosineDecay(0.0025,",
            "CosineDecay(0.0025 if augment else 0.001,",
            "the_control_is_trained_as_the_text_says",
            "the learning rates are",
        ),
        "the same augmentation in each epoch": (
            "batches.map(augment) if augment",
            "batches.map(augment).cache() if augment",
            "the_augmentation_is_another_in_each_batch_and_epoch",
            "augmented alike",
        ),
        "another network saved": (
            "[*robust.inputs, *robust.layers]",
            "[*plain.inputs, *plain.layers]",
            "all_files_answer_as_the_network",
            "another network",
        ),
        "pictures transposed": (
            "return np.pad(digit, [(n, 8 - n) for n in before])",
            "return np.pad(digit, [(n, 8 - n) for n in before]).T",
            "mnist_survives_its_preparation",
            "the steps spoil",
        ),
        "a ring in the augmentation": (
            "tf.maximum(x, strip(x, 1.5))",
            f"tf.maximum(x, {RING})",
            "the_kinds_with_an_asterisk_are_not_in_the_augmentation",
            "draws rings",
        ),
    },
    "other": {
        "validation images trained on": (
            "from_tensor_slices((x_train, y_train))",
            "from_tensor_slices((x_all[VALIDATION_SIZE:], y_all[VALIDATION_SIZE:]))",
            "the_control_sees_each_training_image_once_an_epoch",
            "not the training images",
        ),
        "one image under many labels": (
            "change(x), x)",
            "change(x[:1]), x)",
            "the_pipeline_augments_and_keeps_the_labels",
            "comes twice",
        ),
        "a shuffle over one batch": (
            "batches.shuffle(len(x_train), seed=SEED)",
            "batches.shuffle(BATCH_SIZE, seed=SEED)",
            "the_images_are_shuffled_over_the_whole_epoch",
            "images move by",
        ),
        "two networks that differ in the optimizer too": (
            "keras.optimizers.Adam(rate)",
            "keras.optimizers.Adam(rate, beta_1=0.8 if augment else 0.9)",
            "control_and_augmented_training_differ_in_augmentation_alone",
            "the optimizers differ",
        ),
        "a missing part in the augmentation": (
            "tf.maximum(x, strip(x, 1.5))",
            "tf.where(down < 5, x, 0.0)",
            "the_kinds_with_an_asterisk_are_not_in_the_augmentation",
            "cuts digits off",
        ),
        "fewer images learned by heart": (
            "np.resize(x_train[:500], x_train.shape)",
            "np.resize(x_train[:250], x_train.shape)",
            "five_hundred_images_are_learned_by_heart",
            "not trained on 500 images",
        ),
    },
}
CASES = [(notebook, name) for notebook, mistakes in MISTAKES.items() for name in mistakes]


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """By notebook, what each check has found in it."""
    runs = {}
    for notebook, mistakes in MISTAKES.items():
        folder = tmp_path_factory.mktemp(notebook)
        made = [mistake[:2] for mistake in mistakes.values()]
        path = copy_project(folder, images=4_000, mistakes=made)
        runs[notebook] = folder, start_small_run(path)
    found = {}
    for notebook, (folder, run) in runs.items():
        printed, _ = run.communicate()
        assert run.returncode == 0, printed[-3_000:]
        found[notebook] = json.loads((folder / "checks.json").read_text())["errors"]
    return found


@pytest.mark.parametrize(("notebook", "mistake"), CASES)
def test_mistake_is_noticed(errors, notebook, mistake):
    _, _, check, cause = MISTAKES[notebook][mistake]
    assert cause in (errors[notebook][check] or "nothing")
