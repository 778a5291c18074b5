"""Hostile and unlucky surroundings of the model file, for real: damage, malice, kills, full and read-only disks."""
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import pytest

from conftest import ROOT, model_card_examples, mount_namespace, read_card, read_notebook


def python(code, *arguments, mount=None):
    """Run ``code`` in a new Python process; with ``mount``, in a mount namespace after those shell commands."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    if mount:
        command = [*mount_namespace(), "sh", "-c", f"{mount} && exec {shlex.join(command)}"]
    return subprocess.run(command, capture_output=True, text=True)


# The model file: the code that the model card gives refuses whatever is not the saved model.

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
    with pytest.raises(ValueError, match="mnist_cnn.keras is damaged or was replaced: make it again with `make run`"):
        load_as_the_card_says()


def test_a_model_that_wants_to_run_code_is_refused_even_with_a_forged_json(definitions, load_as_the_card_says, shelf):
    """Only Keras's safe mode stands between this Lambda layer and its code."""
    keras = definitions.keras
    sprung, path = shelf / "sprung", shelf / "models" / "mnist_cnn.keras"
    layer = keras.layers.Lambda(eval("lambda x: (open(path, 'w').close(), x)[1]", {"path": str(sprung)}))
    keras.Sequential([keras.Input((28, 28, 1)), layer]).save(path)
    card = {**read_card(shelf), "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}}
    (shelf / "models" / "mnist_cnn.json").write_text(json.dumps(card))
    sprung.unlink()  # building the model ran its code; loading it must not
    with pytest.raises(ValueError, match="Lambda.*arbitrary code"):
        load_as_the_card_says()
    assert not sprung.exists()


# Saving: the code of the notebook's cell, on disks that fill up or refuse, and killed.

SAVE = "\n".join(["import hashlib, json, os, sys, tempfile", "from pathlib import Path"] + [
    cell.source for cell in read_notebook().cells if "def save_files" in cell.source] + [
    "files = {path.name: path.read_bytes() for path in sorted(Path(sys.argv[1]).glob('mnist_cnn.*[!n]'))}"]) + "\n"
NAMES = ["mnist_cnn.json", "mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"]


@pytest.mark.parametrize("mount, reason", [
    ("mount -t tmpfs -o size=1m tmpfs {0} && cp {1}/* {0}", "No space left"),
    ("mount -t tmpfs -o size={2} tmpfs {0} && cp {1}/* {0}", "No space left"),
    ("mount --bind {0} {0} && cp {1}/* {0} && mount -o remount,ro,bind {0}", "Read-only file system")],
    ids=["full at once", "full at the last file", "read-only"])
def test_disk_that_is_full_or_read_only(shelf, tmp_path, mount, reason):
    models, before = tmp_path / "a disk", tmp_path / "before"
    models.mkdir(), before.mkdir()
    for name in NAMES:
        (before / name).write_text("saved before")
    all_but_a_bit = sum((shelf / "models" / name).stat().st_size for name in NAMES[1:]) - 100_000
    process = python(SAVE + """
assert len(files) == 3
try:
    save_files(files, {}, Path(sys.argv[2]))
finally:
    print({path.name: path.read_text() for path in sorted(Path(sys.argv[2]).iterdir())})
""", shelf / "models", models, mount=mount.format(shlex.quote(str(models)), before, all_but_a_bit))
    assert process.returncode != 0
    assert re.search(f"OSError: cannot save to .*a disk .*{reason}.*A model saved before is untouched", process.stderr)
    assert process.stdout.strip() == str(dict.fromkeys(NAMES, "saved before"))


def test_killed_20_times_during_the_save(shelf):
    """kill -9 while a child process saves again and again, each time another version: every file stays whole."""
    process = python(SAVE + """
import itertools, keras, random, signal, time
folder = Path(sys.argv[1])
def save(number):
    save_files({name: data + number.to_bytes(4) for name, data in files.items()}, {"number": number}, folder)
start = time.monotonic()
save(0)
duration = time.monotonic() - start
delays = random.Random(0)
for n in range(1, 21):
    child = os.fork()
    if not child:
        for number in itertools.count(1_000_000 * n):
            save(number)
    time.sleep(delays.uniform(duration, 4 * duration))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    now = {name: (folder / name).read_bytes() for name in files}
    card = json.loads((folder / "mnist_cnn.json").read_text())
    assert all(now[name][:-4] == data for name, data in files.items())
    assert len(keras.models.load_model(folder / "mnist_cnn.keras").layers) == 8  # it ignores the number at the end
    numbers = [int.from_bytes(data[-4:]) for data in now.values()]
    belongs = [hashlib.sha256(data).hexdigest() == card["sha256"][name] for name, data in now.items()]
    assert belongs == [number == card["number"] for number in numbers]
    assert numbers == sorted(numbers, reverse=True) and card["number"] <= numbers[-1]
    print(all(belongs))
print(len(list(folder.glob(".saving-*"))), "kills hit a save")
""", shelf / "models")
    assert process.returncode == 0, process.stderr
    *together, hits = process.stdout.splitlines()
    # The files change places one after the other, the JSON last. A kill in the few milliseconds between leaves newer
    # files beside the older JSON, whose checksums tell. Here all that a child does is write and move, so it happens.
    assert len(together) == 20 and together.count("True") >= 3
    assert int(hits.split()[0]) >= 5, "too few kills hit a save for this test to mean anything"
