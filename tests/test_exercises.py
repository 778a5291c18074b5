"""The solutions folded away in the notebook's recap do what they say."""
import re

import numpy as np
import pytest

from conftest import ROOT, run_cells


@pytest.fixture(scope="module")
def solutions(saved):
    """The Python code of each folded solution by its title."""
    text = "\n".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    found = re.findall(r"<summary>(.*?)</summary>(.*?)</details>", text, re.S)
    return {title: code[1] for title, body in found if (code := re.search(r"```python\n(.*?)```", body, re.S))}


@pytest.fixture
def names(trained):
    """What the notebook has defined when it ends, as far as the solutions need it, with few training images."""
    names = run_cells("imports", "parameters", "definitions", EPOCHS=1)
    tf, keras = names.tf, names.keras
    names.model = keras.models.load_model(trained / "models" / "mnist_cnn.keras")
    mnist = np.load(ROOT / "data" / "mnist.npz")
    x, y = names.preprocess(mnist["x_train"][:6_000]), keras.utils.to_categorical(mnist["y_train"][:6_000])
    names.train_data = tf.data.Dataset.from_tensor_slices((x[:5_000], y[:5_000])).batch(50)
    names.x_val, names.y_val, names.schedule = x[5_000:], y[5_000:], 1e-3
    probabilities = names.model.predict(names.preprocess(mnist["x_test"]), batch_size=1_000, verbose=0)
    names.confidence = probabilities.max(axis=1)
    names.mistakes = np.flatnonzero(probabilities.argmax(axis=1) != mnist["y_test"])
    return vars(names)


def test_every_solution_is_tested(solutions):
    assert [re.search(r"\d", title)[0] for title in solutions] == ["2", "4", "5", "6"]


def test_no_augmentation(solutions, names):
    names["x_train"], names["y_train"] = names["x_val"], names["y_val"]
    exec(next(code for title, code in solutions.items() if "2" in title), names)
    assert names["plain"] is not names["model"]
    assert names["plain"].evaluate(names["x_val"], names["y_val"], verbose=0)[1] > 0.3


def test_half_of_the_filters(solutions, names, capsys):
    exec(next(code for title, code in solutions.items() if "4" in title), names)
    filters = [[layer.filters for layer in names[model].layers if hasattr(layer, "filters")] for model in ["model", "half"]]
    assert filters[1] == [number // 2 for number in filters[0]]
    assert names["half"].evaluate(names["x_val"], names["y_val"], verbose=0)[1] > 0.8
    assert f"{names['half'].count_params():,} parameters instead of" in capsys.readouterr().out


def test_when_to_say_i_do_not_know(solutions, names, capsys):
    exec(next(code for title, code in solutions.items() if "5" in title), names)
    avoided, given_up = zip(*[map(int, re.findall(r"\d+", line)) for line in capsys.readouterr().out.splitlines()])
    assert list(avoided) == sorted(avoided) and list(given_up) == sorted(given_up) and avoided[-1] > len(names["mistakes"]) / 2


def test_fashion_mnist(solutions, names, fashion_mnist, monkeypatch, capsys):
    monkeypatch.setattr(names["keras"].datasets.fashion_mnist, "load_data", lambda: fashion_mnist)
    code = next(code for title, code in solutions.items() if "6" in title)
    assert code.count("epochs=5") == 1
    exec(code.replace("epochs=5", "epochs=2"), names)
    assert 0.82 < names["fashion_accuracy"] < 0.93, capsys.readouterr().out
