"""Turn a CSV file of the benchmark into tables and a plot: python benchmarks/report.py results.csv.

Of benchmarks/results.csv it also writes the tables, and the sentences that depend on them, into
README.md and benchmarks/README.md, between their marks.

Two means are told apart if they differ by more than two standard errors of their difference.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from bench import read_rows
from recipes import CORRUPTIONS, LESSON_KINDS, RECIPES, ROOT, TRAINED_ON, notebook

sys.path.append(str(ROOT / "tools"))
from marks import write_between_marks  # noqa: E402

NAMES = {
    "ours-1": "**this notebook**, one epoch (exercise 4)",
    "ours-part-1": "**this notebook**, Part I",
    "ours-control": "**this notebook**, Part II: falling rate",
    "ours": "**this notebook**, Part III: the same, augmented",
    "ours-validation": "**this notebook**, Part III, on validation images",
    "keras-example": "Keras's mnist_convnet",
    "pytorch-example": "PyTorch's mnist example",
    "train-mnist-fast": "train_mnist_fast",
}
# What the lesson's augmentation contains of a kind: how strong the kind is, and the augmentation.
STRENGTHS = {
    "moved": "3 px; up to 2 px in the augmentation",
    "turned": "25°; up to 9° in the augmentation",
    **dict.fromkeys(["grey paper", "black on white", "crossed out", "noisy"], "contained"),
}
BLUE, GREY = "#0072B2", "#666666"


def spread(values, digits, scale=100):
    """Return the mean and the standard deviation of ``values``, times ``scale``, as text."""
    deviation = f" ± {scale * values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{scale * values.mean():.{digits}f}{deviation}"


def median_and_range(values, digits=0):
    """Return the median of ``values``, and the least and the most, as text; a dash for none."""
    if values.isna().all():
        return "–"
    return f"{values.median():.{digits}f} ({values.min():.{digits}f}–{values.max():.{digits}f})"


def compare(ours, others):
    """Return 1 or -1 if the mean of ``ours`` is told apart from that of ``others`` and is larger or
    smaller, and 0 if not.
    """
    difference = ours.mean() - others.mean()
    error = np.sqrt(ours.var() / len(ours) + others.var() / len(others))
    return int(np.sign(difference)) if abs(difference) > 2 * error else 0


def markdown(heading, lines):
    """Return a table of texts in Markdown."""
    return "\n".join(
        f"| {' | '.join(line)} |" for line in [heading, ["---"] * len(heading), *lines]
    )


def listed(names):
    """Return ``names`` as a part of a sentence: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def seeds(rows):
    """Return how many seeds the recipes of ``rows`` have, as text."""
    return listed([str(n) for n in sorted(set(rows.groupby("recipe").seed.nunique()))])


def machines(rows):
    """Return the machines of ``rows`` as text."""
    return listed([f"one machine ({machine})" for machine in sorted(set(rows.machine))])


def by_recipe(rows):
    """Return the runs of each recipe; the quickest comes first, and those without a time last."""
    times = rows.groupby("recipe").fit_seconds.median().sort_values(kind="stable")
    return {recipe: rows[rows.recipe == recipe] for recipe in times.index}


def ratios(rows, runs):
    """Return each run's time beside that of Keras's example with the same seed on that machine."""
    example = rows[rows.recipe == "keras-example"]
    both = runs.merge(example, on=["machine", "seed"], suffixes=("", "_example"))
    return both.fit_seconds / both.fit_seconds_example


def note(rows):
    """Return a paragraph on how the rows were measured."""
    trained = {}
    for recipe in by_recipe(rows):
        train = RECIPES[recipe][0]
        images, validates = TRAINED_ON[train]
        how = f"{images:,} images, {'with' if validates else 'without'} validation"
        name = "this notebook" if train is notebook else NAMES.get(recipe, recipe)
        trained.setdefault(how, {})[name] = None
    trained = "; ".join(f"{listed(names)}: {how}" for how, names in trained.items())
    return (
        f"Mean ± standard deviation over {seeds(rows)} seeds. Times: the median (least–most) of "
        f"the training, from images in memory to the trained network, on {machines(rows)}. What is "
        f"trained on, and whether the time includes validation after each epoch: {trained}."
    )


def short_table(rows):
    """Return the README's table of recipes, with its note."""
    heading = ["", "epochs", "training time, s", "test accuracy, %", "wrong on distorted images, %"]
    lines = [
        [
            NAMES.get(recipe, recipe),
            f"{runs.epochs.iloc[0]}",
            median_and_range(runs.fit_seconds),
            spread(runs.accuracy, 2),
            spread(runs.corruption_error, 1),
        ]
        for recipe, runs in by_recipe(rows).items()
    ]
    return f"{markdown(heading, lines)}\n\n{note(rows)}"


