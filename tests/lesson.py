"""The notebook executed in this process, cell by cell, without its long training; and its cells
changed.

`Lesson` runs each cell twice and keeps the state before each of them. `Lesson.run` starts from such
a state with one cell changed. The weights of the long trainings come from the run that nbval has
just made, so that no test trains for minutes.
"""

import ast
import contextlib
import io
from types import SimpleNamespace

import keras
import matplotlib
import matplotlib.pyplot as plt
from conftest import code_cells, read_notebook, tags

matplotlib.use("agg")
TRAIN_IMAGES, TEST_IMAGES = 8_000, 3_000  # of 60,000 and 10,000, for speed
PARAMETERS = {"VALIDATION_SIZE": 500}


def describe_fit(network, data, labels, options):
    """Return what `fit` was called with, the weights before it, the learning rate by step, and of a
    dataset the first two batches of the first two epochs.
    """
    epochs = [] if labels is not None else [list(data.take(2)) for _ in range(2)]
    initial, rate = network.get_weights(), network.optimizer.get_config()["learning_rate"]
    if isinstance(rate, dict):
        rate = keras.optimizers.schedules.deserialize(rate)
    return SimpleNamespace(
        network=network,
        data=data,
        labels=labels,
        options=dict(options),
        epochs=[[(x.numpy(), y.numpy()) for x, y in batches] for batches in epochs],
        get_weights=lambda: initial,
        rate=rate if callable(rate) else lambda step: rate,
    )


class Figures(dict):
    """Figures by the tags of the cell that drew them, and which of these tags were asked for."""

    asked = set()

    def __getitem__(self, tag):
        self.asked.add(tag)
        return super().__getitem__(tag)


class State:
    """What the cells have left so far: their ``names``, and by each cell's tags what it printed,
    drew and fitted.
    """

    def __init__(self):
        self.names, self.printed, self.figures, self.fits = {}, {}, Figures(), {}

    def load(self, other):
        """Become like ``other``. The dict of names stays the same one: the lesson's functions look
        their names up in it.
        """
        for mine, its in zip(vars(self).values(), vars(other).values()):
            mine.clear()
            mine.update(its)

    def copy(self):
        """Return a snapshot of this state."""
        snapshot = State()
        snapshot.load(self)
        return snapshot

    def __getattr__(self, name):
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(f"the lesson has no {name}") from None


class Lesson:
    """The code cells of the notebook, each executed twice in a row, and the state before each; and
    by its name what each of the ``checks`` found after the first time, and after the second.
    """

    def __init__(self, weights, checks):
        """``weights`` are what the cells with these tags would have trained."""
        self.cells, self.weights = code_cells(read_notebook()), weights
        self.state, self.before = State(), []
        self.found, self.found_again = {}, {}
        self.original_fit = keras.Model.fit
        for n, cell in enumerate(self.cells):
            self.before.append(self.state.copy())
            for found in (self.found, self.found_again):
                self.execute(cell.source, n)
                for name, (tag, check) in checks.items():
                    if tag in tags(cell):
                        found[name] = self.error(check)
        self.before.append(self.state.copy())
        self.trained = [
            (self.state.names[name], self.state.names[name].get_weights())
            for name in ("model", "plain", "robust")
        ]

    def error(self, check):
        """Return the error that ``check`` raises, or None."""
        try:
            check(self.state)
        except Exception as error:
            return error

    def go_back(self, n=-1):
        """Return the state before cell ``n``; -1 is the end of the lesson."""
        self.state.load(self.before[n])
        for network, weights in self.trained:  # whatever has been done with them since
            network.set_weights(weights)
        return self.state

    def run(self, old, new, until):
        """Replace ``old`` by ``new`` in the one cell that has it, run to the cell tagged ``until``,
        return the state.
        """
        [start] = [n for n, cell in enumerate(self.cells) if old in cell.source]
        assert self.cells[start].source.count(old) == 1
        end = next(n for n, cell in enumerate(self.cells) if until in tags(cell))
        assert end >= start, f"{until} comes before the change"
        self.go_back(start)
        self.execute(self.cells[start].source.replace(old, new), start)
        for n in range(start + 1, end + 1):
            self.execute(self.cells[n].source, n)
        return self.state

    def execute(self, source, n):
        """Execute ``source`` as cell ``n``, and keep what it prints and draws."""
        state, cell_tags = self.state, tags(self.cells[n])
        names, printed, figures, fits = state.names, io.StringIO(), [], []

        def fit(network, data, labels=None, batch_size=None, **options):
            options["batch_size"] = batch_size
            fits.append(describe_fit(network, data, labels, options))
            options = options | {"epochs": 1 if labels is not None else 2}
            if labels is not None:  # arrays
                return self.original_fit(network, data, labels, **options)
            history = self.original_fit(network, data.take(2), **options)
            [weights] = [self.weights[tag] for tag in cell_tags & self.weights.keys()] or [None]
            if weights:
                network.set_weights(weights)
            return history

        def display(shown, metadata=None, **_):
            if metadata:  # a figure; the pad's page has none
                figures.append((shown, metadata))

        keras.Model.fit = fit
        if "display" in names:
            names["display"] = display
        tree = ast.parse(source)
        value = None
        if isinstance(tree.body[-1], ast.Expr) and not source.endswith(";"):
            value = ast.Expression(tree.body.pop().value)
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(tree, f"<cell {n + 1}>", "exec"), names)
                if value:
                    result = eval(compile(value, f"<cell {n + 1}>", "eval"), names)
                    print("" if result is None else result)
        finally:
            keras.Model.fit = self.original_fit
            plt.close("all")
        if "parameters" in cell_tags:
            names.update(PARAMETERS)
        for tag in cell_tags:
            state.printed[tag], state.figures[tag], state.fits[tag] = (
                printed.getvalue(),
                figures,
                fits,
            )
