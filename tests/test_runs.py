"""Headless runs of the whole notebook with other parameters and in other surroundings."""
import nbformat
import pytest

from conftest import copy_project, read_card, read_notebook, run_notebook, tags


def test_one_epoch_works_through_the_whole_notebook(one_epoch):
    card = read_card(one_epoch)
    assert card["parameters"]["EPOCHS"] == 1
    assert 0.98 < card["test_accuracy"] < 1
    executed = read_notebook(one_epoch / "executed.ipynb")
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert not [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs
                if output.get("name") == "stderr"]


def test_same_seed_same_weights_bit_for_bit(one_epoch, tmp_path):
    """A second process, in another folder and started from another one."""
    process = run_notebook(copy_project(tmp_path / "again"), "-p", "EPOCHS", "1", cwd=tmp_path / "again")
    assert process.returncode == 0, process.stderr
    first, second = read_card(one_epoch), read_card(tmp_path / "again")
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["test_accuracy"] == second["test_accuracy"]


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
    process = run_notebook(folder, "-p", "EPOCHS", "1")
    assert process.returncode == 0, process.stderr
    assert 0.98 < read_card(folder)["test_accuracy"] < 1