def results_table(rows):
    """Return the table of all recipes and measures, with its note."""
    heading = ["recipe", "epochs", "seeds", "test accuracy, %", "NLL", "ECE, %", "`fit`, s"]
    lines = [
        [
            NAMES.get(recipe, recipe),
            f"{runs.epochs.iloc[0]}",
            f"{len(runs)}",
            spread(runs.accuracy, 2),
            spread(runs.nll, 4, scale=1),
            spread(runs.ece, 2),
            median_and_range(runs.fit_seconds, 1),
            spread(ratios(rows, runs), 2, scale=1) if len(ratios(rows, runs)) else "–",
            spread(runs.corruption_error, 1),
        ]
        for recipe, runs in by_recipe(rows).items()
    ]
    table = markdown([*heading, "ratio", "error on corrupted images, %"], lines)
    return f"{table}\n\n{note(rows)}"


def errors_table(rows, kinds):
    """Return the share of wrong answers, in percent, on each of ``kinds``, a dict of the names of
    columns, by each recipe.
    """
    recipes = by_recipe(rows)
    lines = [
        [name, *(spread(runs[column], 1) for runs in recipes.values())]
        for column, name in kinds.items()
    ]
    return markdown(["wrong, %", *(NAMES.get(recipe, recipe) for recipe in recipes)], lines)


def lessons_runs(rows):
    """Return the runs of Part I, of the longer training, and of the same with augmentation."""
    return [rows[rows.recipe == name] for name in ("ours-part-1", "ours-control", "ours")]


def others_table(rows):
    """Return the README's table of the lesson's kinds of pictures: right answers, in percent, and
    the share of the longer training's errors that augmentation saves.
    """
    lines = []
    for column, kind in LESSON_KINDS.items():
        cells = [100 * (1 - runs[column]) for runs in lessons_runs(rows)]
        deviations = [f"{c.std():.0f}" if c.std() >= 1 else f"{c.std():.1f}" for c in cells]
        _, control, ours = (runs[column] for runs in lessons_runs(rows))
        saved = f"{100 * (1 - ours.mean() / control.mean()):.0f}%".replace("-", "−")
        strength = f" ({STRENGTHS[kind]})" if kind in STRENGTHS else ""
        lines.append([
            kind + strength,
            *(f"{c.mean():.0f} ± {deviation}" for c, deviation in zip(cells, deviations)),
            saved if compare(control, ours) else f"({saved})",
        ])
    return markdown(["right, %", "Part I", "longer", "augmented", "errors saved"], lines)


def verdicts(rows, kinds):
    """Return which of ``kinds``, a dict of the names of columns, augmentation reads better or worse
    than the longer training does, as a part of a sentence.
    """
    _, control, ours = lessons_runs(rows)
    found = {1: [], -1: [], 0: []}
    for column, kind in kinds.items():
        found[compare(control[column], ours[column])].append(kind)
    words = {1: "gain", -1: "lose", 0: "cannot be told apart"}
    return "; ".join(f"{listed(found[n])} {word}" for n, word in words.items() if found[n])


def gains(rows):
    """Return the paragraph on what augmentation buys, kind by kind."""
    held_out = {column: kind for column, kind in LESSON_KINDS.items() if "*" in kind}
    contained = {column: kind for column, kind in LESSON_KINDS.items() if kind in STRENGTHS}
    return (
        f"What augmentation buys, beside the longer training with {seeds(rows)} seeds each. Of the "
        f"kinds that it contains: {verdicts(rows, contained)}. Of those that it does not contain: "
        f"{verdicts(rows, held_out)}. Unchanged digits: "
        f"{verdicts(rows, {'kind_unchanged': 'all together'})}. Of the benchmark's "
        f"{len(CORRUPTIONS)} kinds of distorted images: {verdicts(rows, CORRUPTIONS)}. (A "
        "difference counts from two standard errors on; of many kinds, chance lets one or another "
        "pass that.)"
    )


