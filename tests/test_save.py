"""A save that fails loses nothing: an older file stays whole, the lesson goes on, and a failing
export costs that format alone.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, code_cells, tags

OLDER = b"an older model"


@pytest.fixture
def cell(saved):
    """A function that gives the source of the notebook's cell with a tag."""
    return lambda tag: next(cell.source for cell in code_cells(saved) if tag in tags(cell))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A project's models/ with older files in it, seen from the project's notebooks/."""
    for name in ["models", "notebooks"]:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    for name in ["part_1.keras", "mnist_cnn.keras", "mnist_cnn.json"]:
        (tmp_path / "models" / name).write_bytes(OLDER)
    return tmp_path / "models"


def fails(error):
    """Return a network's method `save` that stops half-way with ``error``."""

    def save(path):
        Path(path).write_bytes(b"half a mod")
        raise error

    return save


@pytest.fixture
def names(lesson, models, monkeypatch):
    """What the lesson has defined at its end, with nothing saved yet, and MODELS in ``models``."""
    names = lesson.go_back().names
    monkeypatch.setitem(names, "MODELS", str(models))
    names["saved"].clear()
    return names


@pytest.mark.parametrize(("tag", "name"), [("save-first", "model"), ("save", "robust")])
def test_a_full_disk_costs_one_line_and_the_older_files_stay(
    cell, names, models, monkeypatch, capsys, tag, name
):
    monkeypatch.setattr(names[name], "save", fails(OSError(28, "No space left on device")))
    exec(cell(tag), names)
    [line] = capsys.readouterr().out.splitlines()
    assert "is not saved, and the lesson goes on" in line and "No space left on device" in line
    assert {path.read_bytes() for path in models.iterdir()} == {OLDER}


@pytest.mark.parametrize(("tag", "name"), [("save-first", "model"), ("save", "robust")])
def test_an_interrupted_save_leaves_the_older_files(cell, names, models, monkeypatch, tag, name):
    monkeypatch.setattr(names[name], "save", fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        exec(cell(tag), names)
    older = ["part_1.keras", "mnist_cnn.keras", "mnist_cnn.json"]
    assert {(models / file).read_bytes() for file in older} == {OLDER}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_without_a_place_to_write_the_lesson_goes_on(cell, names, capsys):
    """In /proc, nobody can make a folder, not even root."""
    names["MODELS"] = "/proc/models"
    for tag in ["save-first", "save", "export", "save-all"]:
        exec(cell(tag), names)
    printed = capsys.readouterr().out
    for name in ["part_1.keras", "mnist_cnn.keras"]:
        assert f"{name} is not saved, and the lesson goes on without it:" in printed
    for name in ["mnist_cnn.onnx", "mnist_cnn.tflite"]:
        assert f"{name} is left out:" in printed


def test_a_saved_network_can_be_trained_further(trained):
    """By whoever loads it: with the finished schedule no weight would move."""
    import keras
    import numpy as np

    network = keras.models.load_model(trained / "models" / "mnist_cnn.keras")
    before = network.get_weights()
    with np.load(ROOT / "data" / "mnist.npz") as mnist:
        x = np.float32(mnist["x_train"][:128, ..., np.newaxis]) / 255
        y = keras.utils.to_categorical(mnist["y_train"][:128], 10)
    network.fit(x, y, epochs=1, verbose=0)
    assert all(np.abs(b - a).max() > 1e-4 for a, b in zip(before, network.get_weights()))


def test_alone_it_saves_beside_itself(cell, tmp_path, monkeypatch):
    """Without the project's folders around it."""
    (tmp_path / "alone").mkdir()
    monkeypatch.chdir(tmp_path / "alone")
    import os

    names = {"os": os}
    exec(cell("save-function"), names)
    assert names["MODELS"] == "models"


def test_killed_while_saving(lesson, cell, models):
    """kill -9 while a process saves again and again: what is in place can always be loaded."""
    import keras

    small = models / "small.keras"
    lesson.go_back().model.save(small)
    code = f"""
import keras, numpy as np, os
x_val = np.zeros((1, 28, 28, 1), "float32")
{cell("save-function")}
network = keras.models.load_model({str(small)!r})
while True:
    save(network, "mnist_cnn.keras")
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()  # it has saved once
    while not list(models.glob("unfinished*")):
        time.sleep(0.001)
    child.kill()
    child.communicate()
    assert list(models.glob("unfinished*")), "the kill hit no save: the test means nothing"
    assert len(keras.models.load_model(models / "mnist_cnn.keras").layers) == 8


@pytest.mark.parametrize("broken", ["onnxruntime", "ai_edge_litert.interpreter", "export"])
def test_a_failing_export_costs_that_format_alone(cell, names, models, monkeypatch, capsys, broken):
    for path in models.iterdir():
        path.unlink()
    exec(cell("save"), names)
    if broken == "export":  # as where Keras's exporter wants something else than it gets

        def export(self, path, format, verbose):
            raise TypeError("expected str instance, PosixPath found")

        monkeypatch.setattr(names["keras"].Model, "export", export)
    else:
        monkeypatch.setitem(sys.modules, broken, None)
    exec(cell("export"), names)
    exec(cell("save-all"), names)
    lost = {
        "onnxruntime": ["mnist_cnn.onnx"],
        "ai_edge_litert.interpreter": ["mnist_cnn.tflite"],
    }.get(broken, ["mnist_cnn.onnx", "mnist_cnn.tflite"])
    printed = capsys.readouterr().out
    for name in ["mnist_cnn.onnx", "mnist_cnn.tflite"]:
        assert (f"{name} is left out:" in printed) == (name in lost)
        assert (models / name).exists() == (name not in lost)
    files = ["mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"]
    digests = json.loads((models / "mnist_cnn.json").read_text())["sha256"]
    assert list(digests) == [name for name in files if name not in lost]
    assert not list(models.glob("unfinished*"))
