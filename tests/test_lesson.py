"""Every number, picture and file that the lesson shows is right (checks.py)."""

import re

import pytest
from conftest import ROOT

CHECKS = re.findall(r"^def (check_\w+)", (ROOT / "tests" / "checks.py").read_text(), re.M)


@pytest.mark.parametrize("name", CHECKS)
def test_lesson(found, name):
    assert not found["errors"][name], found["errors"][name]


def test_every_check_has_run_and_whatever_is_shown_is_checked(found):
    """Each number, title, line and picture was changed, one at a time: some check has noticed."""
    assert list(found["errors"]) == CHECKS and not found["unchecked"]
    assert not found["survivors"], "\n".join(found["survivors"])
    assert found["changes"] > 500
