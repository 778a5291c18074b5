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


def test_accuracy_of_the_default_parameters(trained, model, definitions):
    card = read_card(trained)
    assert card["parameters"] == {
        name: getattr(definitions, name) for name in card["parameters"]
    }, "the model in build/test was not trained with the notebook's default parameters"
    assert card["epochs"] == card["parameters"]["EPOCHS"]
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
    assert sorted(card["sha256"]) == ["mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"]
    for name, digest in card["sha256"].items():
        assert hashlib.sha256((trained / "models" / name).read_bytes()).hexdigest() == digest
    assert sorted(path.name for path in (trained / "models").iterdir()) == [
        "mnist_cnn.json",
        *sorted(card["sha256"]),
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


@pytest.mark.parametrize(
    "parameter, value",
    [
        ("EPOCHS", 0),
        ("EPOCHS", 1.5),
        ("FILTERS_1", 0),
        ("FILTERS_2", (96,)),
        ("BATCH_SIZE", "128"),
        ("VALIDATION_SIZE", 60_000),
        ("VALIDATION_SIZE", float("nan")),
        ("SEED", -1),
    ],
)
def test_bad_parameters_are_refused_by_name(parameter, value):
    with pytest.raises(
        ValueError,
        match=f"{parameter} must be a whole number from 1 to 50,000, not {re.escape(repr(value))}",
    ):
        run_cells("parameters", "check-parameters", **{parameter: value})
