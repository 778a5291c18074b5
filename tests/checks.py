"""What the lesson shows, computed once more: independently of its code, from MNIST's file and the
trained networks.

Each check takes the `State` that the lesson has reached (lesson.py), at the cell whose tag it is
registered for. It raises AssertionError if the lesson's numbers, pictures or files are not what
they claim to be.
"""

import hashlib
import json
import re
from pathlib import Path

import keras
import numpy as np
from conftest import ROOT
from lesson import PARAMETERS, TEST_IMAGES
from PIL import Image
from scipy import ndimage, stats
from sklearn.metrics import confusion_matrix, log_loss

MNIST = dict(np.load(ROOT / "data" / "mnist.npz"))
HELD_BACK = PARAMETERS["VALIDATION_SIZE"]
IMAGES = np.float32(MNIST["x_train"])[..., np.newaxis] / 255
VAL, VAL_LABELS = IMAGES[-HELD_BACK:], MNIST["y_train"][-HELD_BACK:]
TEST, TEST_LABELS = (
    np.float32(MNIST["x_test"][:TEST_IMAGES, ..., np.newaxis]) / 255,
    MNIST["y_test"][:TEST_IMAGES],
)
DISPUTED = {
    947: "9",
    1621: "6",
    1901: "4",
    2462: "0",
    2597: "3",
    3558: "0",
    5937: "3",
    6651: "6",
    6783: "6",
    9729: "6",
    2654: "no digit",
    3520: "no digit",
    9679: "no digit",
    2130: "they differ",
    8527: "they differ",
}
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


def same_weights(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights()))


def numbers(text):
    """Return the numbers in ``text``, without thousands separators, as floats."""
    return [
        float(number)
        for number in re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", text))
    ]


def check_gallery(figure, indices, images, predicted, labels):
    """Raise unless ``figure`` shows ``images`` at ``indices`` in order, with marks and frames as
    ``predicted`` deserves.
    """
    assert len(figure.axes) == len(indices), (
        f"{len(figure.axes)} digits are shown instead of {len(indices)}"
    )
    for ax, i in zip(figure.axes, indices):
        assert np.array_equal(ax.images[0].get_array().squeeze(), images[i].squeeze()), (
            f"digit {i} is not where it should be"
        )
        wrong, title = predicted[i] != labels[i], ax.get_title()
        assert title == f"{'✗' if wrong else '✓'} {predicted[i]}, true {labels[i]}", (
            f"the words above digit {i} are wrong: {title}"
        )
        assert (ax.spines["top"].get_linewidth() > 1) == wrong, f"the frame of digit {i} is wrong"
        assert ax.spines["top"].get_edgecolor()[
            :3
        ] == ax.title.get_color() or ax.title.get_color() in ("#0072B2", "#D55E00")
        assert (ax.title.get_color() == "#D55E00") == wrong, f"the colour of digit {i} is wrong"


# --- Part I ---------------------------------------------------------------------------------------


@after("split")
def the_images_are_mnist_and_scaled(s):
    for name, part in {
        "x_train": slice(None, -HELD_BACK),
        "x_val": slice(-HELD_BACK, None),
    }.items():
        images, labels = s.names[name], s.names[name.replace("x", "y")]
        assert images.shape == IMAGES[part].shape and np.allclose(
            images, IMAGES[part], atol=1e-6
        ), f"{name} is not MNIST's training images {part}, divided by 255"
        assert np.array_equal(labels, np.eye(10)[MNIST["y_train"][part]]), (
            f"a one-hot label of {name} is not its image's"
        )


def has_the_eight_layers(network):
    layers = network.layers
    kinds = " ".join(type(layer).__name__ for layer in layers)
    eight = "Conv2D MaxPooling2D Conv2D MaxPooling2D Flatten Dense Dropout Dense"
    assert kinds == eight, kinds.split()
    activations = [layer.activation.__name__ for layer in layers if hasattr(layer, "activation")]
    assert activations == ["relu", "relu", "relu", "softmax"], f"the activations are {activations}"
    assert layers[5].units == 128 and layers[7].units == 10, (
        "the dense layers are to have 128 and 10 units"
    )
    assert layers[6].rate == 0.5, "half of the features are to be dropped"


@after("model")
def the_network_has_the_eight_layers(s, network="model"):
    has_the_eight_layers(s.names[network])
    filters = [layer.filters for layer in s.names[network].layers if hasattr(layer, "filters")]
    assert filters == [s.FILTERS_1, s.FILTERS_2], "the filters are not those of the parameters"


