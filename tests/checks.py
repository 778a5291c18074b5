"""What the lesson shows, computed once more: independently of its code, from MNIST's file and the
trained networks.

Each check takes the `State` that the lesson has reached (lesson.py), at the cell whose tag it is
registered for. It raises AssertionError if the lesson's numbers, pictures or files are not what
they claim to be.
"""

import hashlib
import json
import re
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from conftest import ROOT
from lesson import PARAMETERS, TEST_IMAGES, TRAIN_IMAGES
from matplotlib.colors import to_hex
from PIL import Image
from scipy import ndimage, stats
from sklearn.metrics import confusion_matrix, log_loss

MNIST = dict(np.load(ROOT / "data" / "mnist.npz"))
HELD_BACK = PARAMETERS["VALIDATION_SIZE"]
IMAGES = np.float32(MNIST["x_train"][:TRAIN_IMAGES, ..., np.newaxis]) / 255
LABELS = MNIST["y_train"][:TRAIN_IMAGES]
VAL, VAL_LABELS = IMAGES[-HELD_BACK:], LABELS[-HELD_BACK:]
EIGHT = VAL[VAL_LABELS == 8][:1]  # the digit that is followed through the layers
TEST = np.float32(MNIST["x_test"][:TEST_IMAGES, ..., np.newaxis]) / 255
TEST_LABELS = MNIST["y_test"][:TEST_IMAGES]
DISPUTED = dict(zip([947, 1621, 1901, 2462, 2597, 3558, 5937, 6651, 6783, 9729], "9640303666"))
DISPUTED |= {2654: "no digit", 3520: "no digit", 9679: "no digit"}
DISPUTED |= {2130: "they differ", 8527: "they differ"}
CHECKS = {}  # name: (the tag of the cell after which it holds, the check)


def after(tag):
    """Register a check for the state after the cell that carries ``tag``."""

    def register(check):
        CHECKS[check.__name__] = tag, check
        return check

    return register


def ask(network, images):
    """Return the probabilities (n, 10) that ``network`` gives ``images`` (n, 28, 28, 1)."""
    return network.predict(images, batch_size=1_000, verbose=0)


def read(network, images):
    """Return the digits (n,) that ``network`` reads in ``images`` (n, 28, 28, 1)."""
    return ask(network, images).argmax(axis=1)


def tested(network):
    """Return what ``network`` makes of the test images: its probabilities (n, 10), the digits that
    it reads, how sure it is of each, and where it is wrong.
    """
    probabilities = ask(network, TEST)
    predicted = probabilities.argmax(axis=1)
    return probabilities, predicted, probabilities.max(axis=1), predicted != TEST_LABELS


def same_weights(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights()))


def numbers(text):
    """Return the numbers in ``text``, without thousands separators, as floats."""
    return [
        float(number) for number in re.findall(r"\d+(?:\.\d+)?", re.sub(r",(?=\d{3})", "", text))
    ]


def agree(told, expected, what, atol=0.006):
    """Raise unless the numbers ``told`` are as ``expected``, and say ``what`` they are."""
    same = np.shape(told) == np.shape(expected) and np.allclose(told, expected, rtol=0, atol=atol)
    assert same, f"{what} {expected}, not {told}"


def check_pictures(figure, pictures, names):
    """Raise unless ``figure`` shows ``pictures`` in order, each below its name."""
    assert len(figure.axes) == len(pictures), f"{len(figure.axes)} pictures, not {len(pictures)}"
    for ax, picture, name in zip(figure.axes, pictures, names, strict=True):
        shown, picture = np.float64(ax.images[0].get_array()), np.squeeze(picture)
        same = shown.shape == picture.shape and np.allclose(shown, picture, atol=1e-5)
        assert same, f"below {name!r} is another picture"
        assert ax.get_title() == str(name), f"{ax.get_title()!r} stands above {name!r}"


def check_alternative(metadata, *expected):
    """Raise unless the text alternative in ``metadata`` has the numbers ``expected``, in order."""
    alt = metadata["image/png"]["alt"]
    assert numbers(alt)[: len(expected)] == list(expected), f"{alt!r} should say {expected}"


def check_losses(figure, networks):
    """Raise unless ``figure`` shows both losses of each of ``networks``, a dict by name."""
    shown = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    expected = {}
    for name, network in networks.items():
        expected[f"{name}, training images"] = network.history.history["loss"]
        expected[f"{name}, validation images"] = network.history.history["val_loss"]
    assert shown.keys() == expected.keys(), f"the lines are called {list(shown)}"
    for label, losses in expected.items():
        assert np.allclose(shown[label], losses), f"the line {label!r} shows other losses"


def moved(images, pixels):
    return ndimage.shift(images, (0, pixels, pixels, 0), order=0, mode="grid-wrap")


