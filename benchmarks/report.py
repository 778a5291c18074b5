"""Turn a CSV file of the benchmark into a Markdown table, a plot, and the README's table: python benchmarks/report.py results.csv."""
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from bench import read_rows
from recipes import ROOT, SEVERITY

NAMES = {"ours-1": "**this notebook**, 1 epoch", "ours-4": "**this notebook**, 4 epochs", "ours": "**this notebook**",
         "ours-long": "**this notebook**, long run",
         "keras-example": "Keras's mnist_convnet",
         "pytorch-example": "PyTorch's mnist example", "train-mnist-fast": "train_mnist_fast"}
BLUE, GREY = "#0072B2", "#666666"


def spread(values, scale=1.0, digits=2):
    """Return the mean and the standard deviation of ``values`` as text."""
    deviation = f" ± {scale * values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{scale * values.mean():.{digits}f}{deviation}"


def results_table(rows):
    """Return the table of all recipes in Markdown, the quickest first."""
    lines = ["| recipe | epochs | seeds | test accuracy, % | NLL | ECE, % | `fit`, s | ratio | error on corrupted images, % |",
             "|---|---|---|---|---|---|---|---|---|"]
    seconds = rows.groupby("recipe").fit_seconds.median().sort_values()
    for recipe in seconds.index:
        runs = rows[rows.recipe == recipe]
        example = rows[(rows.recipe == "keras-example") & rows.machine.isin(runs.machine)]
        ratio = f"{seconds[recipe] / example.fit_seconds.median():.2f}" if len(example) else ""
        lines.append(f"| {NAMES.get(recipe, recipe)} | {runs.epochs.iloc[0]} | {len(runs)} | {spread(runs.accuracy, 100)} "
                     f"| {spread(runs.nll, digits=4)} | {spread(runs.ece, 100)} | {seconds[recipe]:.1f} | {ratio} "
                     f"| {spread(runs.corruption_error, 100, 1)} |")
    return "\n".join(lines)


def corruption_table(rows):
    """Return the mean error on each kind of corruption in Markdown, a column for each recipe."""
    kinds = [name for name in rows if name.startswith("error_")]
    means = rows.groupby("recipe")[kinds].mean().T * 100
    lines = ["| corruption | " + " | ".join(NAMES.get(recipe, recipe) for recipe in means) + " |",
             "|---" * (len(means.columns) + 1) + "|"]
    for kind, row in means.iterrows():
        lines.append(f"| {kind.removeprefix('error_').replace('_', ' ')} | " + " | ".join(f"{v:.1f}" for v in row) + " |")
    return "\n".join(lines)


def plot(rows, path):
    """Draw mean test accuracy against median training time, with a standard deviation each way, to ``path``."""
    figure, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained", dpi=100)
    for recipe, runs in rows.groupby("recipe"):
        ours = recipe.startswith("ours")
        x, y = runs.fit_seconds.median(), 100 * runs.accuracy.mean()
        ax.errorbar(x, y, 100 * runs.accuracy.std(), runs.fit_seconds.std(), marker="o" if ours else "s",
                    color=BLUE if ours else GREY, capsize=3)
        ax.annotate(NAMES.get(recipe, recipe).replace("*", ""), (x, y), (6, -11), textcoords="offset points", fontsize=9,
                    color=BLUE if ours else GREY)
    ax.set(xscale="log", xlabel="training time, s (median, logarithmic)", ylabel="test accuracy, % (mean ± sd)",
           title="This notebook (circles) and published recipes (squares)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.15)
    figure.savefig(path, metadata={"Software": None})


def main(path):
    rows = read_rows(Path(path), [])
    if rows.empty:
        sys.exit(f"{path} holds no results yet: run `make bench` first.")
    for recipe, epochs in rows.groupby("recipe").epochs.unique().items():
        if len(epochs) > 1:
            sys.exit(f"{path} holds runs of {recipe} with {sorted(map(int, epochs))} epochs, which must not be averaged: "
                     "keep the rows of one number of epochs in it.")
    machines = "; ".join(rows.machine.unique())
    caption = (f"Measured on {machines} by `make bench`: mean ± standard deviation over the seeds, the last epoch, 10,000 test "
               "images; `fit` is the median, ratio that to Keras's example on the same machine; corrupted images are those test images "
               f"in {sum(name.startswith('error_') for name in rows)} kinds of imperfection (severity {SEVERITY} of 3).")
    table = f"{results_table(rows)}\n\n{caption}"
    Path(path).with_suffix(".md").write_text(
        f"# Results\n\n{table}\n\n## Error on corrupted images, %\n\n{corruption_table(rows)}\n")
    plot(rows, Path(path).with_suffix(".png"))
    if Path(path).resolve() == ROOT / "benchmarks" / "results.csv":
        readme = ROOT / "README.md"
        marked = r"(?s)(<!-- results -->\n).*?(\n<!-- /results -->)"
        readme.write_text(re.sub(marked, lambda match: match[1] + table + match[2], readme.read_text()))
    print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
