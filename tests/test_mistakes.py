"""Mistakes that would make the lesson untrue without changing how it looks. They are made together,
in one small notebook, and a check of checks.py has to say what is wrong with each.
"""

import json

import pytest
from conftest import copy_project, start_small_run

# A check with a part of what it says, what a cell says, and what it says instead.
LINES = """
check_the_control_sees_each_training_image_once_an_epoch: not each training image once
    from_tensor_slices((x_train, y_train))
    from_tensor_slices((x_train, y_train)).take(len(x_train) // 2).repeat(2)
check_the_short_trainings_are_as_the_text_says: alike(fit.data, TRAIN)
    x_train, y_train, batch_size=BATCH_SIZE, epochs=3, validation
    x_all, y_all, batch_size=BATCH_SIZE, epochs=3, validation
check_the_threshold_comes_from_validation_images: the threshold is
    threshold = np.quantile(robust_answers
    threshold = np.quantile(test_answers
check_the_control_is_trained_as_the_text_says: the learning rates are
    CosineDecay(0.0025,
    CosineDecay(0.0025 if augment else 0.001,
check_control_and_augmented_training_differ_in_augmentation_alone: the optimizers differ
    Adam(rate, beta_2=0.99)
    Adam(rate, beta_2=0.99, beta_1=0.8 if augment else 0.9)
check_the_images_are_shuffled_over_the_whole_epoch: images move by
    batches.shuffle(len(x_train), seed=SEED)
    batches.shuffle(BATCH_SIZE, seed=SEED)
check_the_augmentation_is_another_in_each_batch_and_epoch: augmented alike
    batches.map(augment) if augment
    batches.map(augment).cache() if augment
check_the_pipeline_augments_and_keeps_the_labels: comes twice
    change(x[n * part : (n + 1) * part])
    change(tf.repeat(x[:1], part, axis=0))
check_the_kinds_with_an_asterisk_are_not_in_the_augmentation: ringed* by a line
    tf.maximum(x, strip(x, 1.5))
    tf.maximum(x, tf.cast(tf.abs(tf.sqrt(down**2 + across**2) - 13) < 0.8, 'float32'))
check_the_kinds_with_an_asterisk_are_not_in_the_augmentation: cut off* by a band
    tf.abs(x - strip(x, 4.0))
    tf.where(down < 5, x, 0.0)
check_five_hundred_images_are_learned_by_heart: not trained on 500 images
    np.resize(x_train[:500], x_train.shape)
    np.resize(x_train[:250], x_train.shape)
check_all_files_answer_as_the_network: another network
    [*robust.inputs, *robust.layers]
    [*plain.inputs, *plain.layers]
check_mnist_survives_its_preparation: the steps spoil
    return np.pad(digit, [(n, 8 - n) for n in before])
    return np.pad(digit, [(n, 8 - n) for n in before]).T
""".strip().splitlines()
MISTAKES = {LINES[n]: (LINES[n + 1].strip(), LINES[n + 2].strip()) for n in range(0, len(LINES), 3)}


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """What each check has found in the notebook with the mistakes."""
    folder = tmp_path_factory.mktemp("mistakes")
    run = start_small_run(copy_project(folder, images=3_000, mistakes=MISTAKES.values()))
    printed, _ = run.communicate()
    assert run.returncode == 0, printed[-3_000:]
    return json.loads((folder / "checks.json").read_text())["errors"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_noticed(errors, mistake):
    check, cause = mistake.split(": ")
    assert cause in (errors[check] or "nothing")
