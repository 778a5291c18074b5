"""What the benchmark can run, and how one run is measured."""

import ast
import hashlib
import inspect
import re
import resource
import tempfile
import time
from pathlib import Path

import anchors
import corruptions
import nbformat
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "mnist_cnn.ipynb"
SEVERITY = 2  # the one reported kind by kind


# The tags of the notebook's cells that train, with the network that each leaves. Those that they
# need have the tag recipe.
TRAININGS = {
    "train-first": "model",
    "train-plain": "plain",
    "train-augmented": "robust",
    "one-epoch": "quick",
}


def notebook_cells():
    """Return the notebook's code cells as pairs (tags, source); the exercise's solution has the tag
    one-epoch.
    """
    cells = nbformat.read(NOTEBOOK, 4).cells
    code = [
        (set(cell.metadata.get("tags", [])), cell.source)
        for cell in cells
        if cell.cell_type == "code"
    ]
    text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    [solution] = re.findall(r"<summary>Solution \d: one epoch.*?```python\n(.*?)```", text, re.S)
    return [*code, ({"one-epoch"}, solution)]


def training_code(training):
    """Return the sources of the notebook's cells up to the one tagged ``training``, but for other
    trainings.
    """
    return [(tags, source) for tags, source in notebook_cells() if tags & {"recipe", training}]


def notebook_function(name, **names):
    """Return the function ``name`` that the notebook defines, with the global ``names`` that it
    needs.
    """
    source = next(source for _, source in notebook_cells() if f"def {name}(" in source)
    exec(source, names)
    return names[name]


def notebook(x, y, seed, epochs, training, **parameters):
    """Train by executing the notebook's own cells with other ``parameters``; like the functions in
    anchors.py.

    ``training`` is the tag of the cell that trains. The notebook loads the images itself, so ``x``
    and ``y`` are not used.
    """
    import keras
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as folder:
        parameters = {**parameters, "SEED": seed, "EPOCHS": epochs}
        sources = []
        for tags, source in training_code(training):
            if training in tags:
                source = (
                    "import time; start = time.perf_counter()\n"
                    f"{source}\nseconds = time.perf_counter() - start"
                )
            sources.append(source)
            if "parameters" in tags:
                sources.extend(f"{name} = {value!r}" for name, value in parameters.items())
        sources.append(
            f"{TRAININGS[training]}.save({folder!r} + '/model.keras')\n"
            f"open({folder!r} + '/seconds', 'w').write(str(seconds))"
        )
        run = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in sources]
        )
        NotebookClient(
            run, timeout=None, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
        ).execute()
        model = keras.models.load_model(Path(folder, "model.keras"))
        seconds = float(Path(folder, "seconds").read_text())
    preprocess = notebook_function("preprocess", np=np)
    return lambda x: model.predict(preprocess(x), batch_size=1_000, verbose=0), seconds


def random_forest(x, y, seed, epochs):
    """Fit scikit-learn's random forest, in seconds, to 5,000 images; like the functions in
    anchors.py.
    """
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(100 * epochs, random_state=seed)
    start = time.perf_counter()
    model.fit(x[:5_000].reshape(-1, 784), y[:5_000])
    seconds = time.perf_counter() - start
    return lambda x: model.predict_proba(x.reshape(-1, 784)), seconds


# name: (what trains, epochs, parameters)
RECIPES = {
    "ours-1": (notebook, 1, {"training": "one-epoch"}),
    "train-mnist-fast": (anchors.train_mnist_fast, 1, {}),
    "ours-part-1": (notebook, 3, {"training": "train-first"}),
    "ours-control": (notebook, 10, {"training": "train-plain"}),
    "ours": (notebook, 10, {"training": "train-augmented"}),
    "ours-long": (
        notebook,
        60,
        {"training": "train-augmented", "FILTERS_1": 32, "VALIDATION_SIZE": 1_000},
    ),
    "keras-example": (anchors.keras_example, 15, {}),
    "pytorch-example": (anchors.pytorch_example, 14, {}),
    "smoke": (random_forest, 1, {}),  # tries the benchmark itself
}
RECIPES["ours-validation"] = RECIPES["ours"]  # measured on images held back, to choose settings
MEASURES = [
    "accuracy",
    "nll",
    "ece",
    "fit_seconds",
    "peak_memory_mb",
    "corruption_error",
    *(f"error_{kind.__name__}" for kind in corruptions.KINDS),
]


