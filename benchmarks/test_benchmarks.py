"""What `make bench` promises, with PyTorch and Ray: build/bench/bin/python -m pytest benchmarks"""

import inspect
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
SIZES = {"keras-example": 34_826, "pytorch-example": 1_199_882, "train-mnist-fast": 215_194}


def test_an_interrupted_benchmark_goes_on_and_repeats_nothing(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    monkeypatch.setattr(bench.tqdm, "update", Mock(side_effect=[KeyboardInterrupt, None]))
    with pytest.raises(SystemExit, match="interrupted; the finished runs are kept"):
        bench.main([*SMOKE, str(path)])
    first = path.read_text()
    bench.main([*SMOKE, str(path)])
    assert path.read_text().startswith(first), "the finished run was measured again"
    assert bench.read_rows(path).accuracy.nunique() == 2, "two seeds give one network"


def test_a_ray_cluster_gives_the_same_rows(tmp_path):
    cluster = Cluster()
    try:
        for _ in range(5):  # Ray gives up where its own processes take 15 seconds to start
            with suppress(Exception):
                cluster.add_node(num_cpus=2)
                break
        bench.main([*SMOKE, str(tmp_path / "rows.csv"), "--ray", cluster.address])
    finally:
        ray.shutdown()
        cluster.shutdown()
    rows = pd.read_csv(tmp_path / "rows.csv")
    here = pd.DataFrame([recipes.measure("smoke", seed, epochs=1) for seed in (1, 2)])
    same = here.columns.drop(["fit_seconds", "peak_memory_mb"])
    pd.testing.assert_frame_equal(rows[same], here[same])


def test_settings_are_tried_on_the_images_that_the_lesson_holds_back(monkeypatch):
    names = [*recipes.CORRUPTIONS, *recipes.KINDS]
    predict = Mock(side_effect=lambda x: np.full((len(x), 10), 0.1))  # takes each for a 0
    monkeypatch.setitem(recipes.RECIPES, "ours-validation", (lambda *_: (predict, 1.5), 1, {}))
    monkeypatch.setattr(recipes, "other_pictures", lambda x: dict.fromkeys(names, x))
    row = recipes.measure("ours-validation", seed=1, epochs=1)
    held_back = MNIST["x_train"][-recipes.PARAMETERS["VALIDATION_SIZE"] :]
    assert all(np.array_equal(call.args[0], held_back) for call in predict.call_args_list)
    zeros = np.mean(MNIST["y_train"][-len(held_back) :] == 0)
    assert list(row) == recipes.MEASURES and row.pop("peak_memory_mb") > 0
    expected = [zeros, np.log(10), abs(zeros - 0.1), 1.5] + [1 - zeros] * (1 + len(names))
    assert [*row.values()] == pytest.approx(expected)


@pytest.mark.parametrize("recipe", [*SIZES, "ours-1", "ours-part-1", "ours-control", "ours"])
def test_recipes_learn_from_few_images_and_have_the_published_size(recipe):
    train, _, options = recipes.RECIPES[recipe]
    if train is recipes.notebook:  # 2,000 images to train on, and a small network
        options = options | {"VALIDATION_SIZE": 58_000, "FILTERS_1": 4, "FILTERS_2": 16}
    predict, _ = train(MNIST["x_train"][:2_000], MNIST["y_train"][:2_000], 1, 1, **options)
    accuracy = np.mean(predict(MNIST["x_test"][:1_000]).argmax(1) == MNIST["y_test"][:1_000])
    assert accuracy > 0.2  # .39 to .88 with five seeds, with and without AVX-512; chance is .1
    if recipe in SIZES:
        model = inspect.getclosurevars(predict).nonlocals["model"]
        weights = model.weights if recipe == "keras-example" else model.parameters()
        assert sum(np.prod(weight.shape) for weight in weights) == SIZES[recipe]


@pytest.mark.parametrize("kind", corruptions.KINDS)
def test_a_corruption_changes_pictures_differently_with_each_severity(kind):
    images = MNIST["x_train"][:20, ..., None] / np.float32(255)  # from 0 to 1
    made = [images, *(corruptions.corrupt(images, kind, severity) for severity in (1, 2, 3))]
    assert all(np.abs(one - other).mean() > 0.01 for one, other in combinations(made, 2))
    assert np.ptp(made) <= 1 and np.array_equal(made[2], corruptions.corrupt(images, kind, 2))


def test_all_recipes_read_the_same_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "ROOT", tmp_path)
    x = MNIST["x_test"][:20]
    made = recipes.other_pictures(x)
    monkeypatch.setattr(recipes, "run_cells", None)  # the second time they are not made
    again = recipes.other_pictures(x)
    assert [*made] == [*recipes.CORRUPTIONS, *recipes.KINDS]
    assert all(np.array_equal(made[n], again[n]) for n in made)
    thick = corruptions.corrupt(x[..., None] / 255, "thick", recipes.SEVERITY)[..., 0]
    expected = {"error_thick": np.rint(255 * thick), "kind_unchanged": x}
    expected |= {"kind_moved": np.roll(x, (3, 3), (1, 2)), "kind_black_on_white": 255 - x}
    assert all(np.array_equal(made[name], pictures) for name, pictures in expected.items())


