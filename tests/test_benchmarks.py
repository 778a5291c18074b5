"""The benchmark keeps what it measured, refuses what it cannot use, and gives the same rows on a
Ray cluster; the README shows its results.
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
from conftest import ROOT, copy_project

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench
import corruptions
import epoch
import recipes
import report

PYTHON = ROOT / "build" / "bench" / "bin" / "python"
SMOKE = ["--recipes", "smoke", "--seeds", "1", "2", "--csv"]
TIMES = ["fit_seconds", "peak_memory_mb"]  # all else follows from the seed
CLUSTER = """
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
input()
"""
PUBLISHED_SIZES = """
import sys
import numpy as np
sys.path.insert(0, "benchmarks")
import anchors
x, y = np.zeros((300, 28, 28), "uint8"), np.zeros(300, "uint8")
for recipe in [anchors.keras_example, anchors.pytorch_example, anchors.train_mnist_fast]:
    predict, seconds = recipe(x, y, 0, 1)
    held = [cell.cell_contents for cell in predict.__closure__]
    [model] = [x for x in held if hasattr(x, "weights") or hasattr(x, "parameters")]
    weights = model.weights if hasattr(model, "weights") else model.parameters()
    print(recipe.__name__, sum(np.prod(w.shape) for w in weights), predict(x[:7]).shape)
    assert seconds > 0
