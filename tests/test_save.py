"""A save that fails says why, and the model that was there before stays whole."""
import hashlib
import json
import os
import resource
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import ROOT, code_cells

CARD = {"model": "mnist_cnn.keras"}
FILES = {name: os.urandom(1_500_000) for name in ["mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"]}
ADVICE = "folder exists, is writable and has 20 MB free.*saved before is untouched"


@pytest.fixture
def models():
    """A folder that other users may enter, with a model saved earlier in it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in [*FILES, "mnist_cnn.json"]:
            Path(folder, name).write_text("saved before")
        yield Path(folder)


def is_untouched(models):
    return {path.name: path.read_text() for path in models.iterdir()} == dict.fromkeys(
        [*FILES, "mnist_cnn.json"], "saved before")


@contextmanager
def a_user_with_few_rights():
    """Root may write anywhere, so act as nobody, if root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


@contextmanager
def no_more_space(after):
    """Let no file grow beyond ``after`` bytes, which fails as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_save_replaces_all_files_and_leaves_nothing_else(definitions, models):
    definitions.save_files(FILES, CARD, models)
    assert sorted(path.name for path in models.iterdir()) == ["mnist_cnn.json", *FILES]
    for name, content in FILES.items():
        assert (models / name).read_bytes() == content
    card = json.loads((models / "mnist_cnn.json").read_text())
    assert card == CARD | {"sha256": {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}}


def test_missing_folder(definitions, tmp_path):
    with pytest.raises(OSError, match=f"cannot save to .*models.*No such file.*{ADVICE}"):
        definitions.save_files(FILES, CARD, tmp_path / "models")


def test_file_in_place_of_the_folder(definitions, tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(OSError, match=f"cannot save to .*models.*Not a directory.*{ADVICE}"):
        definitions.save_files(FILES, CARD, tmp_path / "models")


def test_read_only_folder(definitions, models):
    models.chmod(0o555)
    with a_user_with_few_rights(), pytest.raises(OSError, match=f"cannot save to .*Permission denied.*{ADVICE}"):
        definitions.save_files(FILES, CARD, models)
    assert is_untouched(models)


@pytest.mark.parametrize("space", [0, 1_000, 100_000, 1_000_000])
def test_full_disk(definitions, models, space):
    with no_more_space(space), pytest.raises(OSError, match=f"cannot save to .*{ADVICE}"):
        definitions.save_files(FILES, CARD, models)
    assert is_untouched(models)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_interruption_while_a_file_is_written(definitions, models, monkeypatch, number):
    written = []

    def write_half(path, content):
        written.append(path)
        with open(path, "wb") as file:
            file.write(content[:len(content) // (1 + (len(written) == number))])
        if len(written) == number:
            raise KeyboardInterrupt
    monkeypatch.setattr(definitions.Path, "write_bytes", write_half)
    with pytest.raises(KeyboardInterrupt):
        definitions.save_files(FILES, CARD, models)
    assert len(written) == number and is_untouched(models)


def test_convert_is_quiet_and_leaves_nothing_behind(definitions, tmp_path, monkeypatch, capfd):
    keras = definitions.keras
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model(keras.ops.zeros((1, 28, 28, 1)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    capfd.readouterr()
    files = definitions.convert(model, {"onnx": "mnist_cnn.onnx", "litert": "mnist_cnn.tflite"})
    assert list(files) == list(FILES) and all(files.values())
    assert capfd.readouterr() == ("", "")
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_without_the_exporters_the_project_fails_and_a_lone_notebook_goes_on(saved, tmp_path, monkeypatch, capsys):
    [cell] = [cell for cell in code_cells(saved) if cell.source.startswith("EXPORTS =")]
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match="tf2onnx"):
        exec(cell.source, {"ROOT": ROOT})
    names = {"ROOT": tmp_path}
    exec(cell.source, names)
    assert names["EXPORTS"] == {} and "pip install" in capsys.readouterr().out