def compiled_as_promised(network):
    optimizer, loss = type(network.optimizer).__name__, network.get_compile_config()["loss"]
    assert optimizer == "Adam", f"the optimizer is {optimizer}, not Adam"
    assert loss == "categorical_crossentropy", f"the loss is {loss}, not categorical_crossentropy"


def validated_on_plain_images(options):
    images, labels = options["validation_data"]
    assert np.allclose(images, VAL, atol=1e-6), (
        "`fit` does not validate on the plain validation images"
    )
    assert np.array_equal(labels.argmax(axis=1), VAL_LABELS), "`fit` validates with other labels"


@after("train-plain")
def part_one_trains_plainly(s):
    [(network, images, (labels, batch_size), options)] = s.fits["train-plain"]
    assert network is s.model
    compiled_as_promised(network)
    validated_on_plain_images(options)
    assert np.allclose(images, IMAGES[:-HELD_BACK], atol=1e-6) and len(labels) == len(images), (
        "not the training images"
    )
    assert batch_size == s.BATCH_SIZE and options["epochs"] == min(3, s.EPOCHS)


@after("train-plain")
def before_training_it_guesses(s):
    loss, accuracy = numbers(s.printed["train-plain"].splitlines()[0])
    assert abs(loss - np.log(10)) < 0.3 and accuracy < 40, (
        "before training the network should guess"
    )


@after("picture")
def the_gallery_highlights_the_validation_mistakes(s):
    predicted = read(s.model, VAL)
    assert np.array_equal(s.val_mistakes, np.flatnonzero(predicted != VAL_LABELS)), (
        "not the validation mistakes"
    )
    [(figure, _)] = s.figures["picture"]
    wrong = [i for i in s.sample if predicted[i] != VAL_LABELS[i]]
    assert len(set(s.sample)) == 32 and len(wrong) == min(6, len(s.val_mistakes))
    check_gallery(figure, s.sample, VAL, predicted, VAL_LABELS)
    assert numbers(figure.get_suptitle()) == [32 - len(wrong), len(wrong)]


@after("load")
def the_saved_file_is_part_ones_network(s):
    assert s.loaded is not s.model, "the model in memory proves nothing about the file"
    assert same_weights(keras.models.load_model(Path(s.MODELS, "mnist_cnn.keras")), s.model), (
        "another model was saved"
    )
    assert not list(Path(s.MODELS).glob("unfinished*"))


# --- Part II --------------------------------------------------------------------------------------


@after("moved")
def moved_digits_are_counted_right(s):
    told = [numbers(line) for line in s.printed["moved"].splitlines()]
    assert [pixels for pixels, _ in told] == [0, 2, 3, 4]
    for pixels, share in told:
        moved = ndimage.shift(VAL, (0, pixels, pixels, 0), order=0, mode="grid-wrap")
        assert abs(100 * np.mean(read(s.model, moved) == VAL_LABELS) - share) <= 0.5, (
            f"moved by {pixels} pixels"
        )


@after("others")
def other_pictures_are_validation_digits(s):
    crossed = VAL.copy()
    crossed[:, 14:16] = 1
    exact = {
        "unchanged": VAL,
        "moved": ndimage.shift(VAL, (0, 3, 3, 0), order=0, mode="grid-wrap"),
        "faint": 0.3 * VAL,
        "grey paper": (VAL + 1) / 2,
        "black on white": 1 - VAL,
        "crossed out": crossed,
    }
    outside = {"order": 1, "mode": "grid-constant"}  # black around the picture
    warped = {
        "turned": ndimage.rotate(VAL, 360 * 0.07, axes=(2, 1), reshape=False, **outside),
        # One and a half times as much of it, about the centre, which is place 13.5.
        "small": ndimage.affine_transform(VAL, [1, 1.5, 1.5, 1], [0, -6.75, -6.75, 0], **outside),
    }
    for name, images in (exact | warped).items():
        assert np.allclose(s.others[name], images, atol=1e-5 if name in warped else 1e-6), (
            f"{name!r} is not made from the validation images as it says"
        )
    assert s.others.keys() == exact.keys() | warped.keys() | {"noisy"}
    noisy = s.others["noisy"]
    alike = [np.corrcoef(made.ravel(), image.ravel())[0, 1] for made, image in zip(noisy[:50], VAL)]
    assert noisy.shape == VAL.shape and 0 <= noisy.min() <= noisy.max() <= 1
    assert np.median(alike) > 0.5, "'noisy' is not made from the validation images as it says"
    assert 0.2 < np.std(noisy[:, :3, :3]) < 0.4


