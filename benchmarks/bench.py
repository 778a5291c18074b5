"""Measure this notebook's recipes and published ones side by side: `make bench`, or python
benchmarks/bench.py --help.

Runs are interleaved (all recipes with one seed, then with the next), each in a fresh process. Every
finished run is a row of the CSV file at once; started again, the benchmark goes on where it was
interrupted.
"""

import argparse
import os
import platform
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from recipes import MEASURES, RECIPES, ROOT, code_version, measure
from tqdm import tqdm

KEY = ["recipe", "seed", "epochs"]
COLUMNS = [*KEY, "code", "machine", *MEASURES]


def machine():
    """Return this machine's processor, its vector instructions and number of cores as text."""
    try:
        description = Path("/proc/cpuinfo").read_text()
        name = re.search(r"model name\s*: (.+)", description)[1]
    except (OSError, TypeError):  # no Linux, or one that does not name its processor
        description, name = "", platform.machine()
    vectors = next(
        (
            f", {label}"
            for flag, label in [("avx512f", "AVX-512"), ("avx2", "AVX2")]
            if flag in description
        ),
        "",
    )
    return f"{name}{vectors}, {os.cpu_count()} cores"


def read_rows(path, recipes):
    """Return the finished runs in ``path`` as a table with the columns COLUMNS, empty if there is
    no such file.

    Raises ValueError if the file is not this benchmark's, or holds rows of ``recipes`` measured
    with other code.
    """
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    try:
        rows = pd.read_csv(path, dtype={"code": str})
    except ValueError as error:
        raise ValueError(
            f"{path} is not a table of results ({error}): name another file with --csv."
        ) from error
    if list(rows) != COLUMNS:
        raise ValueError(
            f"{path} has other columns than this version of the benchmark writes: "
            "move it away, or name another file with --csv."
        )
    for recipe in recipes:
        codes = set(rows.code[rows.recipe == recipe]) - {code_version(recipe)}
        if codes:
            raise ValueError(
                f"{path} holds rows of {recipe} that were measured with another version "
                f"of its code ({', '.join(codes)}): delete these rows, or name another file "
                "with --csv."
            )
    return rows


def write_rows(rows, path):
    """Replace the file ``path`` by the table ``rows``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".rows-", delete=False) as file:
        rows.sort_values(KEY, kind="stable").to_csv(file, index=False)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def quiet():
    """Send the messages of a run's process, and of its kernel, to build/bench.log."""
    log = ROOT / "build" / "bench.log"
    log.parent.mkdir(exist_ok=True)
    with open(log, "a") as file:
        os.dup2(file.fileno(), 2)


def run_here(jobs):
    """Yield (job, row) for each (recipe, seed, epochs) in ``jobs``, one after the other, each in a
    fresh process.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), quiet, max_tasks_per_child=1) as pool:
        for job in jobs:
            yield job, pool.submit(measure, *job).result()


def run_on_ray(jobs, address):
    """Yield (job, row) for each of ``jobs`` as it finishes on the Ray cluster at ``address`` (None:
    one on this machine).

    A run whose worker dies is started again, up to three times.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "Ray is not installed: run `make bench-env`, "
            "then build/bench/bin/python benchmarks/bench.py."
        ) from error
    ray.init(
        address=address,
        log_to_driver=False,
        runtime_env={
            "working_dir": str(ROOT),
            "env_vars": {"PYTHONPATH": "benchmarks"},
            "excludes": ["/.git", "/.venv", "/build", "/docs", "/models", "/tests"],
        },
    )
    run = ray.remote(max_calls=1, max_retries=3)(
        measure
    )  # max_calls: a fresh process for each run, as on one machine
    waiting = {run.options(name=" ".join(map(str, job))).remote(*job): job for job in jobs}
    while waiting:
        [done], _ = ray.wait(list(waiting), num_returns=1)
        yield waiting.pop(done), ray.get(done)


def parse(arguments):
    """Return the command line's options; exits with a message if one is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipes",
        nargs="+",
        metavar="RECIPE",
        default=[name for name in RECIPES if name not in ("smoke", "ours-validation")],
        help=f"any of {', '.join(RECIPES)}; all but smoke and ours-validation if not given",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument(
        "--epochs", type=int, help="for all recipes; each recipe's own number if not given"
    )
    parser.add_argument("--csv", type=Path, default=ROOT / "build" / "results.csv")
    parser.add_argument(
        "--ray", action="store_true", help="spread the runs over this machine with Ray"
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="spread the runs over the Ray cluster at this address",
    )
    options = parser.parse_args(arguments)
    for recipe in options.recipes:
        if recipe not in RECIPES:
            parser.error(f"there is no recipe {recipe!r}: name some of {', '.join(RECIPES)}")
    if options.epochs is not None and options.epochs < 1:
        parser.error(f"--epochs must be 1 or more, not {options.epochs}")
    if min(options.seeds) < 0:
        parser.error(f"a seed must be 0 or more, not {min(options.seeds)}")
    return options


def main(arguments=None):
    options = parse(arguments)
    try:
        rows = read_rows(options.csv, options.recipes)
    except ValueError as error:
        sys.exit(str(error))
    finished = set(rows[KEY].itertuples(index=False, name=None))
    jobs = [
        (recipe, seed, options.epochs or RECIPES[recipe][1])
        for seed in options.seeds
        for recipe in options.recipes
    ]
    jobs = [job for job in dict.fromkeys(jobs) if job not in finished]
    on_ray = options.ray or options.ray_address
    results = run_on_ray(jobs, options.ray_address) if on_ray else run_here(jobs)
    with tqdm(
        total=len(jobs),
        unit="run",
        desc=" ".join(map(str, jobs[0])) if jobs else "all runs are finished",
    ) as bar:
        try:
            for job, row in results:
                row = {
                    **dict(zip(KEY, job)),
                    "code": code_version(job[0]),
                    "machine": machine(),
                    **row,
                }
                rows = (
                    pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
                    if len(rows)
                    else pd.DataFrame([row])
                )
                write_rows(rows[COLUMNS], options.csv)
                bar.update()
                bar.set_description(f"finished {' '.join(map(str, job))}: {row['accuracy']:.2%}")
        except Exception as error:  # whatever it is, say first that nothing is lost
            sys.exit(
                f"a run failed ({type(error).__name__}: {error}); the finished ones are kept in "
                f"{options.csv}. Start again to go on."
            )
        except KeyboardInterrupt:
            sys.exit(
                f"\ninterrupted; the finished runs are kept in {options.csv}. Start again to go on."
            )


if __name__ == "__main__":
    main()