def check_gallery(figure, indices, images, predicted, labels):
    """Raise unless ``figure`` shows ``images`` at ``indices`` in order, with marks and frames as
    ``predicted`` deserves.
    """
    shown = len(figure.axes)
    assert shown == len(indices), f"{shown} digits are shown instead of {len(indices)}"
    for ax, i in zip(figure.axes, indices):
        same = np.array_equal(ax.images[0].get_array(), images[i].squeeze())
        assert same, f"digit {i} is not where it should be"
        wrong, title = predicted[i] != labels[i], ax.get_title()
        words = f"{'✗' if wrong else '✓'} {predicted[i]}, true {labels[i]}"
        assert title == words, f"the words above digit {i} are wrong: {title}"
        frame, color = ax.spines["top"], "#D55E00" if wrong else "#0072B2"
        assert (frame.get_linewidth() > 1) == wrong, f"the frame of digit {i} is wrong"
        colors = {to_hex(frame.get_edgecolor()).upper(), to_hex(ax.title.get_color()).upper()}
        assert colors == {color}, f"the colour of digit {i} is wrong"


# --- Part I ---------------------------------------------------------------------------------------


@after("first-images")
def the_first_images_stand_below_their_labels(s):
    [(figure, _)] = s.figures["first-images"]
    check_pictures(figure, MNIST["x_train"][:30], MNIST["y_train"][:30])


@after("split")
def the_images_are_mnist_and_scaled(s):
    for name, part in {"train": slice(None, -HELD_BACK), "val": slice(-HELD_BACK, None)}.items():
        images, labels = s.names[f"x_{name}"], s.names[f"y_{name}"]
        same = images.shape == IMAGES[part].shape and np.allclose(images, IMAGES[part], atol=1e-6)
        assert same, f"x_{name} is not MNIST's training images {part}, divided by 255"
        one_hot = np.eye(10)[LABELS[part]]
        assert np.array_equal(labels, one_hot), f"a one-hot label of x_{name} is not its image's"
    assert np.array_equal(s.val_labels, VAL_LABELS)


def has_the_eight_layers(network):
    layers = network.layers
    kinds = " ".join(type(layer).__name__ for layer in layers)
    eight = "Conv2D MaxPooling2D Conv2D MaxPooling2D Flatten Dense Dropout Dense"
    assert kinds == eight, kinds.split()
    activations = [layer.activation.__name__ for layer in layers if hasattr(layer, "activation")]
    assert activations == ["relu", "relu", "relu", "softmax"], f"the activations are {activations}"
    units = [layers[5].units, layers[7].units]
    assert units == [128, 10], "the dense layers are to have 128 and 10 units"
    assert layers[6].rate == 0.5, "half of the features are to be dropped"
    kernels = [layers[0].kernel_size, layers[2].kernel_size]
    assert kernels == [(5, 5), (3, 3)], f"the filters are of {kernels}, not 5x5 and 3x3"


@after("model")
def the_network_has_the_eight_layers(s, network="model"):
    has_the_eight_layers(s.names[network])
    filters = [layer.filters for layer in s.names[network].layers if hasattr(layer, "filters")]
    assert filters == [s.FILTERS_1, s.FILTERS_2], "the filters are not those of the settings"


def compiled_as_promised(network):
    optimizer, loss = type(network.optimizer).__name__, network.get_compile_config()["loss"]
    assert optimizer == "Adam", f"the optimizer is {optimizer}, not Adam"
    assert loss == "categorical_crossentropy", f"the loss is {loss}, not categorical_crossentropy"


def validated_on_plain_images(options):
    images, labels = options["validation_data"]
    plain = np.allclose(images, VAL, atol=1e-6)
    assert plain, "`fit` does not validate on the plain validation images"
    assert np.array_equal(labels.argmax(axis=1), VAL_LABELS), "`fit` validates with other labels"


def trained_as_in_part_one(s, fit):
    compiled_as_promised(fit.network)
    plain = np.allclose(fit.data, IMAGES[:-HELD_BACK], atol=1e-6)
    assert plain and len(fit.labels) == len(fit.data), "not the training images"
    told = fit.options["batch_size"], fit.options["epochs"]
    assert told == (s.BATCH_SIZE, min(3, s.EPOCHS)), f"batch size and epochs are {told}"


@after("train-first")
def part_one_trains_plainly(s):
    [fit] = s.fits["train-first"]
    assert fit.network is s.model
    trained_as_in_part_one(s, fit)
    validated_on_plain_images(fit.options)


@after("train-first")
def before_training_it_guesses(s):
    loss, accuracy = numbers(s.printed["train-first"].splitlines()[0])
    guesses = abs(loss - np.log(10)) < 0.3 and accuracy < 40
    assert guesses, "before training the network should guess"


