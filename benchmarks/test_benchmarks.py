"""What `make bench` promises, with PyTorch and Ray: build/bench/bin/python -m pytest benchmarks"""

import re
from contextlib import suppress
from itertools import combinations
from unittest.mock import Mock

import bench
import corruptions
import numpy as np
import pandas as pd
import pytest
import ray
import recipes
import report
from ray.cluster_utils import Cluster

MNIST = dict(np.load(recipes.ROOT / "data" / "mnist.npz"))
SMOKE = ["--recipes", "smoke", "--seeds", "1", "2", "--csv"]
PARAMETERS = {"keras-example": 34_826, "pytorch-example": 1_199_882, "train-mnist-fast": 215_194}


def test_an_interrupted_benchmark_goes_on_and_repeats_nothing(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    monkeypatch.setattr(bench.tqdm, "update", Mock(side_effect=[KeyboardInterrupt, None]))
    with pytest.raises(SystemExit, match="interrupted; the finished runs are kept"):
        bench.main([*SMOKE, str(path)])
    first = path.read_text()
    bench.main([*SMOKE, str(path)])
    assert path.read_text().startswith(first), "the finished run was measured again"
    assert pd.read_csv(path).accuracy.nunique() == 2, "two seeds give one network"


def test_a_ray_cluster_gives_the_same_rows(tmp_path):
    cluster = Cluster()
    try:
        for _ in range(5):  # Ray gives up where its own processes take 15 seconds to start
            with suppress(Exception):
                cluster.add_node(num_cpus=2)
                break
        bench.main([*SMOKE, str(tmp_path / "rows.csv"), "--ray-address", cluster.address])
    finally:
        ray.shutdown()
        cluster.shutdown()
    rows = pd.read_csv(tmp_path / "rows.csv")
    here = pd.DataFrame([recipes.measure("smoke", seed, epochs=1) for seed in (1, 2)])
    same = here.columns.drop(["fit_seconds", "peak_memory_mb"])
    pd.testing.assert_frame_equal(rows[same], here[same])


def test_settings_are_tried_on_the_images_that_the_lesson_holds_back(monkeypatch):
    predict = Mock(side_effect=lambda x: np.full((len(x), 10), 0.1))  # takes each for a 0
    train = Mock(return_value=(predict, 1.5))
    monkeypatch.setitem(recipes.RECIPES, "ours-validation", (train, 1, {}))
    monkeypatch.setattr(corruptions, "KINDS", corruptions.KINDS[:1])
    row = recipes.measure("ours-validation", seed=1, epochs=1)
    size = int(re.search(r"VALIDATION_SIZE = ([\d_]+)", recipes.NOTEBOOK.read_text())[1])
    assert np.array_equal(predict.call_args_list[0].args[0], MNIST["x_train"][-size:])
    zeros = np.mean(MNIST["y_train"][-size:] == 0)
    shown = [row[name] for name in ["accuracy", "nll", "ece", "fit_seconds", "corruption_error"]]
    assert shown == pytest.approx([zeros, np.log(10), abs(zeros - 0.1), 1.5, 1 - zeros])


@pytest.mark.parametrize("recipe", [*PARAMETERS, "ours-1", "ours-part-1", "ours-control", "ours"])
def test_recipes_learn_from_few_images_and_have_the_published_size(recipe):
    train, _, options = recipes.RECIPES[recipe]
    if train is recipes.notebook:  # 2,000 images to train on, and a small network
        options = options | {"VALIDATION_SIZE": 58_000, "FILTERS_1": 4, "FILTERS_2": 16}
    predict, _ = train(MNIST["x_train"][:2_000], MNIST["y_train"][:2_000], 1, 1, **options)
    accuracy = np.mean(predict(MNIST["x_test"][:1_000]).argmax(1) == MNIST["y_test"][:1_000])
    assert accuracy > 0.2  # .39 to .88 with five seeds, with and without AVX-512; chance is .1
    if recipe in PARAMETERS:
        model = predict.__closure__[0].cell_contents
        weights = model.weights if recipe == "keras-example" else model.parameters()
        assert sum(np.prod(weight.shape) for weight in weights) == PARAMETERS[recipe]


@pytest.mark.parametrize("kind", corruptions.KINDS)
def test_a_corruption_changes_pictures_differently_with_each_severity(kind):
    images = MNIST["x_train"][:20, ..., np.newaxis] / np.float32(255)  # from 0 to 1
    made = [images, *(corruptions.corrupt(images, kind, severity) for severity in (1, 2, 3))]
    for pictures, others in combinations(made, 2):
        assert np.abs(pictures - others).mean() > 0.01
    assert np.ptp(made) <= 1 and np.array_equal(made[2], corruptions.corrupt(images, kind, 2))


def test_what_it_cannot_use_is_refused_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "run_here", Mock(return_value=[]))  # what is not refused ends
    path = tmp_path / "rows.csv"
    rows = pd.DataFrame([{**dict.fromkeys(bench.COLUMNS, 1), "recipe": "smoke"}])
    for table, message in [
        (rows.drop(columns="nll"), "has other columns than this version"),
        (rows.assign(code="0" * 12), "measured with another version of its code"),
        (pd.DataFrame(), "is not a table of results"),
    ]:
        table.to_csv(path, index=False)
        with pytest.raises(SystemExit, match=message):
            bench.main([*SMOKE, str(path)])
        assert path.read_text() == table.to_csv(index=False)
    for arguments, message in [
        ("--recipes smok", "there is no recipe 'smok': name some of ours-1"),
        ("--epochs 0", "--epochs must be 1 or more, not 0"),
        ("--seeds -1", "a seed must be 0 or more, not -1"),
    ]:
        with pytest.raises(SystemExit):
            bench.main(arguments.split())
        assert message in capsys.readouterr().err


def test_the_readmes_show_the_results():
    rows = report.read_rows(recipes.ROOT / "benchmarks" / "results.csv", [])  # also of older code
    readme, details = ((recipes.ROOT / f / "README.md").read_text() for f in [".", "benchmarks"])
    for text, name, table in [
        (readme, "results", report.short_table(rows)),
        (details, "results", report.results_table(rows)),
        (details, "corruptions", report.corruption_table(rows)),
    ]:
        assert f"<!-- {name} -->\n{table}\n<!-- /{name} -->" in text, "run benchmarks/report.py"
    assert all(f"({machine})" in readme for machine in rows.machine)
    assert rows.groupby("recipe").seed.nunique().min() >= 5
