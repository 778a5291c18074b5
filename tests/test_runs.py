"""Headless runs of the whole notebook, with one or two epochs, in surroundings that differ from nbval's."""
import re
import shlex

import nbformat
import pytest

from conftest import collect_notebook, copy_project, mount_namespace, read_card, read_notebook, start_notebook, tags


def printed(notebook, pattern):
    """Return what the group in ``pattern`` matches in the text that the executed ``notebook`` printed."""
    text = "".join(output.text for cell in notebook.cells if cell.cell_type == "code"
                   for output in cell.outputs if output.get("name") == "stdout")
    [found] = re.findall(pattern, text)
    return found


def accuracy(notebook):
    """Return the test accuracy, in percent, that the executed ``notebook`` printed."""
    return float(printed(notebook, r"test accuracy (\d+\.\d+)%"))


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """Two runs at once in one checkout, of two epochs, so that augmentation takes part.

    The checkout's path has spaces and non-ASCII letters. The first run starts in the notebook's folder. The second
    starts in the project's, has no display and a home folder that is empty and read-only.
    """
    folder = copy_project(tmp_path_factory.mktemp("runs") / "chiffres écrits 数字")
    home = tmp_path_factory.mktemp("home")
    freeze = "mount --bind {0} {0} && mount -o remount,ro,bind {0}".format(shlex.quote(str(home)))
    prefix = [*mount_namespace(), "sh", "-c", f'{freeze} && unset DISPLAY && exec "$@"', "sh"]
    runs = [start_notebook(folder, "first executed.ipynb", epochs=2),
            start_notebook(folder, "second executed.ipynb", epochs=2, cwd=folder, prefix=prefix, HOME=str(home))]
    notebooks = [collect_notebook(run) for run in runs]
    assert not list(home.iterdir())
    return folder, notebooks


def test_same_seed_same_weights_bit_for_bit(two_runs):
    first, second = (printed(notebook, r"weights ([0-9a-f]{16})") for notebook in two_runs[1])
    assert first == second


def test_two_runs_at_once_leave_a_whole_model(two_runs):
    folder, [first, _] = two_runs
    card = read_card(folder)
    assert card["parameters"]["EPOCHS"] == 2
    assert card["weights_sha256"].startswith(printed(first, r"weights ([0-9a-f]{16})"))
    assert sorted(path.name for path in (folder / "models").iterdir()) == [
        "mnist_cnn.json", "mnist_cnn.keras", "mnist_cnn.onnx", "mnist_cnn.tflite"]


@pytest.fixture(scope="module")
def one_epoch_runs(tmp_path_factory):
    """Two runs of one epoch: with one thread, and with arithmetic that does not use oneDNN."""
    surroundings = {"one thread": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
                    "no oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"}}
    runs = [start_notebook(copy_project(tmp_path_factory.mktemp("one") / name), "executed.ipynb", **environment)
            for name, environment in surroundings.items()]
    return [collect_notebook(run) for run in runs]


def test_one_epoch_works_through_the_whole_notebook(one_epoch_runs):
    for notebook in one_epoch_runs:
        assert 98.5 < accuracy(notebook) < 100
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert cell.execution_count
                assert not [output for output in cell.outputs if output.get("name") == "stderr"]


def test_threads_and_arithmetic_change_the_result_within_the_spread_of_seeds(one_epoch_runs):
    one_thread, no_onednn = map(accuracy, one_epoch_runs)
    assert abs(one_thread - no_onednn) < 0.3


def test_two_devices_train_one_model(tmp_path):
    """Two logical CPU devices stand in for two GPUs: the notebook mirrors the model on both."""
    folder = copy_project(tmp_path / "two devices")
    path = folder / "notebooks" / "mnist_cnn.ipynb"
    notebook = read_notebook(path)
    [at] = [n for n, cell in enumerate(notebook.cells) if "parameters" in tags(cell)]
    notebook.cells.insert(at, nbformat.v4.new_code_cell(
        "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0],\n"
        "                                           [tf.config.LogicalDeviceConfiguration()] * 2)"))
    notebook.cells.append(nbformat.v4.new_code_cell(
        "assert type(strategy).__name__ == 'MirroredStrategy' and strategy.num_replicas_in_sync == 2"))
    nbformat.write(notebook, path)
    assert 98 < accuracy(collect_notebook(start_notebook(folder, "executed.ipynb"))) < 100
