"""The solutions folded away at the end of the lesson work, and their answers are true."""

import re

import numpy as np
import pandas as pd
import pytest
from checks import numbers
from conftest import ROOT, tags

RESULTS = pd.read_csv(ROOT / "benchmarks" / "results.csv")


def accuracies(recipe):
    """Return the test accuracies, in percent, that the benchmark has measured of ``recipe``."""
    return 100 * RESULTS.accuracy[RESULTS.recipe == recipe]


@pytest.fixture(scope="module")
def solutions(saved):
    """By the number of its exercise each solution's Python code, and its answer."""
    text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    found = re.findall(r"<summary>Solution (\d).*?```python\n(.*?)```(.*?)</details>", text, re.S)
    return {number: (code, answer) for number, code, answer in found}


@pytest.fixture
def names(lesson):
    """What the notebook has defined when it ends, with few training images."""
    names = lesson.go_back().names
    names.update(EPOCHS=2)
    return names


def test_every_solution_is_tested(solutions):
    assert list(solutions) == ["1", "2", "3", "4", "5", "6"]


def test_when_to_say_i_do_not_know(solutions, names, capsys):
    """Each further avoided mistake costs more right answers, as the answer says."""
    exec(solutions["1"][0], names)
    lines = [numbers(line) for line in capsys.readouterr().out.splitlines()]
    shares, avoided, given_up = zip(*lines)
    assert shares == (0.2, 1, 5) and list(avoided) == sorted(avoided)
    assert avoided[-1] > len(names["mistakes"]) / 2
    assert given_up[2] - given_up[1] > avoided[2] - avoided[1]
    cost = [right / mistakes for right, mistakes in zip(given_up, avoided)]
    told = numbers(solutions["1"][1])[:6:2]  # right answers for each avoided mistake
    assert np.allclose(np.log2(cost), np.log2(told), atol=1), f"{cost}, not about {told}"


def test_no_careless_pictures(solutions, names, saved, capsys):
    exec(solutions["2"][0], names)
    lines = capsys.readouterr().out.splitlines()[-3:]  # after those of the training
    _, warped, augmented = (numbers(line)[0] for line in lines)
    assert warped < augmented - 5, "the warped network reads noisy digits as the augmented one does"
    # Trained with few images, it is no measure of the answer. The others' shares are in the table.
    [table] = [cell for cell in saved.cells if "table" in tags(cell)]
    shares = numbers(re.search("noisy.*", table.outputs[0].data["text/plain"])[0])[1:]
    told = numbers(solutions["2"][1])[1:3]
    assert np.allclose(shares, told, atol=3), f"plain and augmented read {shares}, not {told}"


def test_fashion_mnist(solutions, names, fashion_mnist, monkeypatch, capsys):
    (x, y), test = fashion_mnist
    few = (x[:20_000], y[:20_000]), test  # for speed
    monkeypatch.setattr(names["keras"].datasets.fashion_mnist, "load_data", lambda: few)
    assert solutions["3"][0].count("epochs=5") == 1
    exec(solutions["3"][0], names)
    told, accuracy = numbers(solutions["3"][1])[0], 100 * names["fashion_accuracy"]
    assert told - 6 < accuracy < told + 1, capsys.readouterr().out


def test_half_the_filters(solutions, names, saved, capsys):
    """The numbers of parameters in the text are those of the networks."""
    exec(solutions["4"][0], names)
    text = "\n".join(cell.source for cell in saved.cells)
    on_paper = numbers(re.search(r"On paper:.*", text)[0].split("Sequential")[0])
    counts = [layer.count_params() for layer in names["half"].layers if layer.count_params()]
    assert set(counts) < set(on_paper)
    assert on_paper[-2:] == [names["half"].count_params(), names["model"].count_params()]
    assert numbers(capsys.readouterr().out.splitlines()[-2]) == [names["half"].count_params()]


def test_five_seeds(solutions, names, capsys):
    assert solutions["5"][0].count("[1, 2, 3, 4, 5]") == 1
    exec(solutions["5"][0].replace("[1, 2, 3, 4, 5]", "[1, 2]"), names)
    mean, deviation = numbers(capsys.readouterr().out)
    assert len(set(names["scores"])) == 2 and mean > 90 and deviation < 2
    told = numbers(solutions["5"][1])[0]
    assert abs(accuracies("ours-part-1").std() - told) < 0.05, "the standard deviation"


def test_one_epoch(solutions, names):
    exec(solutions["6"][0], names)
    quick = names["quick"]
    assert quick is not names["model"] and type(quick.optimizer).__name__ == "Adam"
    assert len(quick.history.epoch) == 1 and quick.history.history["val_accuracy"][0] > 0.9
    rate = names["rise_and_fall"]
    rates = [float(rate(step)) for step in range(names["steps"] + 1)]
    peak = names["steps"] // 5
    told = numbers(solutions["6"][1])[:2]
    assert told == [round(accuracies(name).mean(), 2) for name in ("ours-1", "ours-part-1")]
    assert rates[0] == 0 and max(rates) == rates[peak] and rates[-1] < 1e-6