def test_a_digest_covers_what_is_trained_and_measured_alone(monkeypatch):
    versions = {name: recipes.code_version(name) for name in recipes.RECIPES}
    cells = recipes.notebook_cells()
    for tag, old, new, affected in [
        ("train-first", "before these", "prior to the", set()),  # printed
        ("changes", "# by 25 degrees", "", set()),
        ("train-first", "epochs=3", "epochs=4", {"ours-part-1"}),
        ("augmentation", "0.3, 1", "0.2, 1", {"ours", "ours-validation"}),
        ("changes", "(3, 3)", "(4, 4)", set(versions)),
    ]:
        others = [(tags, s.replace(old, new) if tag in tags else s) for tags, s in cells]
        assert others != cells
        monkeypatch.setattr(recipes, "notebook_cells", lambda others=others: others)
        assert {n for n in versions if recipes.code_version(n) != versions[n]} == affected


def test_what_it_cannot_use_is_refused_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "run_here", Mock(return_value=[]))  # what is not refused ends
    path = tmp_path / "rows.csv"
    rows = pd.DataFrame([{**dict.fromkeys(bench.COLUMNS, 1), "recipe": "smoke"}])
    for table, message in [
        (rows.drop(columns="nll"), "has other columns than this version"),
        (rows.assign(code="0" * 12), "rows of smoke of another version of its code"),
        (rows.assign(recipe="gone"), "rows of gone of another version"),
        (pd.DataFrame(), "has other columns than this version"),
    ]:
        table.to_csv(path, index=False)
        with pytest.raises(SystemExit, match=message):
            bench.main([*SMOKE, str(path)])
        assert path.read_text() == table.to_csv(index=False)
    for arguments in ["--recipes smok", "--epochs 0", "--seeds -1"]:
        with pytest.raises(SystemExit):
            bench.main(arguments.split())
        assert re.search("invalid choice: 'smok'|must be", capsys.readouterr().err)


def test_means_are_told_apart_by_two_standard_errors():
    values = pd.Series([1.0, 1.2, 1.4])  # a difference has a standard error of 0.163
    verdicts = [report.compare(values + more, values) for more in (0.32, -0.32, 0.33, -0.33)]
    assert verdicts == [0, 0, 1, -1]


def test_the_readmes_show_the_results_of_the_present_code():
    rows = report.read_rows(recipes.ROOT / "benchmarks" / "results.csv")
    ours = {kind for kind in recipes.KINDS.values() if "*" not in kind}
    assert ours == {"unchanged", *report.CONTAINED}
    strengths = ["x_val, (3, 3)", "(0.07, 0.07)", "-2.0, 2.0", "n, 2, 2), -0.15, 0.15"]
    assert all(text in str(recipes.notebook_cells()) for text in strengths), "see CONTAINED"
    assert {*recipes.DEFAULT} <= {*rows.recipe} and min(rows.groupby("recipe").seed.nunique()) >= 5
    for path, texts in report.texts(rows).items():
        for name, text in texts.items():
            shown = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
            assert shown in path.read_text(), "run benchmarks/report.py benchmarks/results.csv"