"""


@pytest.fixture(scope="module")
def torch_and_ray():
    """The Python that has both."""
    if not PYTHON.exists():
        reason = "PyTorch and Ray are not installed: run `make bench-env`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return PYTHON


def start(*command, **options):
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)


def start_bench(*arguments, python=sys.executable):
    """Start the smoke recipe, which takes seconds, with two seeds."""
    command = [python, "benchmarks/bench.py", *SMOKE, *arguments]
    # Ctrl+C has to reach it, also where the tests run in the background, which ignores it.
    listen = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return start(*command, stderr=subprocess.STDOUT, **listen)


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """The smoke recipe's two rows, the second after an interruption, and the first one's text."""
    path = tmp_path_factory.mktemp("bench") / "rows.csv"
    process = start_bench(path)
    while not path.exists() and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 1 and "interrupted; the finished runs are kept" in said
    first = path.read_text()
    said, _ = (process := start_bench(path)).communicate()
    assert process.returncode == 0, said
    return pd.read_csv(path), first


def test_interrupted_run_resumes_and_repeats_nothing(sequential):
    rows, first = sequential
    assert list(rows.seed) == [1, 2]
    assert rows.to_csv(index=False).startswith(first), "the finished row was measured again"


@pytest.fixture(params=["smoke", "notebook"])
def measured(request, monkeypatch):
    """Rows, and the bounds of their accuracy, calibration error, loss and memory: of the smoke
    recipe, and of the notebook's own cells with few images and filters.
    """
    if request.param == "smoke":
        rows = request.getfixturevalue("sequential")[0]
        return rows, {"accuracy": (0.93, 0.95), "ece": (0.2, 0.3), "nll": (0.4, 0.5)}
    small = {"training": "train-plain", "VALIDATION_SIZE": 50_000, "FILTERS_1": 4, "FILTERS_2": 16}
    monkeypatch.setitem(recipes.RECIPES, "smoke", (recipes.notebook, 2, small))
    rows = pd.DataFrame([recipes.measure("smoke", seed=1, epochs=2)])
    return rows, {"accuracy": (0.93, 1), "ece": (0, 0.06), "nll": (0.02, 0.3)}


def test_a_row_holds_what_it_promises(measured):
    rows, bounds = measured
    for measure, (low, high) in bounds.items():
        assert rows[measure].between(low, high).all(), f"{measure} is {list(rows[measure])}"
    assert rows.accuracy.nunique() == len(rows), "two seeds give the same network"
    assert (rows.peak_memory_mb > 100).all() and (rows.fit_seconds > 0.3).all()
    errors = rows.filter(like="error_")
    assert errors.shape[1] == 18
    np.testing.assert_allclose(errors.mean(axis=1), rows.corruption_error)
    worst = 1 - rows.accuracy.max() - 0.01
    assert (errors.min(axis=1) > worst).all(), "a corruption that helps is none"


def test_settings_are_tried_on_the_images_that_the_notebook_holds_back(monkeypatch):
    measured = []

    def train(x, y, seed, epochs):
        return lambda images: measured.append(images) or np.full((len(images), 10), 0.1), 1.0

    monkeypatch.setitem(recipes.RECIPES, "ours-validation", (train, 1, {}))
    monkeypatch.setattr(corruptions, "KINDS", corruptions.KINDS[:1])
    row = recipes.measure("ours-validation", seed=1, epochs=1)
    size = int(re.search(r"VALIDATION_SIZE = ([\d_]+)", recipes.NOTEBOOK.read_text())[1])
    with np.load(ROOT / "data" / "mnist.npz") as mnist:
        assert np.array_equal(measured[0], mnist["x_train"][-size:])
        assert row["accuracy"] == np.mean(mnist["y_train"][-size:] == 0)  # all are read as 0


def test_two_ray_nodes_give_the_same_rows_and_a_killed_worker_is_retried(
    torch_and_ray, sequential, tmp_path
):
    patience = {**os.environ, "RAY_raylet_start_wait_time_s": "600"}  # a busy machine starts late
    cluster = start(torch_and_ray, "-c", CLUSTER, stdin=subprocess.PIPE, env=patience)
    try:
        address = next(line for line in cluster.stdout if ":" in line).strip()
        path = tmp_path / "rows.csv"
        process = start_bench(path, "--ray-address", address, python=torch_and_ray)
        nodes, killed = set(), None
        while process.poll() is None:
            for worker in psutil.process_iter(["cmdline", "ppid"]):
                if "ray::smoke" in " ".join(worker.info["cmdline"] or []):
                    nodes.add(worker.info["ppid"])
                    if not killed:
                        killed = worker
                        worker.kill()
            time.sleep(0.2)
        assert process.returncode == 0, process.stdout.read()
        assert killed and len(nodes) == 2, "the two runs are not on two nodes"
    finally:
        cluster.communicate("\n")
    pd.testing.assert_frame_equal(
        pd.read_csv(path).drop(columns=TIMES), sequential[0].drop(columns=TIMES)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--recipes smok", "there is no recipe 'smok': name some of ours-1"),
        ("--epochs 0", "--epochs must be 1 or more, not 0"),
        ("--seeds -1", "a seed must be 0 or more, not -1"),
        ("--seeds one", "invalid int value: 'one'"),
    ],
)
def test_bad_arguments_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        bench.main(arguments.split())
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="nll"), "has other columns than this version"),
        (lambda rows: rows.assign(code="0" * 12), "measured with another version of its code"),
        (lambda rows: pd.DataFrame(), "is not a table of results"),
    ],
)
def test_a_file_of_another_version_is_refused_and_kept(sequential, tmp_path, change, message):
    path = tmp_path / "rows.csv"
    change(sequential[0]).to_csv(path, index=False)
    before = path.read_text()
    with pytest.raises(SystemExit, match=f"{message}(.|\n)*--csv"):
        bench.main([*SMOKE, str(path)])
    assert path.read_text() == before


def test_anchors_have_the_published_sizes(torch_and_ray):
    """The published numbers of parameters: a layer forgotten or too wide would show here."""
    printed, _ = (process := start(torch_and_ray, "-c", PUBLISHED_SIZES)).communicate()
    assert process.returncode == 0
    assert printed.splitlines() == [
        "keras_example 34826 (7, 10)",
        "pytorch_example 1199882 (7, 10)",
        "train_mnist_fast 215194 (7, 10)",
    ]


def test_the_time_of_an_epoch_is_divided(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(epoch, "STEPS", 1)
    monkeypatch.setattr(epoch, "NOTEBOOK", copy_project(tmp_path) / "notebooks" / "few images")
    epoch.main(VALIDATION_SIZE=1_000, FILTERS_1=4, FILTERS_2=16)
    numbers = re.findall(r"(\d+\.\d) ms$", capsys.readouterr().out, re.M)
    assert len(numbers) == 7


def test_readme_shows_the_latest_results():
    rows = report.read_rows(ROOT / "benchmarks" / "results.csv", [])
    readme, details = ((ROOT / path).read_text() for path in ["README.md", "benchmarks/README.md"])
    [timed] = set(rows.machine[rows.fit_seconds > 0])  # times of two could not be compared
    for machine in set(rows.machine):
        assert f"({machine})" in readme, "name the machine of these results"
    for recipe, runs, ratio in report.recipes_with_runs(rows):
        seeds = runs.seed.nunique()
        assert recipe in report.NAMES and seeds == len(runs) >= 5, f"{recipe} lacks seeds"
        assert ratio or set(runs.machine) != {timed}, f"{recipe} lacks a ratio"
    stale = "run benchmarks/report.py benchmarks/results.csv"
    assert report.short_table(rows) in readme, stale
    assert report.results_table(rows) in details, stale
    assert report.corruption_table(rows) in details, stale


def test_ratios_compare_times_of_one_machine():
    runs = [("ours", "quick", 5), ("ours", "slow", 60), ("ours-1", "other", 7)]
    runs += [("keras-example", "quick", seconds) for seconds in (8, 10, 30)]
    runs += [("keras-example", "slow", 30)]
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
        "error_spatter": [0.4, 0.5, 0.6, 0.6, 0.6, 0.6],
        "error_thin_ice": [0, 0, 0, 0.01, 0.01, 0.01],
    })
    ours, keras = (report.NAMES[name] for name in ("ours", "keras-example"))
    assert report.short_table(runs).splitlines()[2:] == [
        f"| {ours} | 10 | 20 | 99.50 ± 0.50% | 3.0% | 35.0% |",
        f"| {keras} | 15 | 40 | 90.00 ± 0.00% | 50.0% | 50.0% |",
    ]
    measures = [
        "10 | 3 | 99.50 ± 0.50 | 0.0200 ± 0.0100 | 0.20 ± 0.10 | 20.0 | 0.50 | 3.0 ± 2.6 | here |",
        "15 | 3 | 90.00 ± 0.00 | 0.1000 ± 0.0000 | 1.00 ± 0.00 | 40.0 | 1.00 | 50.0 ± 0.0 | here |",
    ]
    expected = [f"| {name} | {row}" for name, row in zip([ours, keras], measures)]
    assert report.results_table(runs).splitlines()[2:] == expected
    assert report.corruption_table(runs).splitlines() == [
        f"| corruption | {ours} | {keras} |",
        "|---|---|---|",
        "| fog | 20.0 | 40.0 |",
        "| spatter | 50.0 | 60.0 |",
        "| thin ice | 0.0 | 1.0 |",
    ]


def test_runs_of_different_lengths_are_not_averaged(tmp_path):
    rows = report.read_rows(ROOT / "benchmarks" / "results.csv", [])
    longer = rows[rows.recipe == "ours"].assign(epochs=30)
    pd.concat([rows, longer]).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(SystemExit, match=r"rows\.csv holds runs of ours with \[10, 30\] epochs"):
        report.main(tmp_path / "rows.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]


def test_readme_and_exercise_name_the_benchmark_s_parameters():
    text = (ROOT / "benchmarks" / "README.md").read_text()
    command = re.search("^make run ARGS=(.*)", text, re.M)[1]
    told = {name: float(value) for name, value in re.findall(r"-p (\w+) ([\d.]+)", command)}
    _, epochs, options = recipes.RECIPES["ours-long"]
    assert {**told, "training": "train-augmented"} == {"EPOCHS": epochs, **options}
    told = re.search(r"First set `FILTERS_2 = (\d+)`", recipes.NOTEBOOK.read_text())[1]
    assert recipes.RECIPES["ours-1"][2] == {"training": "one-epoch", "FILTERS_2": int(told)}


def test_corruptions_are_what_they_say():
    """Each kind changes pictures, differently with each severity, the same with the same seed."""
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
