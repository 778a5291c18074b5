"""Are the numbers in texts and tables those that they should be?"""

import re

import numpy as np

WORDS = "two three four five six seven eight nine ten eleven twelve thirteen fourteen".split()
WORDS = dict(zip(WORDS, range(2, 15))) | {"fifteen": 15, "twenty": 20, "thirty": 30}
NUMBER = re.compile(  # not in names: AVX2, MD5, 934632d
    r"(?:(?<!\S)-)?(?:(?<![\w-])|(?<=\s-)|(?<=\dx))\d+(?:\.\d*)?(?:e[-+]\d+)?(?![a-wyz\d])"
    rf"|\b(?:{'|'.join(WORDS)})\b",
    re.IGNORECASE,
)


def says(text, *expected, places=0, rtol=0):
    """Raise unless the numbers in ``text``, in words also, are as ``expected``, in order.

    Each may be off by half a unit of its last digit, and a little more, for other rounding.
    ``places`` is how many decimals are shown at least, where NumPy leaves zeros out. ``rtol`` is
    what may be off besides, as a share. Where a reason is expected, a string, it may be any.
    """
    told = NUMBER.findall(re.sub(r",(?=\d{3})", "", text))
    assert len(told) == len(expected), f"{text!r} has not the numbers {expected}"
    for number, value in zip(told, expected):
        if isinstance(value, str):
            continue
        number = str(WORDS.get(number.lower(), number))
        mantissa, _, exponent = number.partition("e")
        decimals = max(places, len(mantissa.partition(".")[2]) - int(exponent or 0))
        bound = 0.51 * 10.0**-decimals + rtol * abs(value)
        close = abs(float(number) - value) <= bound < np.inf
        assert close, f"{number} in {text!r} should be {value}"


def tells(table, columns, rows, places=0):
    """Raise unless ``table`` has these ``columns`` and ``rows``, lists of numbers by name."""
    assert list(table) == columns and list(table.index) == list(rows), f"\n{table}"
    for name, expected in rows.items():
        says(" ".join(map(str, table.loc[name])), *expected, places=places)