def behind(rows):
    """Return the paragraph on where the notebook's recipes are behind others."""
    recipes = by_recipe(rows)
    means = {recipe: runs.accuracy.mean() for recipe, runs in recipes.items()}
    least = recipes[min(means, key=means.get)].accuracy
    last = [recipe for recipe, runs in recipes.items() if not compare(runs.accuracy, least)]
    told = listed([f"{NAMES[recipe]} ({100 * means[recipe]:.2f}%)" for recipe in last])
    sentences = [f"Least accurate: {told}."]
    ours = recipes["ours"]
    for recipe, runs in recipes.items():
        if not recipe.startswith("ours"):
            kinds = CORRUPTIONS | LESSON_KINDS
            better = [
                kind for column, kind in kinds.items() if compare(ours[column], runs[column]) > 0
            ]
            if better:
                sentences.append(f"{NAMES[recipe]} reads better than Part III: {listed(better)}.")
    fast, quick = recipes["train-mnist-fast"], recipes["ours-1"]
    words = {
        "accuracy": "reads more digits",
        "nll": "gives the true digits higher probabilities",
        "fit_seconds": "takes less time",
    }
    better = [
        word
        for column, word in words.items()
        if compare(fast[column], quick[column]) == (1 if column == "accuracy" else -1)
    ]
    if better:
        sentences.append(f"In one epoch, train_mnist_fast {listed(better)} than the exercise.")
    return "Where it is behind: " + " ".join(sentences).replace("**", "")


def choices_table(path):
    """Return the mean and the standard deviation for each name in the CSV file ``path``.

    Its columns are name, seed, accuracy and nll, and kind_... for kinds of pictures; all but nll
    are shares, of right answers the accuracy, of wrong ones the kinds. A name with fewer than three
    seeds is left out.
    """
    rows = pd.read_csv(path)
    kinds = [column for column in rows if column.startswith("kind_")]
    lines = [
        [name, f"{len(runs)}", spread(runs.accuracy, 2), spread(runs.nll, 4, scale=1)]
        + [spread(runs[kind], 1) for kind in kinds]
        for name, runs in rows.groupby("name", sort=False)
        if len(runs) >= 3
    ]
    names = [kind.removeprefix("kind_").replace("_", " ") for kind in kinds]
    return markdown(["", "seeds", "accuracy, %", "NLL", *(f"{n}, wrong %" for n in names)], lines)


def texts(rows):
    """Return what stands between the marks of each README: texts by mark, by path."""
    files = {name: ROOT / "benchmarks" / f"{name}.csv" for name in ("layers", "augmentation")}
    return {
        ROOT / "README.md": {
            "others": others_table(rows),
            "gains": gains(rows),
            "results": short_table(rows),
            "behind": behind(rows),
        },
        ROOT / "benchmarks" / "README.md": {
            "results": results_table(rows),
            "corruptions": errors_table(rows, CORRUPTIONS),
            "kinds": errors_table(rows, LESSON_KINDS),
            **{name: choices_table(path) for name, path in files.items() if path.exists()},
        },
    }


def plot(rows, path):
    """Draw each recipe's mean test accuracy, with a standard deviation, to ``path``."""
    figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained", dpi=100)
    names = []
    for recipe, runs in by_recipe(rows).items():
        color, marker = (BLUE, "o") if recipe.startswith("ours") else (GREY, "s")
        accuracy = 100 * runs.accuracy
        bar = {"xerr": accuracy.std(), "capsize": 3}
        ax.errorbar(accuracy.mean(), len(names), marker=marker, color=color, **bar)
        time = ratios(rows, runs).mean()
        names.append(NAMES.get(recipe, recipe).replace("*", "") + f" ({time:.2f})" * (time > 0))
    ax.set(
        xlabel="test accuracy, % (mean ± sd)",
        ylabel="recipe (training time)",
        yticks=range(len(names)),
        yticklabels=names,
    )
    figure.suptitle("This notebook (circles) and published recipes (squares), by training time")
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})


def main(path):
    path = Path(path).resolve()
    try:
        rows = read_rows(path)
    except ValueError as error:
        sys.exit(str(error))
    if rows.empty:
        sys.exit(f"{path} holds no results yet: run `make bench` first.")
    for recipe, epochs in rows.groupby("recipe").epochs.unique().items():
        if len(epochs) > 1:
            sys.exit(
                f"{path} holds runs of {recipe} with {sorted(map(int, epochs))} epochs, which must "
                "not be averaged: keep the rows of one number of epochs in it."
            )
    plot(rows, path.with_suffix(".png"))
    if path == ROOT / "benchmarks" / "results.csv":
        for readme, tables in texts(rows).items():
            write_between_marks(readme, **tables)
    else:
        parts = [results_table(rows), errors_table(rows, CORRUPTIONS | LESSON_KINDS)]
        path.with_suffix(".md").write_text("# Results\n\n{}\n\n{}\n".format(*parts))
    print(results_table(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
