"""Every number, picture and file that the lesson shows is right: computed once more, independently
(checks.py).
"""

import pytest
from checks import CHECKS
from conftest import tags


@pytest.mark.parametrize("name", CHECKS)
def test_lesson(lesson, name):
    if lesson.found[name]:
        raise lesson.found[name]


def test_no_figure_goes_unchecked(lesson):
    figures = lesson.go_back().figures
    for cell in lesson.cells:
        drawn = any(figures.get(tag) for tag in tags(cell))
        assert not drawn or tags(cell) & figures.asked, f"no check looks at {sorted(tags(cell))}"


def test_every_cell_may_run_twice(lesson):
    found = dict(lesson.found_again)
    del found["before_training_it_guesses"]  # the second time it has been trained
    assert not any(found.values()), found
