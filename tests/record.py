"""In the notebook's kernel: notes, by the tags of each cell, what it shows and fits, for checks.py.

It changes nothing that the cells do. It draws no random number, and takes nothing out of a dataset.
"""

import hashlib
import io
import sys
from types import SimpleNamespace

import IPython
import nbformat
import numpy as np
from IPython import display as shown

SHARED = {"definitions", "imports", "nbval-ignore-output", "recipe"}  # tags of several cells
PRINTED, TABLES, FIGURES, FITS = {}, {}, {}, {}  # by tag
ANSWERS = {}  # what `predict` and `evaluate` have returned, by the digest of network and images
IGNORED = set()  # tags of the cells whose text nbval does not compare
TAGS, CURRENT, STREAM = {}, [], io.StringIO()  # tags by a cell's source, and of the one that runs


def note(kept, value):
    """Add ``value`` to what the cell that runs has left in ``kept``."""
    for tag in CURRENT:
        kept.setdefault(tag, []).append(value)


def display(*objects, metadata=None, original=shown.display, **options):
    """Note a figure, which alone has metadata; then display it."""
    if metadata:
        note(FIGURES, (*objects, metadata))
    return original(*objects, metadata=metadata, **options)


def digest(network, *given):
    """Return what tells ``network``, as it is now, and the arrays ``given`` from all others."""
    told = hashlib.sha1(str([layer.get_config() for layer in network.layers]).encode())
    for array in (*network.get_weights(), *given):
        told.update(np.float32(array).tobytes())
    return told.digest()


def watch(keras):
    """Let `predict` and `evaluate` note their answers, and `fit` what it was called with, the
    weights before it, and the history after it.
    """

    def noting(original):
        def ask(network, *arrays, **options):
            answers = original(network, *arrays, **options)
            if arrays and all(isinstance(array, np.ndarray) for array in arrays):  # not `fit`'s own
                ANSWERS[digest(network, *arrays)] = answers
            return answers

        return ask

    def fit(network, data, labels=None, **options):
        config, rate = network.optimizer.get_config(), network.optimizer._learning_rate
        names = {"name", "learning_rate"}  # names are numbered: adam_7, adam_8
        made = SimpleNamespace(network=network, data=data, labels=labels, options=options)
        made.compiled = type(network.optimizer).__name__, network.get_compile_config()["loss"]
        made.config = {name: value for name, value in config.items() if name not in names}
        made.rate = rate if callable(rate) else lambda step: float(rate)
        made.initial = network.get_weights()
        note(FITS, made)
        history = original_fit(network, data, labels, **options)
        made.history = {name: list(values) for name, values in history.history.items()}
        return history

    original_fit, keras.Model.fit = keras.Model.fit, fit
    keras.Model.predict = noting(keras.Model.predict)
    keras.Model.evaluate = noting(keras.Model.evaluate)


def before(info):
    """Start to take notes of a cell."""
    tags = TAGS.get(info.raw_cell, [])
    CURRENT[:] = [tag for tag in tags if tag not in SHARED]
    for kept in (PRINTED, TABLES, FIGURES, FITS):
        for tag in CURRENT:
            kept.pop(tag, None)
    if "nbval-ignore-output" in tags:
        IGNORED.update(CURRENT)
    STREAM.seek(0)
    STREAM.truncate()


def after(result):
    """Note what the cell has printed, and the table that it shows."""
    for tag in CURRENT:
        PRINTED[tag] = STREAM.getvalue()
        if hasattr(result.result, "columns"):
            TABLES[tag] = result.result.copy()  # a later cell may add to it
    if "keras" in sys.modules and not hasattr(watch, "done"):
        watch(sys.modules["keras"])
        watch.done = True
    CURRENT.clear()


def install(path):
    """Start to take notes of the cells of the notebook at ``path``."""
    for cell in nbformat.read(path, as_version=4).cells:
        TAGS[cell.source] = cell.metadata.get("tags") or []
    shell = IPython.get_ipython()
    shell.events.register("pre_run_cell", before)
    shell.events.register("post_run_cell", after)
    sys.stdout.echo = STREAM  # ipykernel's stream writes there what it also sends
    shown.display = display