def bare(source):
    """Return ``source`` without comments, docstrings and line breaks of its own."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node):
            del node.body[0]
    return ast.unparse(tree)


def code_version(recipe):
    """Return a digest of the code that ``recipe`` runs: rows with others must not be mixed in."""
    train, _, parameters = RECIPES[recipe]
    if train is notebook:
        sources = [source for _, source in training_code(parameters["training"])]
    else:
        sources = [inspect.getsource(train)]
    code = [bare(source) for source in [*sources, inspect.getsource(corruptions)]]
    return hashlib.sha256("".join([*code, str(parameters)]).encode()).hexdigest()[:12]


def corrupted_images(images, kind):
    """Return uint8 ``images`` (n, 28, 28) corrupted by ``kind`` at SEVERITY; made once and kept in
    build/.
    """
    digest = hashlib.sha256(images.tobytes() + inspect.getsource(corruptions).encode())
    path = ROOT / "build" / "corrupted" / f"{kind.__name__}-{digest.hexdigest()[:12]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        corrupted = corruptions.corrupt(images[..., np.newaxis] / 255, kind, SEVERITY)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            np.save(file, np.rint(corrupted[..., 0] * 255).astype("uint8"))
        Path(file.name).replace(path)  # whole or not at all, also with two runs at once
    return np.load(path)


def calibration_error(probabilities, labels, bins=15):
    """Return the expected calibration error, 0 to 1, of ``probabilities`` (n, 10) for ``labels``
    (n,).

    The ``bins`` have equal width (Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2).
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    sums = np.bincount(np.ceil(confidence * bins).astype(int), weights=gap)
    return float(np.abs(sums).sum() / len(labels))


def measure(recipe, seed, epochs):
    """Train ``recipe`` with ``seed`` for ``epochs`` and return its row: a dict with the keys
    MEASURES.

    Accuracy and errors are shares, ``nll`` in nats, ``fit_seconds`` the training alone,
    ``peak_memory_mb`` that of the training process. To be called in a fresh process, for the
    memory's sake.
    """
    from sklearn.metrics import log_loss

    with np.load(ROOT / "data" / "mnist.npz") as file:
        x_train, y_train, x_test, y_test = (
            file[name] for name in ["x_train", "y_train", "x_test", "y_test"]
        )
    if recipe == "ours-validation":  # the images that the notebook holds back
        x_test, y_test = x_train[-5_000:], y_train[-5_000:]
    train, _, parameters = RECIPES[recipe]
    predict, fit_seconds = train(x_train, y_train, seed, epochs, **parameters)
    who = resource.RUSAGE_CHILDREN if train is notebook else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss / 1024
    probabilities = predict(x_test)
    n = 1_000 if recipe == "smoke" else len(x_test)
    errors = {
        f"error_{kind.__name__}": float(
            np.mean(predict(corrupted_images(x_test[:n], kind)).argmax(1) != y_test[:n])
        )
        for kind in corruptions.KINDS
    }
    return {
        "accuracy": float(np.mean(probabilities.argmax(1) == y_test)),
        "nll": float(log_loss(y_test, probabilities)),
        "ece": calibration_error(probabilities, y_test),
        "fit_seconds": round(fit_seconds, 2),
        "peak_memory_mb": round(peak),
        "corruption_error": float(np.mean(list(errors.values()))),
        **errors,
    }
