"""A save that fails loses nothing: the older model stays whole, and a failing export costs that
format alone.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import code_cells, tags

OLDER = b"an older model"


@pytest.fixture
def cell(saved):
    """A function that gives the source of the notebook's cell with a tag."""
    return lambda tag: next(cell.source for cell in code_cells(saved) if tag in tags(cell))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A project's models/ with an older model in it, seen from the project's notebooks/."""
    for name in ["models", "notebooks"]:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    (tmp_path / "models" / "mnist_cnn.keras").write_bytes(OLDER)
    return tmp_path / "models"


class Fails:
    """A network whose saving stops half-way with ``error``."""

    def __init__(self, error):
        self.error = error

    def save(self, path):
        Path(path).write_bytes(b"half a mod")
        raise self.error


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), OSError(28, "No space left on device")],
    ids=["interrupted", "disk full"],
)
@pytest.mark.parametrize("tag, name", [("save-plain", "model"), ("save", "robust")])
def test_a_failed_save_leaves_the_older_model(cell, models, error, tag, name):
    import os

    names = {
        "os": os,
        name: Fails(error),
        "MODELS": "../models",
        "unfinished": "../models/unfinished-1.keras",
    }
    with pytest.raises(type(error)):
        exec(cell(tag), names)
    assert (models / "mnist_cnn.keras").read_bytes() == OLDER


def test_alone_it_saves_beside_itself(cell, tmp_path, monkeypatch):
    import os

    (tmp_path / "alone").mkdir()
    monkeypatch.chdir(tmp_path / "alone")

    class Works:
        def save(self, path):
            Path(path).write_bytes(b"new")

    exec(cell("save-plain"), {"os": os, "model": Works()})
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.keras")] == [
        "alone/models/mnist_cnn.keras"
    ]


def test_killed_while_saving(lesson, cell, models):
    """kill -9 while a child saves again and again: what is in place can always be loaded."""
    small = models / "small.keras"
    lesson.go_back().model.save(small)
    code = f"""
import keras, os, random, signal, sys, time
model, cell = keras.models.load_model({str(small)!r}), {cell("save-plain")!r}
exec(cell, {{"os": os, "model": model}})
delays = random.Random(0)
for _ in range(8):
    child = os.fork()
    if not child:
        while True:
            exec(cell, {{"os": os, "model": model}})
    time.sleep(delays.uniform(0.1, 0.5))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(keras.models.load_model("../models/mnist_cnn.keras").layers) == 8
hits = [name for name in os.listdir("../models") if name.startswith("unfinished")]
print(len(hits), "kills hit a save")
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert int(process.stdout.split()[0]) >= 2, (
        "too few kills hit a save for this test to mean anything"
    )


@pytest.mark.parametrize("broken", ["onnxruntime", "ai_edge_litert.interpreter", "export"])
def test_a_failing_export_costs_that_format_alone(
    lesson, cell, models, monkeypatch, capsys, broken
):
    names = lesson.go_back().names
    names["MODELS"] = str(models)
    names["robust"].save(models / "mnist_cnn.keras")
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
    assert list(json.loads((models / "mnist_cnn.json").read_text())["sha256"]) == [
        name
        for name in ["mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"]
        if name not in lost
    ]
    assert not list(models.glob("unfinished*"))
