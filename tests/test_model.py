"""The trained model and its files are what the model card promises. A save that fails or is killed
loses nothing; a failing export costs that format alone.
"""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MNIST, ROOT, run_cells

CARD = (ROOT / "models" / "README.md").read_text()
PROGRAMS = dict(zip(["keras", "onnx", "tflite"], re.findall(r"```python\n(.*?)```", CARD, re.S)))
AFTERWARDS = """
import sys
print("tensorflow" in sys.modules)
print((probabilities.argmax(axis=1) == np.load("data/mnist.npz")["y_test"]).mean())
"""
OLDER = {f"mnist_cnn.{ending}": b"an older model" for ending in ("keras", "onnx", "tflite")}


def export(folder, network):
    """Run the lesson's cell that saves ``network``, to ``folder``; return its test accuracy."""
    images = MNIST["x_test"][..., None].astype("float32") / 255
    answers = network.predict(images, batch_size=1_000, verbose=0)
    right = answers.argmax(axis=1) == MNIST["y_test"]
    network.compile("adam", loss="categorical_crossentropy")
    names = {"x_test": images, "test_answers": answers, "test_right": right, "robust": network}
    run_cells("imports", "parameters", "export", MODELS=folder, **names)
    return right.mean()


@pytest.fixture(scope="module")
def exported(networks, tmp_path_factory):
    """A project's folder with the files of the augmented network, and its test accuracy."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "models").mkdir()
    (folder / "data").symlink_to(ROOT / "data")
    return folder, export(folder / "models", networks[1])


@pytest.mark.parametrize("file", PROGRAMS)
def test_model_card_s_program_reads_the_test_images(exported, file):
    """Word for word, in a process of its own."""
    folder, expected = exported
    command = [sys.executable, "-c", PROGRAMS[file] + AFTERWARDS]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    *_, tensorflow, accuracy = process.stdout.split()
    assert tensorflow == str(file == "keras"), "a program needs TensorFlow, or Keras's does not"
    # No difference has been seen, but rounding may turn a close call or two of 10,000.
    assert abs(float(accuracy) - expected) < 5e-4


def test_malicious_or_damaged_model_is_refused(tmp_path, monkeypatch):
    """Only Keras's safe mode stands between a Lambda layer and its code."""
    import keras  # takes seconds, which nbval would wait for

    monkeypatch.chdir(tmp_path)
    path, sprung = Path("models/mnist_cnn.keras"), tmp_path / "sprung"
    path.parent.mkdir()
    trap = eval("lambda x: (open(path, 'w').close(), x)[1]", {"path": str(sprung)})
    keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Lambda(trap)]).save(path)
    sprung.unlink()  # building the model ran its code; loading it must not
    with pytest.raises(ValueError, match="Lambda.*arbitrary code"):
        exec(PROGRAMS["keras"], {})
    assert not sprung.exists(), "code in the model file was run"
    path.write_bytes(path.read_bytes()[:-99])
    with pytest.raises(ValueError, match=r"filepath=models/mnist_cnn\.keras"):
        exec(PROGRAMS["keras"], {})


@pytest.fixture
def models(tmp_path):
    """A folder with older files in it."""
    for name, content in OLDER.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def stayed(models):
    """Return the names of the older files that are still there."""
    return [name for name, content in OLDER.items() if (models / name).read_bytes() == content]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_killed_interrupted_or_on_a_full_disk(models, networks, monkeypatch, error):
    def save(network, path):
        Path(path).write_bytes(b"half a mod")
        left.append(stayed(models))  # where it is killed at this moment
        raise error

    left = []
    monkeypatch.setattr("keras.Sequential.save", save)
    with contextlib.suppress(KeyboardInterrupt):
        export(models, networks[1])
    assert left == [list(OLDER)] and "mnist_cnn.keras" in stayed(models), "an older file is lost"


def test_a_failing_export_costs_that_format_alone(models, networks, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed
    export(models, networks[1])
    assert "mnist_cnn.onnx is left out: " in capsys.readouterr().out
    assert stayed(models) == ["mnist_cnn.onnx"], "another file was not saved, or its older one lost"
