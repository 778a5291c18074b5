"""The solutions folded away at the end of the lesson do what they say."""

import re

import pytest


@pytest.fixture(scope="module")
def solutions(saved):
    """The Python code of each folded solution by the number of its exercise."""
    text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    found = re.findall(r"<summary>Solutions? (\d).*?</summary>(.*?)</details>", text, re.S)
    return {
        number: code[1]
        for number, body in found
        if (code := re.search(r"```python\n(.*?)```", body, re.S))
    }


@pytest.fixture
def names(lesson):
    """What the notebook has defined when it ends, with few training images."""
    names = lesson.go_back().names
    names.update(x_train=names["x_train"][:12_800], y_train=names["y_train"][:12_800], EPOCHS=1)
    return names


def test_every_solution_is_tested(solutions):
    assert list(solutions) == ["1", "2", "5", "6"]


def test_one_epoch(solutions, names):
    exec(solutions["1"], names)
    quick = names["quick"]
    assert quick is not names["model"] and type(quick.optimizer).__name__ == "Adam"
    assert len(quick.history.epoch) == 1 and quick.history.history["val_accuracy"][0] > 0.9
    rate = names["rise_and_fall"]
    rates = [float(rate(step)) for step in range(101)]
    assert rates[0] == 0 and max(rates) == rates[20] and rates[100] < 1e-6


def test_no_augmentation(solutions, names, capsys):
    exec(solutions["2"], names)
    assert names["plain"] is not names["robust"]
    shares = [float(share) for share in re.findall(r"(\d+\.\d)%", capsys.readouterr().out)]
    assert len(shares) == len(names["others"]) and shares[0] > 80 and min(shares) < 60


def test_when_to_say_i_do_not_know(solutions, names, capsys):
    exec(solutions["5"], names)
    avoided, given_up = zip(*[
        map(int, re.findall(r"\d+", line)) for line in capsys.readouterr().out.splitlines()
    ])
    assert (
        list(avoided) == sorted(avoided)
        and list(given_up) == sorted(given_up)
        and avoided[-1] > len(names["mistakes"]) / 2
    )


def test_fashion_mnist(solutions, names, fashion_mnist, monkeypatch, capsys):
    (x, y), test = fashion_mnist
    few = (x[:20_000], y[:20_000]), test  # for speed
    monkeypatch.setattr(names["keras"].datasets.fashion_mnist, "load_data", lambda: few)
    assert solutions["6"].count("epochs=5") == 1
    exec(solutions["6"], names)
    assert 0.82 < names["fashion_accuracy"] < 0.93, capsys.readouterr().out
