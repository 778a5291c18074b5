"""A save that fails or is killed loses nothing; a failing export costs that format alone."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from conftest import ROOT, code_cells, read_notebook, run_cells, tags

OLDER = dict.fromkeys(["mnist_cnn.keras", "mnist_cnn.json"], b"an older model")
EXPORTS = ["mnist_cnn.onnx", "mnist_cnn.tflite"]
BROKEN = {"onnxruntime": EXPORTS[:1], "ai_edge_litert.interpreter": EXPORTS[1:], "export": EXPORTS}
SOURCES = {tag: cell.source for cell in code_cells(read_notebook()) for tag in tags(cell)}


@pytest.fixture
def models(tmp_path):
    """A folder with older files in it."""
    for name, content in OLDER.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained_names(trained):
    """What the lesson defines until it saves, with the networks that nbval's run has trained."""
    part_1 = keras.models.load_model(trained / "models" / "part_1.keras")
    robust = keras.models.load_model(trained / "models" / "mnist_cnn.keras")
    wanted = "imports parameters check-settings definitions data split test paired".split()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT / "notebooks")
        others = {"plain": part_1, "accuracy_on": lambda network, images: 0.99}
        return vars(run_cells(*wanted, model=part_1, robust=robust, **others))


@pytest.fixture
def names(trained_names, models, monkeypatch):
    """These names, with nothing saved yet, and MODELS in ``models``."""
    monkeypatch.setitem(trained_names, "MODELS", str(models))
    trained_names["saved"].clear()
    return trained_names


def fill_the_disk(path):
    """A network's method `save` that stops half-way."""
    Path(path).write_bytes(b"half a mod")
    raise OSError(28, "No space left on device")


def test_on_a_full_disk_the_older_files_stay(names, models, monkeypatch):
    monkeypatch.setattr(names["robust"], "save", fill_the_disk)
    with pytest.raises(OSError, match="No space left on device"):
        exec(SOURCES["save"], names)
    assert contents(models) == OLDER, "the older files are lost, or half a file stays"


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_while_saving(models, kill):
    code = f"""
import os, signal
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
def write(path):
    Path(path).write_text("half a mod")
    os.kill(os.getpid(), {kill:d})
{SOURCES["save-function"]}
MODELS = "."
save("mnist_cnn.keras", write, None)"""
    process = subprocess.run([sys.executable, "-c", code], cwd=models, capture_output=True)
    assert process.returncode == -kill, process.stderr.decode()
    assert OLDER.items() <= contents(models).items(), "an older file is lost"


@pytest.mark.parametrize("broken", BROKEN)
def test_a_failing_export_costs_that_format_alone(names, models, monkeypatch, capsys, broken):
    if broken == "export":  # as where Keras's exporter wants something else than it gets
        monkeypatch.setattr(keras.Model, "export", None)
    else:
        monkeypatch.setitem(sys.modules, broken, None)
    for tag in ["save", "export"]:
        exec(SOURCES[tag], names)
    printed = capsys.readouterr().out
    assert re.findall(r"^(.*) is left out:", printed, re.M) == BROKEN[broken]
    files = [name for name in ["mnist_cnn.keras", *EXPORTS] if name not in BROKEN[broken]]
    assert list(json.loads((models / "mnist_cnn.json").read_text())["sha256"]) == files
    assert contents(models).keys() == {*OLDER, *files}, "a file is missing, or too many are left"
