"""What the benchmark can run, and how one run is measured."""
import hashlib
import inspect
import resource
import tempfile
from pathlib import Path

import nbformat
import numpy as np

import anchors
import corruptions

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "mnist_cnn.ipynb"
SEVERITY = 2  # the one reported kind by kind


def notebook_code():
    """Return the notebook's code cells from the first to the one that measures on the test images."""
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    last = next(n for n, cell in enumerate(cells) if cell.source.startswith("test_ece ="))
    return cells[:last + 1]


def notebook_function(name, **names):
    """Return the function ``name`` that the notebook defines, with the global ``names`` that it needs."""
    source = next(cell.source for cell in notebook_code() if f"def {name}(" in cell.source)
    exec(source, names)
    return names[name]


def notebook(x, y, seed, epochs, **parameters):
    """Train by executing the notebook's own cells with other ``parameters``; like the functions in anchors.py.

    The notebook loads the images itself, so ``x`` and ``y`` are not used.
    """
    import keras
    from nbclient import NotebookClient
    with tempfile.TemporaryDirectory() as folder:
        parameters = {**parameters, "SEED": seed, "EPOCHS": epochs}
        cells = []
        for cell in notebook_code():
            cells.append(cell)
            if "parameters" in cell.metadata.get("tags", []):
                cells.append(nbformat.v4.new_code_cell("\n".join(f"{k} = {v!r}" for k, v in parameters.items())))
        cells.append(nbformat.v4.new_code_cell(
            f"folder = Path({folder!r})\nmodel.save(folder / 'model.keras')\n"
            "(folder / 'fit_seconds').write_text(str(fit_seconds))"))
        run = nbformat.v4.new_notebook(cells=cells)
        NotebookClient(run, timeout=None, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
        model = keras.models.load_model(Path(folder, "model.keras"))
        seconds = float(Path(folder, "fit_seconds").read_text())
    preprocess = notebook_function("preprocess", np=np)
    return lambda x: model.predict(preprocess(x), batch_size=1_000, verbose=0), seconds


# name: (what trains, epochs, parameters)
RECIPES = {
    "ours-1": (notebook, 1, {}),
    "train-mnist-fast": (anchors.train_mnist_fast, 1, {}),
    "ours-4": (notebook, 4, {}),
    "ours": (notebook, 15, {}),
    "ours-long": (notebook, 60, {"FILTERS_1": 32, "VALIDATION_SIZE": 1_000}),
    "keras-example": (anchors.keras_example, 15, {}),
    "pytorch-example": (anchors.pytorch_example, 14, {}),
    "smoke": (notebook, 1, {"VALIDATION_SIZE": 30_000}),  # tries the benchmark itself in seconds
}
MEASURES = ["accuracy", "nll", "ece", "fit_seconds", "peak_memory_mb", "corruption_error",
            *(f"error_{kind.__name__}" for kind in corruptions.KINDS)]


def code_version(recipe):
    """Return a digest of the code that ``recipe`` runs: rows with different digests must not be mixed."""
    train, _, parameters = RECIPES[recipe]
    source = "".join(cell.source for cell in notebook_code()) if train is notebook else inspect.getsource(train)
    text = f"{source}{parameters}{inspect.getsource(corruptions)}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def corrupted_images(images, kind):
    """Return uint8 ``images`` (n, 28, 28) corrupted by ``kind`` at SEVERITY; made once and kept in build/."""
    digest = hashlib.sha256(images.tobytes() + inspect.getsource(corruptions).encode()).hexdigest()[:12]
    path = ROOT / "build" / "corrupted" / f"{kind.__name__}-{digest}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        corrupted = corruptions.corrupt(images[..., np.newaxis] / 255, kind, SEVERITY)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            np.save(file, np.rint(corrupted[..., 0] * 255).astype("uint8"))
        Path(file.name).replace(path)  # whole or not at all, also with two runs at once
    return np.load(path)


def measure(recipe, seed, epochs):
    """Train ``recipe`` with ``seed`` for ``epochs`` and return its row: a dict with the keys MEASURES.

    Accuracy and errors are shares, ``ece`` as the notebook defines it, ``nll`` in nats, ``fit_seconds`` the training
    alone, ``peak_memory_mb`` that of the training process. To be called in a fresh process, for the memory's sake.
    """
    import pandas as pd
    from sklearn.metrics import log_loss
    with np.load(ROOT / "data" / "mnist.npz") as file:
        x_train, y_train, x_test, y_test = (file[name] for name in ["x_train", "y_train", "x_test", "y_test"])
    train, _, parameters = RECIPES[recipe]
    predict, fit_seconds = train(x_train, y_train, seed, epochs, **parameters)
    who = resource.RUSAGE_CHILDREN if train is notebook else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss / 1024
    probabilities = predict(x_test)
    ece = notebook_function("expected_calibration_error", np=np, pd=pd)
    n = 1_000 if recipe == "smoke" else len(x_test)
    errors = {f"error_{kind.__name__}": float(np.mean(predict(corrupted_images(x_test[:n], kind)).argmax(1) != y_test[:n]))
              for kind in corruptions.KINDS}
    return {"accuracy": float(np.mean(probabilities.argmax(1) == y_test)),
            "nll": float(log_loss(y_test, probabilities)), "ece": ece(probabilities, y_test),
            "fit_seconds": round(fit_seconds, 2), "peak_memory_mb": round(peak),
            "corruption_error": float(np.mean(list(errors.values()))), **errors}