@after("picture")
def the_gallery_highlights_the_validation_mistakes(s):
    predicted = read(s.model, VAL)
    mistakes = np.flatnonzero(predicted != VAL_LABELS)
    assert np.array_equal(s.val_mistakes, mistakes), "not the validation mistakes"
    assert numbers(s.printed["first-mistakes"]) == [len(mistakes), HELD_BACK]
    [(figure, metadata)] = s.figures["picture"]
    wrong = [i for i in s.sample if predicted[i] != VAL_LABELS[i]]
    assert len(set(s.sample)) == 24 and len(wrong) == min(6, len(mistakes))
    check_gallery(figure, s.sample, VAL, predicted, VAL_LABELS)
    assert numbers(figure.get_suptitle()) == [24 - len(wrong), len(wrong)], "the title's counts"
    check_alternative(metadata, 24 - len(wrong), len(wrong))


@after("save-first")
def the_saved_file_is_part_ones_network(s):
    loaded = keras.models.load_model(Path(s.MODELS, "part_1.keras"))
    assert same_weights(loaded, s.model), "another network was saved"
    said = s.printed["save-first"].strip()
    assert said == f"loaded again, it reads all {HELD_BACK} validation images as before: True", said


# --- Part II --------------------------------------------------------------------------------------


@after("step")
def the_steps_go_downhill(s):
    told = [numbers(line) for line in s.printed["step"].splitlines()]
    network = keras.models.clone_model(s.model)
    images, labels = IMAGES[: s.BATCH_SIZE], np.eye(10)[MNIST["y_train"][: s.BATCH_SIZE]]

    def loss_of():
        return -tf.reduce_mean(tf.math.log(tf.reduce_sum(network(images) * labels, axis=1)))

    network.set_weights(s.start)
    with tf.GradientTape() as tape:
        loss = loss_of()
    slopes = tape.gradient(loss, network.trainable_weights)
    assert [rate for rate, _ in told] == [0, 0.01, 0.1, 1, 10]
    losses = [loss for _, loss in told]
    assert losses[0] > losses[1] > losses[2] > losses[3], "the steps do not go downhill"
    assert losses[4] > losses[0], "no step goes too far, as the text says"
    for rate, loss in told:
        network.set_weights([w - rate * slope for w, slope in zip(s.start, slopes)])
        assert abs(loss - float(loss_of())) < 0.002 * max(1, loss), f"the loss after a step {rate}"


@after("compared")
def the_networks_are_compared_fairly(s):
    for fit in s.fits["baselines"]:
        trained_as_in_part_one(s, fit)
    kinds = [[type(layer).__name__ for layer in net.layers] for net in (s.softmax_alone, s.dense)]
    assert kinds == [["Flatten", "Dense"], ["Flatten", "Dense", "Dense"]], kinds
    units = s.dense.layers[1].units
    assert units == 512, f"the dense network has {units} neurons, not 512"
    networks = {"softmax alone": s.softmax_alone, "dense": s.dense, "CNN": s.model}
    assert list(s.compared.index) == list(networks)
    assert list(s.compared)[1:] == [f"moved by {pixels}" for pixels in (0, 2, 3, 4)]
    for name, network in networks.items():
        row = s.compared.loc[name]
        count = sum(weights.size for weights in network.get_weights())
        assert row["parameters"] == f"{count:,}", f"{name} has {count:,} parameters"
        for pixels in (0, 2, 3, 4):
            share = 100 * np.mean(read(network, moved(VAL, pixels)) == VAL_LABELS)
            told = numbers(row[f"moved by {pixels}"])[0]
            assert abs(told - share) < 0.06, f"{name}, moved by {pixels}: {share}, not {told}"
    assert s.model.layers[0].count_params() == 26 * s.FILTERS_1


@after("templates")
def the_templates_are_the_weights(s):
    weights = s.softmax_alone.get_weights()[0]
    [(figure, _)] = s.figures["templates"]
    check_pictures(figure, [weights[:, n].reshape(28, 28) for n in range(10)], range(10))
    colors = [figure.axes[0].images[0].to_rgba(np.array([value]))[0] for value in (-0.5, 0.5)]
    assert colors[0][0] > colors[0][2] and colors[1][2] > colors[1][0], "blue is to speak for it"


@after("by-hand")
def the_response_by_hand_is_a_convolution(s):
    response = ndimage.correlate(EIGHT[0, :, :, 0], np.float32(s.edge), mode="constant")[2:-2, 2:-2]
    [(figure, _)] = s.figures["by-hand"]
    pictures = [EIGHT[0], s.edge, np.maximum(response, 0)]
    check_pictures(figure, pictures, ["a digit", "a filter", "its response"])


@after("filters")
def the_responses_are_those_of_the_filters(s):
    weights, biases = s.model.layers[0].get_weights()
    pictures, names = [], []
    for n in range(s.FILTERS_1):
        kernel = weights[:, :, 0, n]
        response = ndimage.correlate(EIGHT[0, :, :, 0], kernel, mode="constant")[2:-2, 2:-2]
        pictures += [kernel, np.maximum(response + biases[n], 0)]
        names += [f"filter {n}", ""]
    check_pictures(s.figures["filters"][0][0], pictures, names)


