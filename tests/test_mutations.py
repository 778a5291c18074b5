"""The checks bite: each test breaks one thing and demands that it is noticed, with an error that
names the cause.

Those of the lesson stand in mutations.toml. Each starts from the state before the cell that it
changes (lesson.py). Then either the lesson itself stops, or the named check of checks.py fails.
"""

import copy
import re
import subprocess
import sys
import tomllib

import nbformat
import pytest
import test_saved_notebook as saved_checks
from checks import CHECKS
from conftest import ROOT, code_cells, copy_project, outputs, read_notebook, tags

MUTATIONS = tomllib.loads((ROOT / "tests" / "mutations.toml").read_text())


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught(lesson, name):
    old, new, check, message = MUTATIONS[name]
    if check:
        until, check = CHECKS[check]
        state = lesson.run(old, new, until)
        with pytest.raises(AssertionError, match=re.escape(message) or None):
            check(state)
    else:
        with pytest.raises((AssertionError, ValueError), match=re.escape(message)):
            lesson.run(old, new, "export")


def edit_an_output(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.get("name") == "stdout" and "test accuracy" in output.text:
                output.text = re.sub(r"\d\d\.\d\d%", "99.99%", output.text, count=1)
                return


def swap_counts(notebook):
    first, second = code_cells(notebook)[:2]
    first.execution_count, second.execution_count = 2, 1


def forget_a_count(notebook):
    code_cells(notebook)[-1].execution_count = None


def misspell_a_tag(notebook):
    cell = next(cell for cell in notebook.cells if "nbval-ignore-output" in tags(cell))
    cell.metadata.tags = ["nbval-ignore-outputs"]


def ignore_one_more(notebook):
    cell = next(cell for cell in notebook.cells if cell.get("outputs") and not tags(cell))
    cell.metadata.tags = ["nbval-ignore-output"]


def store_a_warning(notebook):
    code_cells(notebook)[0].outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="Warning")
    ]


def drop_a_description(notebook):
    next(o for o in outputs(notebook) if "image/png" in o.get("data", {})).metadata = {}


def paste_another_picture(notebook):
    notebook.cells[0].attachments["pad.png"]["image/png"] = "iVBORw0KGgo="


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (edit_an_output, saved_checks.test_outputs_are_those_of_the_run),
        (swap_counts, saved_checks.test_saved_from_one_clean_run),
        (forget_a_count, saved_checks.test_saved_from_one_clean_run),
        (misspell_a_tag, saved_checks.test_tags_are_spelt_right),
        (ignore_one_more, saved_checks.test_exactly_these_cells_are_not_compared),
        (store_a_warning, saved_checks.test_no_error_and_no_noise_is_stored),
        (drop_a_description, saved_checks.test_every_figure_has_a_text_alternative),
        (paste_another_picture, saved_checks.test_pictures_shown_elsewhere_are_those_of_this_run),
    ],
    ids=lambda function: function.__name__,
)
def test_change_to_the_saved_notebook_is_caught(saved, change, check):
    changed = copy.deepcopy(saved)
    change(changed)
    assert changed != saved
    check(saved)
    with pytest.raises((AssertionError, KeyError)):
        check(changed)


def test_nbval_notices_an_edited_output(tmp_path):
    """nbval itself, on the notebook up to the size of its training data, which was changed."""
    notebook = read_notebook()
    last = next(n for n, cell in enumerate(notebook.cells) if "55000" in str(cell.get("outputs")))
    notebook.cells = notebook.cells[: last + 1]
    for output in notebook.cells[-1].outputs:
        output.text = output.text.replace("55000", "55001")
    path = copy_project(tmp_path, 60_000, 10_000) / "notebooks" / "mnist_cnn.ipynb"
    nbformat.write(notebook, path)
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", path], capture_output=True, text=True
    )
    cells = len(code_cells(notebook))
    assert process.returncode == 1, process.stdout
    assert f"1 failed, {cells - 1} passed" in process.stdout and "55001" in process.stdout
