"""The trained model: eight layers as promised, saved whole, and as good after loading as its JSON says."""
import hashlib
import re
import subprocess
import sys

import pytest

from conftest import model_card_examples, read_card, run_cells


@pytest.fixture(scope="module")
def model(definitions, trained):
    return definitions.keras.models.load_model(trained / "models" / "mnist_cnn.keras")


def test_exactly_the_eight_layers(model):
    assert [type(layer).__name__ for layer in model.layers] == [
        "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dropout", "Dense"]
    dense, dropout, last = model.layers[5:]
    assert (dense.units, dense.activation.__name__) == (128, "relu")
    assert dropout.rate == 0.5
    assert (last.units, last.activation.__name__) == (10, "softmax")
    assert model.input_shape == (None, 28, 28, 1)


def test_compiled_with_adam_and_categorical_crossentropy(model):
    assert model.optimizer.name == "adam"
    assert "categorical_crossentropy" in str(model.get_compile_config()["loss"])


def test_accuracy_of_the_default_parameters(trained, definitions):
    card = read_card(trained)
    assert card["parameters"] == {name: getattr(definitions, name) for name in card["parameters"]}, \
        "the model in build/test was not trained with the notebook's default parameters"
    assert 0.994 <= card["test_accuracy"] < 1
    assert 0.99 <= card["validation_accuracy"] < 1


def test_json_belongs_to_the_model(trained, model):
    card = read_card(trained)
    assert sorted(card["sha256"]) == ["mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"]
    for name, digest in card["sha256"].items():
        assert hashlib.sha256((trained / "models" / name).read_bytes()).hexdigest() == digest
    weights = b"".join(weight.tobytes() for weight in model.get_weights())
    assert hashlib.sha256(weights).hexdigest() == card["weights_sha256"]


@pytest.mark.parametrize("file", ["keras", "onnx", "tflite"])
def test_model_card_loads_it_elsewhere_to_the_stated_accuracy(trained, file):
    """The examples in models/README.md, word for word, in a process that knows nothing of this one."""
    example = model_card_examples()[file]
    if file != "keras":
        example += "\nimport sys\nassert 'tensorflow' not in sys.modules, 'this file is to work without TensorFlow'"
    example += "\nprint((probabilities.argmax(axis=1) == np.load('data/mnist.npz')['y_test']).mean())"
    process = subprocess.run([sys.executable, "-c", example], cwd=trained, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert float(process.stdout.splitlines()[-1]) == read_card(trained)["test_accuracy"]


@pytest.mark.parametrize("parameter, value", [
    ("EPOCHS", 0), ("EPOCHS", 1.5), ("FILTERS_1", 0), ("FILTERS_2", (96,)), ("BATCH_SIZE", "128"), ("ROUGH_SHARE", float("nan")), ("VALIDATION_SIZE", 60_000),
    ("LEARNING_RATE", -1), ("LEARNING_RATE", "high"), ("SEED", -1)])
def test_bad_parameters_are_refused_by_name(parameter, value):
    with pytest.raises(ValueError, match=f"{parameter} must .* not {re.escape(repr(value))}: change it in the parameters cell"):
        run_cells("imports", "parameters", "check-parameters", **{parameter: value})
