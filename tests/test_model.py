"""The trained model and its files are what the README and the model card promise."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version

import keras
import numpy as np
import pytest
from checks import MNIST, compiled_as_promised, has_the_eight_layers, read
from conftest import ROOT, read_card, run_cells

# The code that models/README.md gives for each file.
EXAMPLES = {
    re.search(r"mnist_cnn\.(keras|onnx|tflite)", example)[1]: example
    for example in re.findall(
        r"```python\n(.*?)```", (ROOT / "models" / "README.md").read_text(), re.S
    )
}


def test_exactly_the_eight_layers_with_adam_and_categorical_crossentropy(model):
    has_the_eight_layers(model)
    compiled_as_promised(model)


def test_accuracy_of_the_notebook_s_settings(trained, model, definitions):
    card = read_card(trained)
    settings = {name: getattr(definitions, name) for name in card["settings"]}
    assert card["settings"] == settings, "build/test was not trained with the notebook's settings"
    images, labels = MNIST["x_train"][-5_000:, ..., np.newaxis], MNIST["y_train"][-5_000:]
    share = np.mean(read(model, images / np.float32(255)) == labels)
    assert abs(share - card["validation_accuracy"]) < 1e-6, f"the JSON's is not {share}, the file's"
    accuracies = card["validation_accuracy"], card["test_accuracy"]
    assert 0.994 <= min(accuracies) and max(accuracies) < 1, accuracies


def test_json_belongs_to_the_files(trained):
    card = read_card(trained)
    files = sorted((trained / "models").glob("mnist_cnn.[!j]*"))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert card["sha256"] == digests, "the JSON has other checksums than the files"
    for package in ("tensorflow", "keras", "numpy"):
        assert card["versions"][package] == version(package), f"the JSON's version of {package}"


def test_model_card_says_what_is_in_the_files(trained, model):
    text = " ".join((ROOT / "models" / "README.md").read_text().split())
    card = read_card(trained)
    for stated in [
        f"trained on {len(MNIST['x_train']):,} digits",
        f"the last {card['settings']['VALIDATION_SIZE']:,} are held back for validation",
        f"the {len(MNIST['x_test']):,} test images",
        str(model.input_shape).replace("None", "n"),
        *(f"`{name}`" for name in card["sha256"]),
    ]:
        assert stated in text, f"models/README.md does not say {stated!r}"


AFTERWARDS = """
import sys
print("tensorflow" in sys.modules)
print((probabilities.argmax(axis=1) == np.load("data/mnist.npz")["y_test"]).mean())
"""


@pytest.mark.parametrize("file", ["keras", "onnx", "tflite"])
def test_model_card_loads_it_elsewhere_to_the_stated_accuracy(trained, file):
    """The examples in models/README.md, word for word, in a process of their own."""
    command = [sys.executable, "-c", EXAMPLES[file] + AFTERWARDS]
    process = subprocess.run(command, cwd=trained, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    *_, tensorflow, accuracy = process.stdout.split()
    assert tensorflow == str(file == "keras"), "an example needs TensorFlow, or Keras does not"
    assert abs(float(accuracy) - read_card(trained)["test_accuracy"]) < 1e-6


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """The path of a copy of the trained model, with its JSON beside it, in the current folder."""
    shutil.copytree(trained / "models", tmp_path / "models")
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models" / "mnist_cnn.keras"


def test_damaged_model_is_refused(copy):
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged or was replaced: make it again with `make run`"):
        exec(EXAMPLES["keras"], {})


def test_model_that_wants_to_run_code_is_refused_even_with_a_forged_json(copy, tmp_path):
    """Only Keras's safe mode stands between this Lambda layer and its code."""
    sprung = tmp_path / "sprung"
    trap = eval("lambda x: (open(path, 'w').close(), x)[1]", {"path": str(sprung)})
    keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Lambda(trap)]).save(copy)
    digests = {copy.name: hashlib.sha256(copy.read_bytes()).hexdigest()}
    copy.with_suffix(".json").write_text(json.dumps({"sha256": digests}))
    sprung.unlink()  # building the model ran its code; loading it must not
    with pytest.raises(ValueError, match="Lambda.*arbitrary code"):
        exec(EXAMPLES["keras"], {})
    assert not sprung.exists(), "code in the model file was run"


BAD_SETTINGS = {
    "SEED": 0,
    "EPOCHS": -1,
    "FILTERS_1": 1.5,
    "FILTERS_2": (96,),
    "BATCH_SIZE": "128",
    "VALIDATION_SIZE": 60_000,
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_are_refused_by_name(name):
    value = BAD_SETTINGS[name]
    expected = f"{name} must be a whole number from 1 to 50,000, not {value!r}"
    with pytest.raises(ValueError, match=re.escape(expected)):
        run_cells("parameters", "check-settings", **{name: value})
