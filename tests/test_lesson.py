"""Every number, picture and file that the lesson shows is right: computed once more, independently
(checks.py).
"""

import pytest
from checks import CHECKS


@pytest.mark.parametrize("name", CHECKS)
def test_lesson(lesson, name):
    if lesson.found[name]:
        raise lesson.found[name]


def test_every_cell_may_run_twice(lesson):
    found = dict(lesson.found_again)
    del found["before_training_it_guesses"]  # the second time it has been trained
    assert not any(found.values()), found
