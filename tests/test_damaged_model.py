"""A damaged or malicious model file is refused by the code that the model card gives."""

import hashlib
import json
import shutil
import zipfile

import pytest
from conftest import ROOT, model_card_examples, read_card


@pytest.fixture
def load_as_the_card_says(shelf, monkeypatch):
    """Call it to execute the Keras example in models/README.md in the folder ``shelf``."""
    monkeypatch.chdir(shelf)
    return lambda: exec(model_card_examples()["keras"], {})


@pytest.fixture
def shelf(trained, tmp_path):
    """A copy of the trained model, its JSON and the data."""
    shutil.copytree(trained / "models", tmp_path / "models")
    (tmp_path / "data").symlink_to(ROOT / "data")
    return tmp_path


def test_the_good_model_is_not_refused(load_as_the_card_says):
    load_as_the_card_says()


def truncate(path):
    path.write_bytes(path.read_bytes()[:100_000])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def climb_out(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../climbed", "out")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, climb_out])
def test_a_damaged_model_is_refused(load_as_the_card_says, shelf, damage):
    damage(shelf / "models" / "mnist_cnn.keras")
    with pytest.raises(
        ValueError,
        match="mnist_cnn.keras is damaged or was replaced: make it again with `make run`",
    ):
        load_as_the_card_says()


def test_a_model_that_wants_to_run_code_is_refused_even_with_a_forged_json(
    definitions, load_as_the_card_says, shelf
):
    """Only Keras's safe mode stands between this Lambda layer and its code."""
    keras = definitions.keras
    sprung, path = shelf / "sprung", shelf / "models" / "mnist_cnn.keras"
    layer = keras.layers.Lambda(
        eval("lambda x: (open(path, 'w').close(), x)[1]", {"path": str(sprung)})
    )
    keras.Sequential([keras.Input((28, 28, 1)), layer]).save(path)
    card = {
        **read_card(shelf),
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }
    (shelf / "models" / "mnist_cnn.json").write_text(json.dumps(card))
    sprung.unlink()  # building the model ran its code; loading it must not
    with pytest.raises(ValueError, match="Lambda.*arbitrary code"):
        load_as_the_card_says()
    assert not sprung.exists()
