"""Turn a CSV file of the benchmark into tables and a plot: python benchmarks/report.py results.csv.

Of benchmarks/results.csv it also writes the tables into README.md and benchmarks/README.md, between
their marks.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from bench import read_rows
from recipes import ROOT, SEVERITY

sys.path.append(str(ROOT / "tools"))
from marks import write_between_marks  # noqa: E402

NAMES = {
    "ours-1": "**this notebook**, one epoch (exercise 4)",
    "ours-part-1": "**this notebook**, Part I",
    "ours-control": "**this notebook**, Part II: falling rate",
    "ours": "**this notebook**, Part III: the same, augmented",
    "ours-long": "**this notebook**, long run",
    "ours-validation": "**this notebook**, Part III, on validation images",
    "keras-example": "Keras's mnist_convnet",
    "pytorch-example": "PyTorch's mnist example",
    "train-mnist-fast": "train_mnist_fast",
}
UNLIKE = ["fog", "spatter"]  # the lesson's augmentation contains nothing like these
BLUE, GREY = "#0072B2", "#666666"


def spread(values, scale=1.0, digits=2):
    """Return the mean and the standard deviation of ``values`` as text."""
    deviation = f" ± {scale * values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{scale * values.mean():.{digits}f}{deviation}"


def recipes_with_runs(rows):
    """Return each recipe's name, its runs on one machine, and their time beside Keras's example's.

    The quickest comes first, and those without a time last. The ratio of the median times is None
    where there is no time, or that machine has not run the example. A recipe that ran on two
    machines is there twice.
    """
    example = rows[rows.recipe == "keras-example"].groupby("machine").fit_seconds.median()
    found = []
    for (recipe, machine), runs in rows.groupby(["recipe", "machine"]):
        seconds = runs.fit_seconds.median()
        timed = machine in example and seconds > 0
        found.append((recipe, runs, seconds / example[machine] if timed else None))
    order = list(NAMES)

    def by_time(entry):
        recipe, runs, _ = entry
        place = order.index(recipe) if recipe in order else len(order)
        return np.nan_to_num(runs.fit_seconds.median(), nan=np.inf), place

    return sorted(found, key=by_time)


def seconds(runs, digits):
    """Return the median time of ``runs`` as text, or a dash where none was taken."""
    median = runs.fit_seconds.median()
    return "–" if np.isnan(median) else f"{median:.{digits}f}"


def short_table(rows):
    """Return the README's table in Markdown."""
    lines = [
        "| | epochs | training time, s | test accuracy | wrong on distorted images "
        f"| wrong on {' and '.join(UNLIKE)} |",
        "|---|---|---|---|---|---|",
    ]
    for recipe, runs, _ in recipes_with_runs(rows):
        lines.append(
            f"| {NAMES.get(recipe, recipe)} | {runs.epochs.iloc[0]} | {seconds(runs, 0)} "
            f"| {spread(runs.accuracy, 100)}% | {100 * runs.corruption_error.mean():.1f}% "
            f"| {100 * runs[[f'error_{kind}' for kind in UNLIKE]].mean(axis=None):.1f}% |"
        )
    return "\n".join(lines)


def results_table(rows):
    """Return the table of all recipes and measures in Markdown."""
    lines = [
        "| recipe | epochs | seeds | test accuracy, % | NLL | ECE, % | `fit`, s | ratio "
        "| error on corrupted images, % | machine |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for recipe, runs, ratio in recipes_with_runs(rows):
        lines.append(
            f"| {NAMES.get(recipe, recipe)} | {runs.epochs.iloc[0]} | {len(runs)} "
            f"| {spread(runs.accuracy, 100)} | {spread(runs.nll, digits=4)} "
            f"| {spread(runs.ece, 100)} "
            f"| {seconds(runs, 1)} | {'' if ratio is None else f'{ratio:.2f}'} "
            f"| {spread(runs.corruption_error, 100, 1)} | {runs.machine.iloc[0]} |"
        )
    return "\n".join(lines)


def corruption_table(rows):
    """Return the mean error on each kind of corruption in Markdown, a column for each recipe."""
    kinds = [name for name in rows if name.startswith("error_")]
    errors = 100 * rows.groupby("recipe")[kinds].mean()
    columns = {recipe: errors.loc[recipe] for recipe, _, _ in recipes_with_runs(rows)}
    lines = [
        "| corruption | " + " | ".join(NAMES.get(recipe, recipe) for recipe in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for kind in kinds:
        lines.append(
            f"| {kind.removeprefix('error_').replace('_', ' ')} | "
            + " | ".join(f"{errors[kind]:.1f}" for errors in columns.values())
            + " |"
        )
    return "\n".join(lines)


def plot(rows, path):
    """Draw each recipe's mean test accuracy, with a standard deviation, to ``path``."""
    figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained", dpi=100)
    labels = []
    for recipe, runs, ratio in recipes_with_runs(rows):
        color, marker = (BLUE, "o") if recipe.startswith("ours") else (GREY, "s")
        accuracy = 100 * runs.accuracy
        spread = {"xerr": accuracy.std(), "capsize": 3}
        ax.errorbar(accuracy.mean(), len(labels), marker=marker, color=color, **spread)
        time = "" if ratio is None else f" ({ratio:.2f})"
        labels.append(NAMES.get(recipe, recipe).replace("*", "") + time)
    ax.set(
        xlabel="test accuracy, % (mean ± sd)",
        ylabel="recipe (training time)",
        yticks=range(len(labels)),
        yticklabels=labels,
    )
    figure.suptitle("This notebook (circles) and published recipes (squares), by training time")
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})


def main(path):
    rows = read_rows(Path(path), [])
    if rows.empty:
        sys.exit(f"{path} holds no results yet: run `make bench` first.")
    for recipe, epochs in rows.groupby("recipe").epochs.unique().items():
        if len(epochs) > 1:
            sys.exit(
                f"{path} holds runs of {recipe} with {sorted(map(int, epochs))} epochs, which must "
                "not be averaged: keep the rows of one number of epochs in it."
            )
    plot(rows, Path(path).with_suffix(".png"))
    if Path(path).resolve() == ROOT / "benchmarks" / "results.csv":
        write_between_marks(ROOT / "README.md", results=short_table(rows))
        write_between_marks(
            ROOT / "benchmarks" / "README.md",
            results=results_table(rows),
            corruptions=corruption_table(rows),
        )
    else:
        Path(path).with_suffix(".md").write_text(
            f"# Results\n\n{results_table(rows)}\n\n"
            f"## Error on corrupted images (severity {SEVERITY} of 3), %\n\n"
            f"{corruption_table(rows)}\n"
        )
    print(results_table(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
