"""What the benchmark can run, and how one run is measured."""

import ast
import contextlib
import hashlib
import inspect
import io
import os
import re
import resource
import symtable
import time
from functools import cache
from pathlib import Path

import anchors
import corruptions
import nbformat
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "mnist_cnn.ipynb"
SEVERITY = 2  # of the corruptions, from 1 to 3


@cache
def notebook_cells():
    """Return the notebook's code cells, and the solution one-epoch, as pairs (tags, source)."""
    cells = nbformat.read(NOTEBOOK, 4).cells
    code = [(set(c.metadata.get("tags", [])), c.source) for c in cells if c.cell_type == "code"]
    text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    [solution] = re.findall(r"<summary>Solution \d: one epoch.*?```python\n(.*?)```", text, re.S)
    return [*code, ({"one-epoch"}, solution)]


def needed_cells(tag, given=()):
    """Return the cell tagged ``tag`` after those that it needs, as pairs (tags, source).

    It needs those tagged recipe that set a name which it reads, itself or through others, and those
    that set no name: they configure TensorFlow. The names ``given`` need no cell.
    """
    found, wanted = [], set()
    for tags, source in reversed(notebook_cells()):
        symbols = symtable.symtable(source, "cell", "exec").get_symbols()
        names = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
        if tag in tags or (found and "recipe" in tags and (not names or names & wanted)):
            found.insert(0, (tags, source))
            read = {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
            wanted |= read - set(given)
    return found


def run_cells(tag, **given):
    """Execute the cells that ``tag`` needs but for ``given``; return all names, and its seconds."""
    names = {}
    with contextlib.chdir(NOTEBOOK.parent), contextlib.redirect_stdout(io.StringIO()):
        for _, source in needed_cells(tag, given):
            start = time.perf_counter()
            exec(source, names)
            names |= given | {"seconds": time.perf_counter() - start}
    return names


def notebook(x, y, seed, epochs, training, network, **settings):
    """Train ``network`` by executing the notebook's cell tagged ``training`` with other
    ``settings`` of its parameters; like the functions in anchors.py. The notebook loads the images
    itself, so ``x`` and ``y`` are not used.
    """
    names = run_cells(training, SEED=seed, EPOCHS=epochs, **settings)
    model, preprocess = names[network], names["preprocess"]
    return lambda x: model.predict(preprocess(x), batch_size=1_000, verbose=0), names["seconds"]


def random_forest(x, y, seed, epochs):
    """Fit a random forest to 5,000 images, in seconds; like the functions in anchors.py."""
    from sklearn.ensemble import RandomForestClassifier

    start, x = time.perf_counter(), x.reshape(-1, 784)
    model = RandomForestClassifier(100 * epochs, random_state=seed).fit(x[:5_000], y[:5_000])
    return lambda x: model.predict_proba(x.reshape(-1, 784)), time.perf_counter() - start


SOURCES = {tag: source for tags, source in notebook_cells() for tag in tags}
PARAMETERS = {}  # the notebook's, with their defaults
exec(SOURCES["parameters"], {}, PARAMETERS)
LONG = PARAMETERS["EPOCHS"]
AUGMENTED = {"training": "train-augmented", "network": "robust"}
# name: (what trains, epochs, parameters)
RECIPES = {
    "ours-1": (notebook, 1, {"training": "one-epoch", "network": "quick"}),
    "train-mnist-fast": (anchors.train_mnist_fast, 1, {}),
    "ours-part-1": (notebook, 3, {"training": "train-first", "network": "model"}),
    "ours-control": (notebook, LONG, {"training": "train-plain", "network": "plain"}),
    "ours": (notebook, LONG, AUGMENTED),
    "keras-example": (anchors.keras_example, 15, {}),
    "pytorch-example": (anchors.pytorch_example, 14, {}),
    "ours-validation": (notebook, LONG, AUGMENTED),  # to choose settings by
    "smoke": (random_forest, 1, {}),  # tries the benchmark itself
}
DEFAULT = list(RECIPES)[:6]
# Names of columns, and what each holds the errors on: the corruptions, and the lesson's pictures.
CORRUPTIONS = {f"error_{kind.replace(' ', '_')}": kind for kind in corruptions.KINDS}
KINDS = re.findall(r'^    "(.+?)": ', SOURCES["changes"], re.M)
KINDS = {f"kind_{kind.strip('*').replace(' ', '_')}": kind for kind in KINDS}
MEASURES = ["accuracy", "nll", "ece", "fit_seconds", "peak_memory_mb", "corruption_error"]
MEASURES += [*CORRUPTIONS, *KINDS]


def bare(source):
    """Return ``source`` without what changes no number: comments, docstrings, layout, printed words
    and those of errors. All versions of Python give the same text.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node):
            del node.body[0]
        elif isinstance(node, ast.Raise):
            node.exc = node.cause = None
        elif isinstance(node, ast.Expr) and ast.unparse(node).startswith("print("):
            node.value = ast.Constant(0)
    # Some versions of Python leave out fields that are empty.
    return re.sub(r"\w+=(\[\]|None|Load\(\))|[, ]", "", ast.dump(tree))


def bare_cells(tag, given=(), **settings):
    """Return the bare code that ``tag`` needs, and the parameters in it, or their ``settings``."""
    cells = needed_cells(tag, given)
    code = str([bare(source) for tags, source in cells if not tags & {"imports", "parameters"}])
    values = (PARAMETERS | settings).items()
    return code + str({n: value for n, value in values if re.search(rf"\b{n}\b", code)})


def pictures_code():
    """Return the bare code that makes the pictures which each recipe is measured on."""
    return f"{SEVERITY}{bare(inspect.getsource(corruptions))}{bare_cells('changes', {'x_val'})}"


def code_version(recipe):
    """Return a digest of what ``recipe`` trains and is measured with, but for seed and epochs."""
    train, _, settings = RECIPES[recipe]
    if train is notebook:
        settings = settings | {"SEED": None, "EPOCHS": None}
        code = bare_cells(settings.pop("training"), **settings)
    else:
        called = [train.__globals__.get(name) for name in train.__code__.co_names]
        functions = [train, *filter(inspect.isfunction, called)]
        code = "".join(bare(inspect.getsource(function)) for function in functions)
    return hashlib.sha256((code + pictures_code()).encode()).hexdigest()[:12]


def other_pictures(images):
    """Return uint8 pictures (n, 28, 28) made of uint8 ``images``, by column of MEASURES: corrupted
    at SEVERITY, and changed by the lesson's own cells. They are made once and kept in build/.
    """
    version = hashlib.sha256(images.tobytes() + pictures_code().encode()).hexdigest()[:12]
    path = ROOT / "build" / f"pictures-{version}.npz"
    if not path.exists():
        x = images[..., np.newaxis] / 255
        made = {name: corruptions.corrupt(x, kind, SEVERITY) for name, kind in CORRUPTIONS.items()}
        x_val = run_cells("split")["preprocess"](images)
        made |= zip(KINDS, run_cells("changes", x_val=x_val)["kinds"].values())
        made = {n: np.rint(np.asarray(x)[..., 0] * 255).astype("uint8") for n, x in made.items()}
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(part, **made)
        part.replace(path)  # whole or not at all, also with two runs at once
    return np.load(path)


def calibration_error(probabilities, labels, bins=15):
    """Return the expected calibration error, 0 to 1, of ``probabilities`` (n, 10) for ``labels``
    (n,), in ``bins`` of equal width (Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2).
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    sums = np.bincount(np.ceil(confidence * bins).astype(int), weights=gap)
    return float(np.abs(sums).sum() / len(labels))


def measure(recipe, seed, epochs):
    """Train ``recipe`` with ``seed`` for ``epochs`` and return its row: a dict with the keys
    MEASURES.

    ``accuracy`` is a share of right answers; all columns of CORRUPTIONS and KINDS are shares of
    wrong ones. ``nll`` is in nats, ``fit_seconds`` the training alone, ``peak_memory_mb`` that of
    the training process. To be called in a fresh process, for the memory's sake.
    """
    from sklearn.metrics import log_loss

    with np.load(ROOT / "data" / "mnist.npz") as file:
        x_train, y_train, x, y = (file[n] for n in ["x_train", "y_train", "x_test", "y_test"])
    if recipe == "ours-validation":  # the images that the notebook holds back
        x, y = (images[-PARAMETERS["VALIDATION_SIZE"] :] for images in (x_train, y_train))
    train, _, settings = RECIPES[recipe]
    predict, fit_seconds = train(x_train, y_train, seed, epochs, **settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    probabilities = predict(x)
    n = 1_000 if recipe == "smoke" else len(x)
    wrong = {
        name: float(np.mean(predict(pictures).argmax(axis=1) != y[:n]))
        for name, pictures in other_pictures(x[:n]).items()
    }
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == y)),
        "nll": float(log_loss(y, probabilities)),
        "ece": calibration_error(probabilities, y),
        "fit_seconds": round(fit_seconds, 2),
        "peak_memory_mb": round(peak),
        "corruption_error": float(np.mean([wrong[name] for name in CORRUPTIONS])),
        **wrong,
    }
