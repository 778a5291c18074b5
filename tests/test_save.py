"""A save that fails says why, and the model that was there before stays whole."""
import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

CARD = {"model": "mnist_cnn.keras"}
ADVICE = "folder exists, is writable and has 5 MB free.*saved before is untouched"


@pytest.fixture(scope="module")
def model(definitions):
    keras = definitions.keras
    return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(500)])


@pytest.fixture
def models():
    """A folder that other users may enter, with a model saved earlier in it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in ["mnist_cnn.keras", "mnist_cnn.json"]:
            Path(folder, name).write_text("saved before")
        yield Path(folder)


def is_untouched(models):
    return {path.name: path.read_text() for path in models.iterdir()} == {
        "mnist_cnn.keras": "saved before", "mnist_cnn.json": "saved before"}


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


def test_save_replaces_both_files_and_leaves_nothing_else(definitions, model, models):
    definitions.save_model(model, CARD, models)
    assert sorted(path.name for path in models.iterdir()) == ["mnist_cnn.json", "mnist_cnn.keras"]
    loaded = definitions.keras.models.load_model(models / "mnist_cnn.keras")
    assert loaded.count_params() == model.count_params()


def test_missing_folder(definitions, model, tmp_path):
    with pytest.raises(OSError, match=f"cannot save to .*models.*No such file.*{ADVICE}"):
        definitions.save_model(model, CARD, tmp_path / "models")


def test_file_in_place_of_the_folder(definitions, model, tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(OSError, match=f"cannot save to .*models.*Not a directory.*{ADVICE}"):
        definitions.save_model(model, CARD, tmp_path / "models")


def test_read_only_folder(definitions, model, models):
    models.chmod(0o555)
    with a_user_with_few_rights(), pytest.raises(OSError, match=f"cannot save to .*Permission denied.*{ADVICE}"):
        definitions.save_model(model, CARD, models)
    assert is_untouched(models)


@pytest.mark.parametrize("space", [0, 1_000, 100_000, 1_000_000])
def test_full_disk(definitions, model, models, space):
    with no_more_space(space), pytest.raises(OSError, match=f"cannot save to .*{ADVICE}"):
        definitions.save_model(model, CARD, models)
    assert is_untouched(models)


def test_failure_while_the_model_is_written(definitions, models):
    class Broken:
        def save(self, path):
            Path(path).write_text("half of a mod")
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        definitions.save_model(Broken(), CARD, models)
    assert is_untouched(models)
