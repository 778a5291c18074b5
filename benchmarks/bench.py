"""Measure this notebook's recipes and published ones side by side: `make bench`, or python
benchmarks/bench.py --help.

All recipes run with one seed, then with the next, each run in a fresh process. A finished run is a
row of the CSV file at once; started again, the benchmark goes on where it was interrupted.
"""

import argparse
import os
import platform
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from recipes import DEFAULT, MEASURES, RECIPES, ROOT, code_version, measure
from tqdm import tqdm

KEY = ["recipe", "seed", "epochs"]
COLUMNS = [*KEY, "code", "machine", *MEASURES]


def machine():
    """Return this machine's processor, its vector instructions and number of cores as text."""
    path = Path("/proc/cpuinfo")
    told = path.read_text() if path.exists() else ""  # only Linux has it
    name = re.search(r"model name\s*: (.+)", told)
    vectors = ", AVX-512" if "avx512f" in told else ", AVX2" if "avx2" in told else ""
    return f"{name[1] if name else platform.machine()}{vectors}, {os.cpu_count()} cores"


def read_rows(path):
    """Return the finished runs in ``path`` as a table with the columns COLUMNS, empty without it.

    Exits with a message if it is no such table, or holds rows measured with other code.
    """
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    other = "delete these rows, or name another file with --csv"
    try:
        rows = pd.read_csv(path, dtype={"code": str})
    except ValueError:  # it is empty, say
        rows = pd.DataFrame()
    if list(rows) != COLUMNS:
        sys.exit(f"{path} has other columns than this version writes: {other}.")
    for recipe, runs in rows.groupby("recipe"):
        if set(runs.code) != {code_version(recipe) if recipe in RECIPES else ""}:
            sys.exit(f"{path} holds rows of {recipe} of another version of its code: {other}.")
    return rows


def write_rows(rows, path):
    """Replace the file ``path`` by the table ``rows``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    rows.sort_values(KEY, kind="stable").to_csv(part, index=False)
    part.replace(path)


def quiet():
    """Send the messages of a run's process to build/bench.log."""
    (ROOT / "build").mkdir(exist_ok=True)
    with open(ROOT / "build" / "bench.log", "a") as file:
        os.dup2(file.fileno(), 2)


def run_here(jobs):
    """Yield (job, row) for each (recipe, seed, epochs) in ``jobs``, each in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn"), quiet, max_tasks_per_child=1) as pool:
        for job in jobs:
            yield job, pool.submit(measure, *job).result()


def run_on_ray(jobs, address):
    """Yield (job, row) for each of ``jobs`` as it finishes on the Ray cluster at ``address``, or on
    one of this machine alone if that is empty.

    A run whose worker dies is started again, up to three times.
    """
    import ray  # installed by `make bench-env`

    left_out = ["/.git", "/.venv", "/build", "/docs", "/models", "/tests"]
    path = {"PYTHONPATH": "benchmarks"}
    place = {"working_dir": str(ROOT), "excludes": left_out, "env_vars": path}
    ray.init(address=address or None, log_to_driver=False, runtime_env=place)
    # max_calls: a fresh process for each run, as on one machine
    run = ray.remote(max_calls=1, max_retries=3)(measure)
    waiting = {run.options(name=" ".join(map(str, job))).remote(*job): job for job in jobs}
    while waiting:
        [done], _ = ray.wait(list(waiting), num_returns=1)
        yield waiting.pop(done), ray.get(done)


def parse(arguments):
    """Return the command line's options; exits with a message if one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    told = f"{', '.join(RECIPES)}; if not given, the first {len(DEFAULT)} and those in the file"
    add = parser.add_argument
    add("--recipes", nargs="+", choices=RECIPES, default=[], metavar="RECIPE", help=told)
    add("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    add("--epochs", type=int, help="each recipe's own number if not given")
    add("--csv", type=Path, default=ROOT / "build" / "results.csv")
    told = "spread the runs with Ray: over the cluster at this address, or over this machine"
    add("--ray", "--ray-address", nargs="?", const="", metavar="ADDRESS", help=told)
    options = parser.parse_args(arguments)
    if min(options.seeds) < 0 or (options.epochs is not None and options.epochs < 1):
        parser.error("a seed must be 0 or more, and --epochs 1 or more")
    return options


def main(arguments=None):
    options = parse(arguments)
    rows = read_rows(options.csv)
    names = options.recipes or dict.fromkeys([*DEFAULT, *rows.recipe])
    jobs = [(n, seed, options.epochs or RECIPES[n][1]) for seed in options.seeds for n in names]
    finished = set(rows[KEY].itertuples(index=False, name=None))
    jobs = [job for job in dict.fromkeys(jobs) if job not in finished]
    results = run_here(jobs) if options.ray is None else run_on_ray(jobs, options.ray)
    kept = f"the finished runs are kept in {options.csv}. Start again to go on."
    with tqdm(total=len(jobs), unit="run") as bar:
        bar.set_description(" ".join(map(str, jobs[0])) if jobs else "all runs are finished")
        try:
            for job, measured in results:
                row = [*job, code_version(job[0]), machine(), *measured.values()]
                row = pd.DataFrame([row], columns=COLUMNS)
                rows = pd.concat([rows, row], ignore_index=True) if len(rows) else row
                write_rows(rows, options.csv)
                bar.update()
                bar.set_description("finished {} {} {}: {:.2%}".format(*job, measured["accuracy"]))
        except Exception as error:  # whatever it is, say first that nothing is lost
            sys.exit(f"a run failed ({type(error).__name__}: {error}); {kept}")
        except KeyboardInterrupt:
            sys.exit(f"\ninterrupted; {kept}")


if __name__ == "__main__":
    main()
