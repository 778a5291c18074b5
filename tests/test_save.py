"""A save that fails or is killed loses nothing; a failing export costs that format alone."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from conftest import MNIST, ROOT, run_cells

OLDER = {f"mnist_cnn.{ending}": b"an older model" for ending in ("keras", "onnx", "tflite")}


@pytest.fixture
def models(tmp_path):
    """A folder with older files in it."""
    for name, content in OLDER.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def export(folder):
    """Run the lesson's cell that saves, with a network that has not been trained."""
    layers = keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")
    network = keras.Sequential([keras.Input((28, 28, 1), name="image"), *layers])
    network.compile("adam", loss="categorical_crossentropy")
    images = MNIST["x_test"][:1_000, ..., None].astype("float32") / 255
    answers = network.predict(images, verbose=0)
    names = {"x_test": images, "test_answers": answers, "test_right": answers.argmax(axis=1) == 7}
    run_cells("imports", "parameters", "export", MODELS=Path(folder), robust=network, **names)


def stayed(models):
    """Return the names of the older files that are still there."""
    return [name for name, content in OLDER.items() if (models / name).read_bytes() == content]


def test_killed_while_saving(models):
    code = f"""
import os, signal, keras, test_save
def save(network, path):
    open(path, "w").write("half a mod")
    os.kill(os.getpid(), signal.SIGKILL)
keras.Sequential.save = save
test_save.export({str(models)!r})"""
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert stayed(models) == list(OLDER), "an older file is lost"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_interrupted_or_on_a_full_disk(models, monkeypatch, error):
    def save(network, path):
        Path(path).write_bytes(b"half a mod")
        raise error

    monkeypatch.setattr(keras.Sequential, "save", save)
    with contextlib.suppress(KeyboardInterrupt):
        export(models)
    assert "mnist_cnn.keras" in stayed(models), "the older file is lost"


def test_a_failing_export_costs_that_format_alone(models, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed
    export(models)
    assert "mnist_cnn.onnx is left out: " in capsys.readouterr().out
    assert stayed(models) == ["mnist_cnn.onnx"], "another file was not saved, or its older one lost"
