"""Turn a CSV file of the benchmark into tables and a plot: python benchmarks/report.py results.csv.

Of benchmarks/results.csv it also writes the tables, and the sentences that depend on them, into
README.md and benchmarks/README.md, between their marks. Two means are told apart if they differ by
more than two standard errors of their difference.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from bench import read_rows
from recipes import CORRUPTIONS, KINDS, PARAMETERS, ROOT

sys.path.append(str(ROOT / "tools"))
from marks import write_between_marks  # noqa: E402

NAMES = {
    "ours-1": "**this notebook**, one epoch (exercise 4)",
    "ours-part-1": "**this notebook**, Part I",
    "ours-control": "**this notebook**, Part II: falling rate",
    "ours": "**this notebook**, Part III: the same, augmented",
    "keras-example": "Keras's mnist_convnet",
    "pytorch-example": "PyTorch's mnist example",
    "train-mnist-fast": "train_mnist_fast",
}
LESSON = ["ours-part-1", "ours-control", "ours"]
# The kinds that the lesson's augmentation contains: how strong each is, and the augmentation.
CONTAINED = {
    "moved": "3 px; at most 2 in the augmentation",
    "turned": "25°; at most 9° in the augmentation",
    **dict.fromkeys(["grey paper", "black on white", "crossed out", "noisy"], "contained"),
}


def spread(values, digits, scale=100):
    """Return the mean and the standard deviation of ``values``, times ``scale``, as text."""
    deviation = f" ± {scale * values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{scale * values.mean():.{digits}f}{deviation}" if len(values) else "–"


def compare(ours, others):
    """Return 1 or -1 if ``ours`` have a larger or smaller mean, and 0 if that cannot be told."""
    difference = ours.mean() - others.mean()
    error = np.sqrt(ours.var() / len(ours) + others.var() / len(others))
    return int(np.sign(difference)) if abs(difference) > 2 * error else 0


def markdown(table, corner=""):
    """Return the DataFrame ``table`` of texts in Markdown, with ``corner`` above its index."""
    lines = [[corner, *table], ["---"] * (1 + len(table.columns)), *table.itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def listed(names):
    """Return ``names`` as a part of a sentence: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def by_recipe(rows):
    """Return the runs of each recipe by its name; the quickest comes first."""
    times = rows.groupby("recipe").fit_seconds.median().sort_values(kind="stable")
    return {NAMES.get(recipe, recipe): rows[rows.recipe == recipe] for recipe in times.index}


def results(rows):
    """Return the table of recipes and measures, a DataFrame of texts."""
    table, example = {}, rows[rows.recipe == "keras-example"]
    for name, runs in by_recipe(rows).items():
        times, both = runs.fit_seconds, runs.merge(example, on=["machine", "seed"])
        table[name] = {
            "epochs": f"{runs.epochs.iloc[0]}",
            "training, s": f"{times.median():.1f} ({times.min():.1f}–{times.max():.1f})",
            "ratio": spread(both.fit_seconds_x / both.fit_seconds_y, 2, scale=1),
            "test accuracy, %": spread(runs.accuracy, 2),
            "NLL": spread(runs.nll, 4, scale=1),
            "ECE, %": spread(runs.ece, 2),
            "wrong on distorted images, %": spread(runs.corruption_error, 1),
        }
    return pd.DataFrame(table).T


def note(rows):
    """Return the paragraph below the table of recipes, on how it was measured."""
    seeds = listed([f"{n}" for n in sorted(set(rows.groupby("recipe").seed.nunique()))])
    return (
        f"Mean ± standard deviation over {seeds} seeds. The time is the median (least–most) on "
        f"{listed(sorted(set(rows.machine)))}, from images in memory to the trained network. The "
        f"notebook trains on {60_000 - PARAMETERS['VALIDATION_SIZE']:,} images, Keras's example on "
        "54,000; their times include validation after each epoch. The others train on 60,000 "
        "images and validate nothing."
    )


def errors(rows, kinds):
    """Return the table of wrong answers to ``kinds``, names by column, a column for each recipe."""
    recipes = by_recipe(rows).items()
    shares = {name: {kinds[n]: spread(runs[n], 1) for n in kinds} for name, runs in recipes}
    return markdown(pd.DataFrame(shares), "wrong, %")


def others(rows):
    """Return the table of the lesson's kinds of pictures: right answers, and the share of the
    longer training's errors that augmentation saves, in brackets if it cannot be told from none.
    """
    table = {}
    for column, kind in KINDS.items():
        wrong = [100 * rows[rows.recipe == recipe][column] for recipe in LESSON]
        # From 99% on the mean has a decimal, so that none is rounded to 100.
        digits = [(int(w.mean() <= 1), int(w.std() < 1)) for w in wrong]
        right = [f"{100 - w.mean():.{m}f} ± {w.std():.{s}f}" for w, (m, s) in zip(wrong, digits)]
        saved = f"{100 * (1 - wrong[2].mean() / wrong[1].mean()):.0f}%".replace("-", "−")
        right.append(saved if compare(wrong[1], wrong[2]) else f"({saved})")
        table[f"{kind} ({CONTAINED[kind]})" if kind in CONTAINED else kind] = right
    columns = ["Part I", "longer", "augmented", "errors saved"]
    return markdown(pd.DataFrame(table, index=columns).T, "right, %")


