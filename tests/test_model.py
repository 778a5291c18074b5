"""The trained model is what the README and the model card promise, and its three files and the JSON
belong together.
"""

import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest
from checks import compiled_as_promised, has_the_eight_layers
from conftest import ROOT, model_card_examples, read_card, run_cells


@pytest.fixture(scope="module")
def model(trained):
    import keras

    return keras.models.load_model(trained / "models" / "mnist_cnn.keras")


def test_exactly_the_eight_layers(model):
    has_the_eight_layers(model)
    assert model.input_shape == (None, 28, 28, 1)


def test_compiled_with_adam_and_categorical_crossentropy(model):
    compiled_as_promised(model)


def test_accuracy_of_the_notebook_s_settings(trained, model, definitions):
    card = read_card(trained)
    assert card["settings"] == {name: getattr(definitions, name) for name in card["settings"]}, (
        "the model in build/test was not trained with the notebook's own settings"
    )
    mnist = np.load(ROOT / "data" / "mnist.npz")
    for images, labels, name in [
        (mnist["x_test"], mnist["y_test"], "test_accuracy"),
        (mnist["x_train"][-5_000:], mnist["y_train"][-5_000:], "validation_accuracy"),
    ]:
        read = model.predict(
            images[..., np.newaxis].astype("float32") / 255, batch_size=1_000, verbose=0
        ).argmax(axis=1)
        assert abs(np.mean(read == labels) - card[name]) < 1e-6, (
            f"the JSON's {name} is not that of the file"
        )
        assert 0.994 <= card[name] < 1


def test_json_belongs_to_the_files(trained):
    card = read_card(trained)
    files = ["mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite", "part_1.keras"]
    assert list(card["sha256"]) == files
    for name, digest in card["sha256"].items():
        assert hashlib.sha256((trained / "models" / name).read_bytes()).hexdigest() == digest
    assert sorted(path.name for path in (trained / "models").iterdir()) == [
        "mnist_cnn.json",
        *files,
    ]


@pytest.mark.parametrize("file", ["keras", "onnx", "tflite"])
def test_model_card_loads_it_elsewhere_to_the_stated_accuracy(trained, file):
    """The examples in models/README.md, word for word, in a process of their own."""
    example = model_card_examples()[file]
    if file != "keras":
        example += (
            "\nimport sys\nassert 'tensorflow' not in sys.modules, 'TensorFlow is not needed'"
        )
    example += (
        "\nprint((probabilities.argmax(axis=1) == np.load('data/mnist.npz')['y_test']).mean())"
    )
    process = subprocess.run(
        [sys.executable, "-c", example], cwd=trained, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert abs(float(process.stdout.splitlines()[-1]) - read_card(trained)["test_accuracy"]) < 1e-6


MOST = {"SEED": "4,294,967,295", "BATCH_SIZE": "50,000", "VALIDATION_SIZE": "50,000"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("EPOCHS", 0),
        ("EPOCHS", 1.5),
        ("FILTERS_1", 0),
        ("FILTERS_2", (96,)),
        ("BATCH_SIZE", "128"),
        ("VALIDATION_SIZE", 60_000),
        ("VALIDATION_SIZE", float("nan")),
        ("SEED", -1),
        ("SEED", 2**32),
    ],
)
def test_bad_settings_are_refused_by_name(setting, value):
    limits = f"{int(setting != 'SEED')} to {MOST.get(setting, '1,000')}"
    expected = f"{setting} must be a whole number from {limits}, not {value!r}"
    with pytest.raises(ValueError, match=re.escape(expected)):
        run_cells("parameters", "check-settings", **{setting: value})


@pytest.mark.parametrize("seed", [0, 123_456, 2**32 - 1])
def test_every_seed_is_accepted(seed):
    run_cells("imports", "parameters", "check-settings", "seed", SEED=seed)