def check_column(s, column, network):
    assert list(s.table.index) == list(s.others)
    for name, images in s.others.items():
        share = np.mean(read(network, images) == VAL_LABELS)
        assert abs(s.table[column][name] - share) < 1e-9, (
            f"{column!r} of {name!r} is not what the network reads"
        )


@after("table-before")
def the_table_tells_what_the_plain_network_reads(s):
    check_column(s, "plain training", s.model)


@after("pipeline")
def the_pipeline_augments_and_keeps_the_labels(s):
    rough = []
    for images, labels in s.train_data.take(8):
        images, digits = images.numpy(), labels.numpy().argmax(axis=1)
        assert images.shape == (s.BATCH_SIZE, 28, 28, 1) and images.min() >= 0 and images.max() <= 1
        assert not any(
            (image == IMAGES[:-HELD_BACK]).all(axis=(1, 2, 3)).any() for image in images[-2:]
        ), "not augmented"
        rough.append([np.median(image) > 0.02 or (image[0] > 0.9).any() for image in images])
        # A network that knows plain digits reads most warped ones, if they still have their labels.
        last = slice(s.BATCH_SIZE // 5, None)
        assert np.mean(read(s.model, images[last]) == digits[last]) > 0.6, (
            "labels and images do not belong together"
        )
    share = np.mean(rough, axis=0)
    fifth = s.BATCH_SIZE // 5
    assert share[:fifth].mean() > 0.2 and share[fifth:].mean() < 0.05, (
        "a fifth of each batch is to be roughened, not more"
    )


@after("train")
def part_two_trains_the_same_layers_anew(s):
    [(network, data, _, options)] = s.fits["train"]
    assert network is s.robust and network is not s.model
    the_network_has_the_eight_layers(s, "robust")
    compiled_as_promised(network)
    validated_on_plain_images(options)
    assert data is s.train_data, "it is not trained on the augmented images"
    assert options["epochs"] == s.EPOCHS
    rate = network.optimizer.get_config()["learning_rate"]["config"]
    assert rate["decay_steps"] + (rate.get("warmup_steps") or 0) == s.EPOCHS * len(s.train_data), (
        "the learning rate does not reach 0 at the last step"
    )


@after("curves")
def the_curves_are_the_history(s):
    [(figure, _)] = s.figures["curves"]
    for line, name in zip(figure.axes[0].lines, ["accuracy", "val_accuracy"]):
        assert np.allclose(line.get_ydata(), 100 * (1 - np.array(s.robust.history.history[name])))


@after("table-after")
def the_table_tells_what_the_robust_network_reads(s):
    check_column(s, "plain training", s.model)
    check_column(s, "with augmentation", s.robust)
    gain = s.table["with augmentation"] - s.table["plain training"]
    assert gain.drop("unchanged").min() > -0.01 and gain.max() > 0.2, (
        "augmentation does not do what the text says"
    )


@after("test")
def the_test_is_of_the_robust_network_on_the_test_images(s):
    probabilities = ask(s.robust, TEST)
    accuracy, loss = (
        np.mean(probabilities.argmax(axis=1) == TEST_LABELS),
        log_loss(TEST_LABELS, probabilities),
    )
    assert abs(s.test_accuracy - accuracy) < 1e-6, (
        "the test accuracy is not that of the plain test images"
    )
    assert abs(s.test_loss - loss) < 1e-3, "the test loss is not that of the plain test images"
    half = stats.norm.ppf(0.975) * np.sqrt(accuracy * (1 - accuracy) / len(TEST))
    told = numbers(s.printed["test"])
    expected = [100 * accuracy, loss, 95, 100 * (accuracy - half), 100 * (accuracy + half)]
    assert np.allclose(told, expected, atol=0.006), (
        f"accuracy, loss, level and interval are {expected}, not {told}"
    )


@after("confusion-figure")
def the_confusion_matrix_is_right(s):
    confusion = confusion_matrix(TEST_LABELS, read(s.robust, TEST), labels=range(10))
    [(figure, _)] = s.figures["confusion-figure"]
    ax = figure.axes[0]
    shown = np.zeros((10, 10), int)
    for text in ax.texts:
        column, row = text.get_position()
        shown[row, column] = text.get_text()
    assert ax.get_xlabel().startswith("predicted") and ax.get_ylabel().startswith("true")
    assert np.array_equal(shown, confusion), (
        "the confusion matrix is not right, or its rows are not the true digits"
    )
    errors = confusion - np.diag(np.diag(confusion))
    assert numbers(s.printed["confusion"]) == [np.trace(confusion), errors.sum()]
    assert numbers(ax.get_title()) == [errors.max()]


@after("mistakes")
def every_mistake_is_shown(s):
    probabilities = ask(s.robust, TEST)
    predicted = probabilities.argmax(axis=1)
    mistakes = np.flatnonzero(predicted != TEST_LABELS)
    indices = sorted(mistakes, key=lambda i: -probabilities[i].max())[:200]
    [(figure, _)] = s.figures["mistakes"]
    check_gallery(figure, indices, TEST, predicted, TEST_LABELS)
    assert s.people_saw == DISPUTED, "the disputed labels are not those that people disputed"
    for ax, i in zip(figure.axes, indices):
        second = sorted(range(10), key=lambda digit: -probabilities[i][digit])[1]
        note = f"{probabilities[i].max():.0%}, then {second}"
        note += f"\npeople: {DISPUTED[i]}" if i in DISPUTED else ""
        assert ax.get_xlabel() == note, f"below digit {i} stands {ax.get_xlabel()!r}, not {note!r}"
    right = sum(np.sort(probabilities[i])[-2] == probabilities[i][TEST_LABELS[i]] for i in mistakes)
    told, counted = (
        numbers(figure.get_suptitle()),
        [len(mistakes), right, sum(i in DISPUTED for i in mistakes)],
    )
    assert told == counted, (
        f"mistakes, right second guesses and disputed labels are {counted}, not {told}"
    )


def check_card(s, names):
    card = json.loads(Path(s.MODELS, "mnist_cnn.json").read_text())
    probabilities = ask(s.robust, TEST)
    assert (
        abs(card["test_accuracy"] - np.mean(probabilities.argmax(axis=1) == TEST_LABELS)) < 1e-6
    ), "the JSON's test accuracy is not that of the test images"
    assert abs(card["test_loss"] - log_loss(TEST_LABELS, probabilities)) < 1e-3
    assert abs(card["validation_accuracy"] - np.mean(read(s.robust, VAL) == VAL_LABELS)) < 1e-6
    assert card["epochs"] == len(s.robust.history.epoch) and card["parameters"] == s.parameters
    assert list(card["sha256"]) == names
    for name, digest in card["sha256"].items():
        assert hashlib.sha256(Path(s.MODELS, name).read_bytes()).hexdigest() == digest, (
            f"the checksum of {name} is wrong"
        )


@after("save")
def the_saved_file_is_part_twos_network(s):
    assert same_weights(keras.models.load_model(Path(s.MODELS, "mnist_cnn.keras")), s.robust), (
        "models/ does not hold the network of Part II"
    )
    assert not list(Path(s.MODELS).glob("unfinished*"))
    check_card(s, ["mnist_cnn.keras"])


# --- Part III -------------------------------------------------------------------------------------


@after("calibration")
def the_calibration_table_is_right(s):
    probabilities = ask(s.robust, TEST)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == TEST_LABELS
    for group, row in s.reliability.iterrows():
        inside = (confidence > group.left) & (confidence <= group.right)
        assert np.allclose(
            row[["answers", "share right", "mean probability"]].astype(float),
            [inside.sum(), right[inside].mean(), confidence[inside].mean()],
            atol=1e-4,
        ), group
    assert s.reliability["answers"].sum() == len(TEST)


@after("threshold")
def the_threshold_comes_from_validation_images(s):
    threshold = np.sort(ask(s.robust, VAL).max(axis=1))[HELD_BACK // 100]
    assert abs(s.threshold - threshold) < 0.02, (
        f"the threshold is {s.threshold}, not 1% of the validation images' {threshold}"
    )
    probabilities = ask(s.robust, TEST)
    unsure, wrong = (
        probabilities.max(axis=1) < s.threshold,
        probabilities.argmax(axis=1) != TEST_LABELS,
    )
    told = numbers(s.printed["threshold"])
    assert told == [unsure.sum(), round(100 * s.threshold), (unsure & wrong).sum(), wrong.sum()], (
        "what abstaining buys is not what is printed"
    )


@after("abstain")
def the_curve_of_abstaining_is_right(s):
    probabilities = ask(s.robust, TEST)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != TEST_LABELS
    [(figure, _)] = s.figures["abstain"]
    curve, marker = figure.axes[0].lines
    withheld, left = curve.get_data()
    for share in [1, 3, 100]:
        kept = confidence > np.sort(confidence)[int(share * len(TEST) / 100) - 1]
        assert left[np.searchsorted(withheld, share)] == wrong[kept].sum(), f"{share}% withheld"
    assert abs(marker.get_xdata()[0] - 100 * np.mean(confidence < s.threshold)) < 1e-9
    assert numbers(figure.axes[0].get_title())[1:] == [
        (wrong & (confidence < s.threshold)).sum(),
        wrong.sum(),
    ]


# --- Part IV --------------------------------------------------------------------------------------


@after("scores")
def the_scores_of_the_drawn_pictures_are_right(s):
    paths = sorted((ROOT / "data" / "digits").glob("[0-9]_*"))
    digits = np.array([int(path.name[0]) for path in paths])
    shrunk = [np.asarray(Image.open(path).convert("L").resize((28, 28))) / 255 for path in paths]
    prepared = []
    for path in paths:
        try:
            prepared.append(s.to_mnist(path))
        except ValueError:
            prepared.append(np.zeros((28, 28)))
    images = {"only shrunk": shrunk, "to_mnist": prepared}
    for name, column in images.items():
        right = read(s.robust, np.float32(column)[..., np.newaxis]) == digits
        assert np.array_equal(s.scores[name], right), (
            f"the scores of {name!r} are not what the network reads"
        )
        assert abs(s.by_kind[name]["all"] - right.mean()) < 1e-9
        assert (
            abs(
                s.by_kind[name]["chalk"]
                - right[[path.stem[2:] == "chalk" for path in paths]].mean()
            )
            < 1e-9
        )
    assert (
        s.by_kind["only shrunk"]["all"]
        < s.by_kind["four steps"]["all"]
        < s.by_kind["to_mnist"]["all"]
    ), "the preparation does not do what the text says"


@after("survive")
def mnist_survives_its_preparation(s):
    prepared = np.stack([s.to_mnist(image) for image in MNIST["x_train"][-HELD_BACK:]])[
        ..., np.newaxis
    ]
    change = 100 * (
        np.mean(read(s.robust, prepared) == VAL_LABELS) - np.mean(read(s.robust, VAL) == VAL_LABELS)
    )
    assert (
        abs(float(re.search(r"[-+]\d\.\d+", s.printed["survive"])[0]) - change) < 0.006
        and change > -0.5
    )


@after("no-digits")
def warnings_follow_the_one_threshold(s):
    paths = sorted((ROOT / "data" / "digits").glob("no_*"))
    doubted = 0
    for path in paths:
        try:
            doubted += (
                ask(s.robust, s.to_mnist(path)[np.newaxis, ..., np.newaxis]).max() < s.threshold
            )
        except ValueError:
            doubted += 1
    assert numbers(s.printed["no-digits"])[:2] == [doubted, len(paths)], (
        "the warnings do not follow Part III's threshold"
    )


# --- Parts V and VI -------------------------------------------------------------------------------


@after("inside")
def the_responses_are_those_of_the_filters(s):
    weights, biases = s.robust.layers[0].get_weights()
    for channel in s.strongest:
        response = (
            ndimage.correlate(s.my_digit, weights[..., 0, channel], mode="constant")[2:-2, 2:-2]
            + biases[channel]
        )
        assert np.allclose(s.activations[0][0, :, :, channel], np.maximum(response, 0), atol=1e-4)
    size = np.abs(weights).sum(axis=(0, 1, 2))
    assert list(s.strongest) == sorted(range(len(size)), key=lambda channel: -size[channel])[:2]


@after("occlusion")
def occlusion_covers_what_it_says(s):
    drop = s.occlude(s.robust, s.my_digit)
    before = ask(s.robust, s.my_digit[np.newaxis, ..., np.newaxis])[0]
    for row, column in [(0, 0), (10, 14), (27, 13)]:
        covered = s.my_digit.copy()
        covered[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 0
        after_it = ask(s.robust, covered[np.newaxis, ..., np.newaxis])[0, before.argmax()]
        assert abs(drop[row, column] - (before.max() - after_it)) < 1e-4


@after("save-all")
def all_files_are_saved_and_belong_together(s):
    check_card(s, ["mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"])
    assert not list(Path(s.MODELS).glob("unfinished*"))