def gains(rows):
    """Return the paragraph on what augmentation buys, kind by kind."""
    _, longer, augmented = (rows[rows.recipe == recipe] for recipe in LESSON)
    words = {1: "fewer errors on", -1: "more errors on", 0: "no difference that can be told on"}

    def told(kinds):
        found = {}
        for column, kind in kinds.items():
            found.setdefault(compare(longer[column], augmented[column]), []).append(kind)
        return "; ".join(f"{words[n]} {listed(found[n])}" for n in words if n in found)

    contained = {column: kind for column, kind in KINDS.items() if kind in CONTAINED}
    unlike = {column: kind for column, kind in KINDS.items() if "*" in kind}
    return (
        f"Augmentation beside the longer training without it, {len(augmented)} seeds each. Of the "
        f"kinds that it contains: {told(contained)}. Of those that it does not contain: "
        f"{told(unlike)}. Besides: {told({'kind_unchanged': 'unchanged digits'})}. Of the "
        f"benchmark's {len(CORRUPTIONS)} kinds of distorted images: {told(CORRUPTIONS)}."
    )


def behind(rows):
    """Return the paragraph on where the notebook's recipes are behind."""
    recipes = by_recipe(rows)
    least = min((runs.accuracy for runs in recipes.values()), key=lambda shares: shares.mean())
    last = {n: r.accuracy.mean() for n, r in recipes.items() if not compare(r.accuracy, least)}
    told = [f"{name.replace('**', '')} ({mean:.2%})" for name, mean in last.items()]
    sentences = [f"The least accurate: {listed(told)}."]
    ours, quick = recipes[NAMES["ours"]], recipes[NAMES["ours-1"]]
    for name, runs in recipes.items():
        kinds = {} if "**" in name else CORRUPTIONS | KINDS
        better = [kind for column, kind in kinds.items() if compare(runs[column], ours[column]) < 0]
        if better:
            sentences.append(f"{name} makes fewer errors than Part III on {listed(better)}.")
    fast = recipes[NAMES["train-mnist-fast"]]
    better = ["more right answers"] * (compare(fast.accuracy, quick.accuracy) > 0)
    better += ["a smaller NLL"] * (compare(fast.nll, quick.nll) < 0)
    better += ["a shorter training"] * (compare(fast.fit_seconds, quick.fit_seconds) < 0)
    if better:
        sentences.append(f"In one epoch, train_mnist_fast has {listed(better)}.")
    return " ".join(sentences)


def choices(path):
    """Return the table of a CSV file of settings that were compared: name, seed, accuracy, a share
    of right answers, nll, and shares of wrong ones, kind_... A name needs three seeds.
    """
    table, rows = {}, pd.read_csv(path)
    for name, runs in rows.groupby("name", sort=False):
        if len(runs) >= 3:
            kinds = {n[5:].replace("_", " "): spread(runs[n], 1) for n in runs.filter(like="kind_")}
            line = {"accuracy, %": spread(runs.accuracy, 2), "NLL": spread(runs.nll, 4, scale=1)}
            table[name] = line | kinds
    return markdown(pd.DataFrame(table).T, "kinds: wrong, %" if "kind_moved" in rows else "")


def texts(rows):
    """Return what belongs between the marks of each README: a dict by path of texts by mark."""
    here, table = ROOT / "benchmarks", results(rows)
    short = table.drop(columns=["ratio", "NLL", "ECE, %"])
    readme = {"results": f"{markdown(short)}\n\n{note(rows)}", "others": others(rows)}
    readme |= {"gains": gains(rows), "behind": behind(rows)}
    tables = {"results": f"{markdown(table)}\n\n{note(rows)}"}
    tables |= {"corruptions": errors(rows, CORRUPTIONS), "kinds": errors(rows, KINDS)}
    found = [here / f"{name}.csv" for name in ("layers", "augmentation", "adam")]
    tables |= {path.stem: choices(path) for path in found if path.exists()}
    return {ROOT / "README.md": readme, here / "README.md": tables}


def plot(rows, path):
    """Draw each recipe's mean test accuracy, with a standard deviation, to ``path``."""
    figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained", dpi=100)
    names = by_recipe(rows)
    for place, (name, runs) in enumerate(names.items()):
        marker, color = ("o", "#0072B2") if "**" in name else ("s", "#666666")
        mean, sd = 100 * runs.accuracy.mean(), 100 * runs.accuracy.std()
        ax.errorbar(mean, place, xerr=sd, capsize=3, marker=marker, color=color)
    ax.set_yticks(range(len(names)), [name.replace("*", "") for name in names])
    ax.set(xlabel="test accuracy, % (mean ± sd)", ylabel="recipe, the quickest first")
    figure.suptitle("This notebook (circles) and published recipes (squares)")
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.3)
    figure.savefig(path, metadata={"Software": None})


def main(path):
    path = Path(path).resolve()
    rows = read_rows(path)
    if rows.empty or rows.groupby("recipe").epochs.nunique().max() > 1:
        sys.exit(f"{path} holds no results, or runs of one recipe with several numbers of epochs.")
    plot(rows, path.with_suffix(".png"))
    table = markdown(results(rows))
    if path == ROOT / "benchmarks" / "results.csv":
        for readme, parts in texts(rows).items():
            write_between_marks(readme, **parts)
    else:
        parts = ["# Results", table, note(rows), errors(rows, CORRUPTIONS | KINDS)]
        path.with_suffix(".md").write_text("\n\n".join(parts) + "\n")
    print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