@after("layers")
def the_most_active_channels_are_shown(s):
    [(figure, _)] = s.figures["layers"]
    pictures, names, output = [], [], EIGHT
    for layer in s.model.layers[:4]:
        output = layer(output).numpy() if hasattr(output, "numpy") else layer(output)
        response = np.asarray(output)[0] / np.max(output)
        order = sorted(range(response.shape[2]), key=lambda n: -response[:, :, n].sum())
        pictures += [response[:, :, n] for n in order[:6]]
        names += [f"{layer.name.split('_')[0]} {len(response)}x{len(response)}"] + [""] * 5
    check_pictures(figure, pictures, names)
    assert numbers(figure.get_suptitle()) == [len(response), len(response)]


def trained_longer(s, tag, network):
    """Raise unless the cell ``tag`` trains ``network`` anew as the text says; return its fit."""
    [fit] = s.fits[tag]
    assert network is not s.model, "training goes on with Part I's weights"
    assert fit.network is network, "another network is trained"
    has_the_eight_layers(network)
    compiled_as_promised(network)
    validated_on_plain_images(fit.options)
    assert not same_weights(fit, s.model), "training goes on with Part I's weights"
    assert fit.options["epochs"] == s.EPOCHS, f"it trains for {fit.options['epochs']} epochs"
    steps = s.EPOCHS * len(fit.data)
    assert len(fit.data) == -(-len(IMAGES[:-HELD_BACK]) // s.BATCH_SIZE), "a batch is left out"
    rates = [float(fit.rate(step)) for step in (0, steps / 2, steps)]
    agree(rates, [0.0025, 0.00125, 0], "the learning rates are to be", 1e-6)
    return fit


@after("train-plain")
def the_control_is_trained_on_plain_images(s):
    fit = trained_longer(s, "train-plain", s.plain)
    images, labels = fit.epochs[0][0]
    for image, label in zip(images[:3], labels[:3]):
        places = np.flatnonzero((IMAGES[:-HELD_BACK] == image).all(axis=(1, 2, 3)))
        assert len(places) == 1, "the control's images are not MNIST's training images"
        assert label[LABELS[places[0]]] == 1, "labels and images do not belong together"


@after("curves")
def the_curves_are_the_history(s):
    [(figure, _)] = s.figures["curves"]
    check_losses(figure, {"plain": s.plain})
    lowest = 1 + np.argmin(s.plain.history.history["val_loss"])
    told = numbers(figure.axes[0].get_title())
    assert told == [lowest, s.EPOCHS], f"the loss is lowest after epoch {lowest}, not {told[0]}"


@after("overfitting")
def overfitting_is_measured_on_both_parts(s):
    for part, x, labels in [
        ("training", IMAGES[:-HELD_BACK], LABELS[:-HELD_BACK]),
        ("validation", VAL, VAL_LABELS),
    ]:
        for row, network in zip(s.measured.index, (s.model, s.plain), strict=True):
            probabilities = ask(network, x)
            share = np.mean(probabilities.argmax(axis=1) == labels)
            expected = [log_loss(labels, probabilities), 100 * share]
            told = [s.measured[f"{part} {measure}"][row] for measure in ("loss", "accuracy")]
            told = [numbers(text)[0] for text in told]
            agree(told, expected, f"{row}, {part}:")


# --- Part III -------------------------------------------------------------------------------------


@after("others")
def other_pictures_are_validation_digits(s):
    crossed, cut, ringed = VAL.copy(), VAL.copy(), VAL.copy()
    crossed[:, 14:16], cut[:, 19:] = 1, 0
    y, x = np.mgrid[:28, :28]
    ringed[:, np.abs(np.sqrt((y - 13.5) ** 2 + (x - 13.5) ** 2) - 13) < 0.8] = 1
    exact = {
        "unchanged": VAL,
        "moved": moved(VAL, 3),
        "faint": 0.3 * VAL,
        "grey paper": (VAL + 1) / 2,
        "black on white": 1 - VAL,
        "crossed out": crossed,
        "ringed*": ringed,
        "cut off*": cut,
    }
    outside = {"order": 1, "mode": "grid-constant"}  # black around the picture
    warped = {
        "turned": ndimage.rotate(VAL, 360 * 0.07, axes=(2, 1), reshape=False, **outside),
        # One and a half times as much of it, about the centre, which is place 13.5.
        "small": ndimage.affine_transform(VAL, [1, 1.5, 1.5, 1], [0, -6.75, -6.75, 0], **outside),
    }
    for name, images in (exact | warped).items():
        same = np.allclose(s.others[name], images, atol=1e-5 if name in warped else 1e-6)
        assert same, f"{name!r} is not made from the validation images as it says"
    assert s.others.keys() == exact.keys() | warped.keys() | {"noisy"}
    noisy = s.others["noisy"]
    alike = [np.corrcoef(made.ravel(), image.ravel())[0, 1] for made, image in zip(noisy[:50], VAL)]
    assert noisy.shape == VAL.shape and 0 <= noisy.min() <= noisy.max() <= 1
    assert np.median(alike) > 0.5, "'noisy' is not made from the validation images as it says"
    assert 0.2 < np.std(noisy[:, :3, :3]) < 0.4


@after("others-figure")
def each_kind_stands_above_its_share(s):
    [(figure, metadata)] = s.figures["others-figure"]
    names = []
    for name, images in s.others.items():
        names.append(f"{name}\n{np.mean(read(s.plain, images) == VAL_LABELS):.1%}")
    check_pictures(figure, [images[-1] for images in s.others.values()], names)
    assert numbers(figure.get_suptitle()) == [VAL_LABELS[-1]], "the title names another digit"
    check_alternative(metadata, VAL_LABELS[-1], len(s.others))


@after("versions")
def the_versions_are_augmented(s):
    [(figure, _)] = s.figures["versions"]
    check_pictures(figure, s.versions, ["warped"] * 10 + ["rough"] * 20)
    for version in s.versions:
        assert not np.allclose(version, IMAGES[0], atol=0.01), "a version is not warped"
    rough = [np.median(version) > 0.02 for version in s.versions]  # the paper is not black
    assert not any(rough[:10]) and any(rough[10:])
    assert numbers(figure.get_suptitle()) == [MNIST["y_train"][0]]


@after("train-augmented")
def the_kinds_with_an_asterisk_are_not_in_the_augmentation(s):
    """Rings would stand out on black pictures, and missing parts on white ones."""
    y, x = np.mgrid[:28, :28]
    ring = np.abs(np.hypot(y - 13.5, x - 13.5) - 13) < 0.8
    for change in (s.warp, s.roughen):
        black = change(tf.zeros((1_000, 28, 28, 1))).numpy()[..., 0]
        ringed = black[:, ring].mean(axis=1) - black[:, ~ring].mean(axis=1)
        assert ringed.max() < 0.5, "the augmentation draws rings"
        white = change(tf.ones((1_000, 28, 28, 1))).numpy()[..., 0]
        cut = white[:, 4:19, 4:24].min(axis=(1, 2)) - white[:, 20:, 4:24].max(axis=(1, 2))
        assert cut.max() < 0.5, "the augmentation cuts digits off"


@after("train-augmented")
def the_pipeline_augments_and_keeps_the_labels(s):
    rough, centres = [], []
    for images, labels in s.fits["train-augmented"][0].data.take(8):
        images, digits = images.numpy(), labels.numpy().argmax(axis=1)
        assert images.shape == (s.BATCH_SIZE, 28, 28, 1) and images.min() >= 0 and images.max() <= 1
        for image in images[-2:]:
            assert not (image == IMAGES[:-HELD_BACK]).all(axis=(1, 2, 3)).any(), "not augmented"
        rough.append([np.median(image) > 0.02 or (image[0] > 0.9).any() for image in images])
        last = slice(s.BATCH_SIZE // 5, None)
        centres += [ndimage.center_of_mass(image[..., 0]) for image in images[last]]
        # A network that knows plain digits reads most warped ones, if they still have their labels.
        right = np.mean(read(s.model, images[last]) == digits[last])
        assert right > 0.6, "labels and images do not belong together"
    fifth, share = s.BATCH_SIZE // 5, np.mean(rough, axis=0)
    some = share[:fifth].mean() > 0.2 and share[fifth:].mean() < 0.05
    assert some, "a fifth of each batch is to be roughened, not more"
    # MNIST's digits lie in the middle; shifts of up to 2 pixels spread them by 2 / sqrt(3).
    spread = np.std(centres)
    assert 0.9 < spread < 1.6, f"the digits are moved by {spread:.2f} pixels, not by 1.2"


@after("train-augmented")
def control_and_augmented_training_differ_in_augmentation_alone(s):
    control = trained_longer(s, "train-plain", s.plain)
    augmented = trained_longer(s, "train-augmented", s.robust)
    assert same_weights(control, augmented), "they start from different weights: another seed"
    configs = [fit.network.optimizer.get_config() for fit in (control, augmented)]
    for config in configs:
        config.pop("name")  # numbered: adam_7, adam_8
    assert configs[0] == configs[1], f"the optimizers differ: {configs}"
    assert len(control.data) == len(augmented.data), "they take different numbers of steps"
    for epochs in zip(control.epochs, augmented.epochs):
        for (plain, labels), (changed, same_labels) in zip(*epochs):
            assert np.array_equal(labels, same_labels), "they see the images in different orders"
            assert not np.array_equal(plain, changed), "the control is augmented, or nothing is"
    [(_, labels), _], [(_, labels_then), _] = augmented.epochs
    assert not np.array_equal(labels, labels_then), "each epoch has the same order"


@after("curves-augmented")
def the_four_curves_are_the_histories(s):
    [(figure, _)] = s.figures["curves-augmented"]
    networks = {"plain": s.plain, "augmented": s.robust}
    check_losses(figure, networks)
    ends = [networks[name].history.history["val_loss"][-1] for name in ("augmented", "plain")]
    agree(numbers(figure.axes[0].get_title()), ends, "the losses end at", 0.0006)


@after("table")
def the_table_tells_what_each_network_reads(s):
    networks = dict(zip(s.table, (s.model, s.plain, s.robust), strict=True))
    falling = f"{s.EPOCHS} epochs, falling rate"
    assert list(networks) == ["Part I", falling, "the same, augmented"]
    assert list(s.table.index) == list(s.others)
    for column, network in networks.items():
        for name, images in s.others.items():
            share, told = np.mean(read(network, images) == VAL_LABELS), s.table[column][name]
            assert abs(told - share) < 1e-9, f"{column!r} of {name!r} is not what the network reads"


@after("test")
def the_test_is_of_the_robust_network_on_the_test_images(s):
    probabilities = ask(s.robust, TEST)
    accuracy = np.mean(probabilities.argmax(axis=1) == TEST_LABELS)
    loss = log_loss(TEST_LABELS, probabilities)
    same = abs(s.test_accuracy - accuracy) < 1e-6
    assert same, "the test accuracy is not that of the plain test images"
    assert abs(s.test_loss - loss) < 1e-3, "the test loss is not that of the plain test images"
    half = stats.norm.ppf(0.975) * np.sqrt(accuracy * (1 - accuracy) / len(TEST))
    told = numbers(s.printed["test"])
    expected = [100 * accuracy, loss, 95, 100 * (accuracy - half), 100 * (accuracy + half)]
    agree(told, expected, "accuracy, loss, level and interval are")


@after("paired")
def paired_counts_compare_the_two_networks(s):
    plain, robust = (read(network, TEST) == TEST_LABELS for network in (s.plain, s.robust))
    counts = [np.sum(plain & ~robust), np.sum(robust & ~plain)]
    agree(numbers(s.printed["paired"]), counts, "images that only plain and only augmented read:")


@after("confusion-figure")
def the_confusion_matrix_is_right(s):
    confusion = confusion_matrix(TEST_LABELS, read(s.robust, TEST), labels=range(10))
    [(figure, metadata)] = s.figures["confusion-figure"]
    ax = figure.axes[0]
    shown = np.zeros((10, 10), int)
    for text in ax.texts:
        column, row = text.get_position()
        shown[row, column] = text.get_text() or 0  # zeros are blank
    assert ax.get_xlabel().startswith("predicted") and ax.get_ylabel().startswith("true")
    same = np.array_equal(shown, confusion) and np.array_equal(ax.images[0].get_array(), confusion)
    assert same, "the confusion matrix is not right, or its rows are not the true digits"
    errors = confusion - np.diag(np.diag(confusion))
    assert numbers(s.printed["confusion"]) == [np.trace(confusion), errors.sum()]
    true, predicted, count = map(int, numbers(ax.get_title()))
    most = errors[true, predicted] == count == errors.max()
    assert most, f"{true} read as {predicted} is not the most frequent mistake, {count} times"
    check_alternative(metadata, errors.sum())


@after("mistakes")
def every_mistake_is_shown(s):
    probabilities, predicted, confidence, wrong = tested(s.robust)
    mistakes = sorted(np.flatnonzero(wrong), key=lambda i: -confidence[i])
    indices = mistakes[:200]
    [(figure, metadata)] = s.figures["mistakes"]
    check_gallery(figure, indices, TEST, predicted, TEST_LABELS)
    assert s.people_saw == DISPUTED, "the disputed labels are not those that people disputed"
    for ax, i in zip(figure.axes, indices):
        second = sorted(range(10), key=lambda digit: -probabilities[i][digit])[1]
        note = f"{confidence[i]:.0%}, then {second}"
        note += f"\npeople: {DISPUTED[i]}" if i in DISPUTED else ""
        assert ax.get_xlabel() == note, f"below digit {i} stands {ax.get_xlabel()!r}, not {note!r}"
    right = sum(np.sort(probabilities[i])[-2] == probabilities[i][TEST_LABELS[i]] for i in mistakes)
    expected = [len(mistakes), right, sum(i in DISPUTED for i in mistakes)]
    what = "mistakes, right second guesses and disputed labels are"
    agree(numbers(figure.get_suptitle()), expected, what)
    check_alternative(metadata, len(indices), len(mistakes))
    told = re.findall(r"a (\d) as a (\d)", metadata["image/png"]["alt"])
    expected = [(str(TEST_LABELS[i]), str(predicted[i])) for i in indices]
    assert told == expected, "the text alternative tells other mistakes"


def check_card(s, names):
    card = json.loads(Path(s.MODELS, "mnist_cnn.json").read_text())
    probabilities, _, _, wrong = tested(s.robust)
    agree(card["test_accuracy"], 1 - np.mean(wrong), "the JSON's test accuracy should be", 1e-6)
    loss = log_loss(TEST_LABELS, probabilities)
    agree(card["test_loss"], loss, "the JSON's test loss should be", 1e-3)
    accuracy = np.mean(read(s.robust, VAL) == VAL_LABELS)
    agree(card["validation_accuracy"], accuracy, "the JSON's validation accuracy should be", 1e-6)
    assert card["settings"] == s.settings, "the JSON's settings are not those of the run"
    assert card["class_names"] == list("0123456789"), "the JSON's class names"
    assert "divided by 255" in card["preprocessing"], "the JSON's preprocessing"
    assert list(card["sha256"]) == names, f"the JSON has checksums of {list(card['sha256'])}"
    for name, digest in card["sha256"].items():
        saved = hashlib.sha256(Path(s.MODELS, name).read_bytes()).hexdigest()
        assert saved == digest, f"the checksum of {name} is wrong"


@after("save")
def the_saved_file_is_the_augmented_network(s):
    path = Path(s.MODELS, "mnist_cnn.keras")
    loaded = keras.models.load_model(path)
    assert same_weights(loaded, s.robust), "models/ does not hold the augmented network of Part III"
    rate = loaded.optimizer.get_config()["learning_rate"]
    trainable = isinstance(rate, float) and rate > 0
    assert trainable, f"whoever trains the saved network further has the learning rate {rate}"
    try:
        s.save(path.name, s.model.save, s.run_keras)
    except AssertionError:
        assert same_weights(keras.models.load_model(path), s.robust), "`save` spoilt the older file"
    else:
        raise AssertionError("`save` proves nothing about the file")
    assert not list(path.parent.glob("unfinished*")), "`save` leaves a file that it refused"
    check_card(s, [path.name])


# --- Part IV --------------------------------------------------------------------------------------


@after("calibration")
def the_calibration_table_is_right(s):
    _, _, confidence, wrong = tested(s.robust)
    for group, row in s.reliability.iterrows():
        inside = (confidence > group.left) & (confidence <= group.right)
        told = row[["answers", "share right", "mean probability"]].astype(float)
        expected = [inside.sum(), 1 - wrong[inside].mean(), confidence[inside].mean()]
        agree(list(told), expected, f"of the answers in {group}", 1e-4)
    assert s.reliability["answers"].sum() == len(TEST), "answers are left out"


@after("threshold")
def the_threshold_comes_from_validation_images(s):
    threshold = np.sort(ask(s.robust, VAL).max(axis=1))[HELD_BACK // 100]
    agree(s.threshold, threshold, "1% of the validation images: the threshold is", 0.02)
    _, _, confidence, wrong = tested(s.robust)
    unsure = confidence < s.threshold
    expected = [unsure.sum(), round(100 * s.threshold), (unsure & wrong).sum(), wrong.sum()]
    agree(numbers(s.printed["threshold"]), expected, "what abstaining buys:")


@after("abstain")
def the_curve_of_abstaining_is_right(s):
    _, _, confidence, wrong = tested(s.robust)
    [(figure, metadata)] = s.figures["abstain"]
    curve, marker = figure.axes[0].lines
    withheld, left = curve.get_data()
    for share in [1, 3, 100]:
        kept = confidence > np.sort(confidence)[int(share * len(TEST) / 100) - 1]
        assert left[np.searchsorted(withheld, share)] == wrong[kept].sum(), f"{share}% withheld"
    unsure = confidence < s.threshold
    assert abs(marker.get_xdata()[0] - 100 * np.mean(unsure)) < 1e-9
    expected = [round(100 * np.mean(unsure), 1), (wrong & unsure).sum(), wrong.sum()]
    agree(numbers(figure.axes[0].get_title()), expected, "the title should say")
    check_alternative(metadata, wrong.sum())


@after("occlusion")
def occlusion_covers_what_it_says(s):
    _, predicted, confidence, wrong = tested(s.robust)
    surest = sorted(np.flatnonzero(wrong), key=lambda i: -confidence[i])[:3]
    [(figure, _)] = s.figures["occlusion"]
    for ax, i in zip(figure.axes, [np.flatnonzero(~wrong)[0], *surest]):
        fall = ax.images[0].get_array()
        places = [(0, 0), (10, 14), (27, 13), np.unravel_index(fall.argmax(), fall.shape)]
        covered = np.stack([TEST[i]] * 4)
        for picture, (row, column) in zip(covered, places):
            picture[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 0
        after_it = ask(s.robust, covered)
        expected = confidence[i] - after_it[:, predicted[i]]
        agree([fall[place] for place in places], expected, f"the map of test image {i} is", 1e-4)
        title = f"true {TEST_LABELS[i]}\nread as {predicted[i]}"
        assert ax.get_title() == title, f"{ax.get_title()!r} stands above test image {i}"
        assert ax.get_xlabel() == f"covered: {after_it[3].argmax()}", f"below test image {i}"


# --- Part V ---------------------------------------------------------------------------------------


def right_answers(s, prepare, pictures, digits):
    """Return whether ``robust`` reads each of ``pictures`` right; a refused one counts as wrong."""
    images, accepted = np.zeros((len(pictures), 28, 28, 1), "float32"), []
    for image, picture in zip(images, pictures):
        try:
            image[..., 0] = prepare(picture)
            accepted.append(True)
        except ValueError:
            accepted.append(False)
    return np.array(accepted) & (read(s.robust, images) == digits)


@after("steps")
def the_steps_are_shown_in_order(s):
    [(figure, _)] = s.figures["steps"]
    assert len(figure.axes) == 5, f"{len(figure.axes)} pictures are shown instead of 5"
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    path = ROOT / "data" / "digits" / "3_squares.jpg"
    grey = np.asarray(Image.open(path).convert("L")) / 255
    assert abs(shown[0].mean() - grey.mean()) < 0.01 and max(shown[0].shape) <= 150
    assert np.allclose(shown[1], 1 - shown[0]), "dark ink on bright paper is not inverted"
    # An opening is an erosion and then a dilation; what it leaves is wider than 0.4.
    wide = max(3, int(0.4 * max(shown[1].shape)))
    eroded, back = ndimage.minimum_filter(shown[1], wide), 2 * (wide % 2 - 1,)
    ink = shown[1] - ndimage.maximum_filter(eroded, wide, origin=back)
    assert np.allclose(shown[2], ink - np.median(ink), atol=1e-9), "not the white top-hat"
    assert np.sum(shown[3] > 0) < 0.2 * shown[3].size and shown[3].max() == 1
    assert np.array_equal(shown[4], s.to_mnist(path)), "another result of the steps"


@after("scores")
def the_scores_of_the_drawn_pictures_are_right(s):
    paths = sorted((ROOT / "data" / "digits").glob("[0-9]_*"))
    digits, kinds = [int(path.name[0]) for path in paths], [path.stem[2:] for path in paths]

    def shrink(path):
        return np.asarray(Image.open(path).convert("L").resize((28, 28))) / 255

    for name, prepare in {"only shrunk": shrink, "all steps": s.to_mnist}.items():
        right = right_answers(s, prepare, paths, digits)
        same = np.array_equal(s.scores[name], right)
        assert same, f"the scores of {name!r} are not what the network reads"
        for kind in ("all", "chalk", "large"):
            counted = right[[kind in ("all", other) for other in kinds]].sum()
            assert s.by_kind.loc[name, kind] == counted, f"{kind} of {name!r}"
    total = s.by_kind["all"]
    steps = ["polarity", "top-hat", "border", "specks", "centre of mass"]
    assert list(total.index) == ["only shrunk", "all steps", *(f"without {step}" for step in steps)]
    assert total["all steps"] >= 79, f"{total['all steps']} of {len(paths)} pictures are read"
    assert total["only shrunk"] < 60, "the preparation does not do what the text says"
    assert total["without polarity"] < 60, "polarity was not left out"
    for step in ("top-hat", "border", "specks"):
        assert total[f"without {step}"] < total["all steps"], f"{step} buys nothing, says the table"


@after("survive")
def mnist_survives_its_preparation(s):
    images = MNIST["x_train"][TRAIN_IMAGES - HELD_BACK : TRAIN_IMAGES]
    plain = np.mean(read(s.robust, VAL) == VAL_LABELS)
    by_box = partial(s.to_mnist, centre=lambda digit: (9.5, 9.5))
    right = [right_answers(s, prepare, images, VAL_LABELS) for prepare in (s.to_mnist, by_box)]
    changes = np.mean(right, axis=1) - plain
    told = [float(number) for number in re.findall(r"[-+]\d\.\d+", s.printed["survive"])]
    agree(told, np.multiply(100, changes), "preparing MNIST's digits changes the accuracy by")
    assert changes[0] > -0.005, "the steps spoil MNIST's own digits"


@after("no-digits")
def warnings_follow_the_one_threshold(s):
    paths = sorted((ROOT / "data" / "digits").glob("no_*"))
    doubted = 0
    for path in paths:
        try:
            digit = s.to_mnist(path)[np.newaxis, ..., np.newaxis]
            doubted += ask(s.robust, digit).max() < s.threshold
        except ValueError:
            doubted += 1
    told = numbers(s.printed["no-digits"])[:2]
    agree(told, [doubted, len(paths)], "Part IV's threshold gives warnings:")


# --- Part VI --------------------------------------------------------------------------------------


@after("export")
def all_files_are_saved_and_belong_together(s):
    left_out = re.findall(".* is left out: .*", s.printed["export"])
    assert not left_out, left_out
    check_card(s, ["mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"])
    assert not list(Path(s.MODELS).glob("unfinished*"))
