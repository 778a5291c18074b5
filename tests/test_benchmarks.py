"""The benchmark keeps what it measured, refuses what it cannot use, and gives the same rows on a
Ray cluster.
"""

import itertools
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
PYTHON = ROOT / "build" / "bench" / "bin" / "python"
SMOKE = ["--recipes", "smoke", "--seeds", "1", "2"]
TIMES = ["fit_seconds", "peak_memory_mb"]  # all else follows from the seed
CLUSTER = """
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
input()
"""


@pytest.fixture(scope="module")
def torch_and_ray():
    """The Python that has both."""
    if not PYTHON.exists():
        reason = "PyTorch and Ray are not installed: run `make bench-env`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return PYTHON


def bench(*arguments, python=sys.executable):
    """Start the benchmark with ``arguments``."""
    # Ctrl+C has to reach it, also where the tests run in the background, which ignores it.
    return subprocess.Popen(
        [python, ROOT / "benchmarks" / "bench.py", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """The rows of the smoke recipe, which takes seconds, with two seeds, the second after an
    interruption; and the first row before it.
    """
    path = tmp_path_factory.mktemp("bench") / "rows.csv"
    process = bench(*SMOKE, "--csv", path)
    while not path.exists() and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 1 and "interrupted; the finished runs are kept" in said
    first = path.read_text()
    said, _ = (process := bench(*SMOKE, "--csv", path)).communicate()
    assert process.returncode == 0, said
    return pd.read_csv(path), first


def test_interrupted_run_resumes_and_repeats_nothing(sequential):
    rows, first = sequential
    assert list(rows.seed) == [1, 2]
    assert rows.to_csv(index=False).startswith(first), "the finished row was measured again"


def check_errors(rows):
    errors = rows.filter(like="error_")
    assert (
        errors.shape[1] == 18 and (errors.mean(axis=1) - rows.corruption_error).abs().max() < 1e-12
    )
    assert (errors.min(axis=1) > 1 - rows.accuracy.max() - 0.01).all(), (
        "a corruption that helps is none"
    )
    assert (rows.fit_seconds > 0.5).all()


def test_a_row_holds_what_it_promises(sequential):
    rows, _ = sequential
    assert rows.accuracy.between(0.93, 0.95).all() and rows.accuracy.nunique() == 2
    assert rows.ece.between(0.2, 0.3).all() and rows.nll.between(0.4, 0.5).all()
    assert (rows.peak_memory_mb > 100).all()
    check_errors(rows)


def test_the_notebook_s_own_cells_are_trained_and_measured(monkeypatch):
    """Part II on 10,000 images, without its other cells."""
    import recipes

    parameters = {"training": "train-plain", "VALIDATION_SIZE": 50_000}
    monkeypatch.setitem(recipes.RECIPES, "smoke", (recipes.notebook, 2, parameters))
    rows = pd.DataFrame([recipes.measure("smoke", seed=1, epochs=2)])
    assert rows.accuracy.between(0.95, 1).all()
    assert rows.ece.between(0, 0.03).all() and rows.nll.between(0.02, 0.2).all()
    assert (rows.peak_memory_mb > 500).all()
    check_errors(rows)


def test_two_ray_nodes_give_the_same_rows_and_a_killed_worker_is_retried(
    torch_and_ray, sequential, tmp_path
):
    path = tmp_path / "rows.csv"
    cluster = subprocess.Popen(
        [torch_and_ray, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        address = next(line for line in cluster.stdout if ":" in line).strip()
        process = bench(*SMOKE, "--csv", path, "--ray-address", address, python=torch_and_ray)
        nodes, killed = set(), None
        while process.poll() is None:
            for worker in psutil.process_iter(["cmdline", "ppid"]):
                if "ray::smoke" in " ".join(worker.info["cmdline"] or []):
                    nodes.add(worker.info["ppid"])
                    if not killed:
                        killed = worker
                        worker.kill()
            time.sleep(0.2)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        assert killed and len(nodes) == 2, "the two runs are not on two nodes"
    finally:
        cluster.communicate("\n")
    rows = pd.read_csv(path)
    pd.testing.assert_frame_equal(rows.drop(columns=TIMES), sequential[0].drop(columns=TIMES))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipes", "smok"], "there is no recipe 'smok': name some of ours-1"),
        (["--epochs", "0"], "--epochs must be 1 or more, not 0"),
        (["--seeds", "-1"], "a seed must be 0 or more, not -1"),
        (["--seeds", "one"], "invalid int value: 'one'"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, message):
    process = bench(*arguments, "--csv", tmp_path / "rows.csv")
    said, _ = process.communicate()
    assert process.returncode == 2 and message in " ".join(said.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: rows.drop(columns="nll").to_csv(index=False),
            "has other columns than this version",
        ),
        (
            lambda rows: rows.assign(code="0" * 12).to_csv(index=False),
            "measured with another version of its code",
        ),
        (lambda rows: "\0", "has other columns"),
        (lambda rows: "", "is not a table of results"),
    ],
    ids=["columns", "code", "garbage", "empty"],
)
def test_a_file_of_another_version_is_refused_and_kept(sequential, tmp_path, change, message):
    path = tmp_path / "rows.csv"
    path.write_text(text := change(sequential[0]))
    said, _ = (process := bench(*SMOKE, "--csv", path)).communicate()
    assert process.returncode == 1 and message in said and "--csv" in said
    assert path.read_text() == text


def test_anchors_have_the_published_sizes(torch_and_ray):
    """The published numbers of parameters: a layer forgotten or too wide would show here."""
    code = """if True:
        import numpy as np, sys
        sys.path.insert(0, "benchmarks")
        import anchors
        x, y = np.zeros((300, 28, 28), "uint8"), np.zeros(300, "uint8")
        for recipe in [anchors.keras_example, anchors.pytorch_example, anchors.train_mnist_fast]:
            predict, seconds = recipe(x, y, 0, 1)
            held = [cell.cell_contents for cell in predict.__closure__]
            model = next(x for x in held if hasattr(x, "summary") or hasattr(x, "parameters"))
            if hasattr(model, "summary"):
                count = model.count_params()
            else:
                count = sum(p.numel() for p in model.parameters())
            assert predict(x[:7]).shape == (7, 10) and seconds > 0
            print(recipe.__name__, count)"""
    printed = subprocess.run(
        [torch_and_ray, "-c", code], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert printed.splitlines() == [
        "keras_example 34826",
        "pytorch_example 1199882",
        "train_mnist_fast 215194",
    ]


def test_readme_shows_the_latest_results():
    import report

    rows = report.read_rows(ROOT / "benchmarks" / "results.csv", [])
    readme = (ROOT / "README.md").read_text()
    # Times of one machine alone, or they could not be compared.
    [timed] = set(rows.machine[rows.fit_seconds > 0])
    for machine in set(rows.machine):
        assert f"({machine})" in readme, "name the machine of these results"
    for recipe, runs, ratio in report.recipes_with_runs(rows):
        assert recipe in report.NAMES and runs.seed.nunique() == len(runs) >= 5, (
            f"{recipe} lacks seeds"
        )
        assert ratio or set(runs.machine) != {timed}, f"{recipe} lacks a ratio"
    assert report.short_table(rows) in readme, "run `make bench`, or benchmarks/report.py"
    for table in [report.results_table(rows), report.corruption_table(rows)]:
        assert table in (ROOT / "benchmarks" / "README.md").read_text(), (
            "run benchmarks/report.py benchmarks/results.csv"
        )


def test_ratios_compare_times_of_one_machine():
    import report

    runs = [
        ("ours", "quick", 5),
        ("ours", "slow", 60),
        ("ours-1", "other", 7),
        ("keras-example", "quick", 8),
        ("keras-example", "quick", 10),
        ("keras-example", "quick", 30),
        ("keras-example", "slow", 30),
    ]
    rows = pd.DataFrame(runs, columns=["recipe", "machine", "fit_seconds"])
    found = report.recipes_with_runs(rows)
    assert [(recipe, len(runs), ratio) for recipe, runs, ratio in found] == [
        ("ours", 1, 0.5),
        ("ours-1", 1, None),
        ("keras-example", 3, 1),
        ("keras-example", 1, 1),
        ("ours", 1, 2),
    ]


def test_tables_of_made_rows_are_right():
    """A median is not the quickest run, a mean no median; each recipe has its own numbers."""
    import report

    runs = pd.DataFrame({
        "recipe": ["ours"] * 3 + ["keras-example"] * 3,
        "epochs": [10] * 3 + [15] * 3,
        "machine": ["here"] * 6,
        "fit_seconds": [10, 30, 20, 40, 40, 100],
        "accuracy": [0.99, 0.995, 1.0, 0.9, 0.9, 0.9],
        "nll": [0.01, 0.02, 0.03, 0.1, 0.1, 0.1],
        "ece": [0.001, 0.002, 0.003, 0.01, 0.01, 0.01],
        "corruption_error": [0.01, 0.02, 0.06, 0.5, 0.5, 0.5],
        "error_fog": [0.1, 0.2, 0.3, 0.4, 0.4, 0.4],
        "error_thin_ice": [0, 0, 0, 0.01, 0.01, 0.01],
    })
    ours, keras = (report.NAMES[name] for name in ("ours", "keras-example"))
    assert report.short_table(runs).splitlines()[2:] == [
        f"| {ours} | 10 | 20 | 99.50 ± 0.50% | 3.0% |",
        f"| {keras} | 15 | 40 | 90.00 ± 0.00% | 50.0% |",
    ]
    assert report.results_table(runs).splitlines()[2:] == [
        f"| {ours} | 10 | 3 | 99.50 ± 0.50 | 0.0200 ± 0.0100 | 0.20 ± 0.10 | 20.0 | 0.50 "
        "| 3.0 ± 2.6 | here |",
        f"| {keras} | 15 | 3 | 90.00 ± 0.00 | 0.1000 ± 0.0000 | 1.00 ± 0.00 | 40.0 | 1.00 "
        "| 50.0 ± 0.0 | here |",
    ]
    assert report.corruption_table(runs).splitlines() == [
        f"| corruption | {ours} | {keras} |",
        "|---|---|---|",
        "| fog | 20.0 | 40.0 |",
        "| thin ice | 0.0 | 1.0 |",
    ]


def test_runs_of_different_lengths_are_not_averaged(tmp_path):
    import report

    rows = report.read_rows(ROOT / "benchmarks" / "results.csv", [])
    longer = rows[rows.recipe == "ours"].assign(epochs=30)
    pd.concat([rows, longer]).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(SystemExit, match=r"rows\.csv holds runs of ours with \[10, 30\] epochs"):
        report.main(tmp_path / "rows.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]


def test_readme_gives_the_long_run_its_parameters():
    import recipes

    _, epochs, options = recipes.RECIPES["ours-long"]
    text = (ROOT / "benchmarks" / "README.md").read_text()
    command = next(line for line in text.splitlines() if line.startswith("make run ARGS="))
    told = {name: float(value) for name, value in re.findall(r"-p (\w+) ([\d.]+)", command)}
    assert {**told, "training": "train-augmented"} == {"EPOCHS": epochs, **options}


def test_the_exercise_names_the_benchmark_s_parameters():
    import recipes

    told = re.search(r"First set `FILTERS_2 = (\d+)`", recipes.NOTEBOOK.read_text())[1]
    assert recipes.RECIPES["ours-1"][2] == {"training": "one-epoch", "FILTERS_2": int(told)}


def test_corruptions_are_what_they_say():
    """Each kind changes pictures, differently with each severity, the same with the same seed."""
    import corruptions

    images = np.load(ROOT / "data" / "mnist.npz")["x_train"][:20, ..., np.newaxis] / np.float32(255)
    for kind in corruptions.KINDS:
        made = [corruptions.corrupt(images, kind, severity) for severity in (1, 2, 3)]
        for pictures, others in itertools.combinations([images, *made], 2):
            assert np.abs(pictures - others).mean() > 0.01, kind.__name__
        for pictures in made:
            assert pictures.dtype == "float32" and pictures.shape == images.shape
            assert pictures.min() >= 0 and pictures.max() <= 1
        assert np.array_equal(made[1], corruptions.corrupt(images, kind, 2))
    with pytest.raises(ValueError, match="severity must be 1, 2 or 3, not 4"):
        corruptions.corrupt(images, corruptions.fog, 4)
