"""Time to write and read the rows of many runs: our tables, MLflow's two stores, and one SQLite table.

    python benchmarks/tables.py                              200 runs of 1,000 logged steps, some minutes
    python benchmarks/tables.py --runs 1000                  the size that the goals are for, half an hour
    python benchmarks/tables.py --runs 1000 --only unlatent sqlite

All do the same work: each run is logged in ten parts, as its checkpoints come, with four numbers a step; then all runs
are read, the loss of one run, and every step of all runs, each as a pandas DataFrame.
"""

import argparse
import logging
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path

from unlatent.platform import tables
from unlatent.platform.schemas import TABLES
from unlatent.platform.store import Store

PARTS = 10
NUMBERS = ("loss", "grad_norm", "learning_rate", "images_per_s")
REPEATS = 5
GOALS_S = {"runs": 1.0, "curve": 0.2, "steps": 3.0}  # of ours, compacted, for 1,000 runs; ten times that before

Rows = list[dict[str, float]]


class Contender(Protocol):
    """Where runs are logged to, and read from."""

    def log(self, run: str, first: int, rows: Rows) -> None: ...

    def runs(self) -> pd.DataFrame: ...

    def curve(self, run: str) -> pd.DataFrame: ...

    def steps(self) -> pd.DataFrame: ...


class Ours:
    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)

    def log(self, run: str, first: int, rows: Rows) -> None:
        blank, at = dict.fromkeys(columns("steps")), datetime.now(UTC)
        steps = [blank | {"run_id": run, "images_seen": first + n, "logged_at": at} | row for n, row in enumerate(rows)]
        tables.append(self.store, "steps", steps, name=f"{run}.{first:012d}")
        row = dict.fromkeys(columns("runs")) | {"run_id": run, "status": "succeeded", "loss": rows[-1]["loss"]}
        tables.replace(self.store, "runs", row)

    def runs(self) -> pd.DataFrame:
        return tables.read(self.store, "runs")

    def curve(self, run: str) -> pd.DataFrame:
        return tables.read(self.store, "steps", run=run)[["images_seen", "loss"]]

    def steps(self) -> pd.DataFrame:
        return tables.read(self.store, "steps")

    def compact(self) -> None:
        for table in ("runs", "steps"):
            tables.compact(self.store, table)


class MLflow:
    def __init__(self, address: str) -> None:
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        from mlflow import MlflowClient

        self.client, self.ids = MlflowClient(address), dict[str, str]()
        self.experiment = self.client.create_experiment("benchmark")

    def log(self, run: str, first: int, rows: Rows) -> None:
        from mlflow.entities import Metric

        if run not in self.ids:
            self.ids[run] = self.client.create_run(self.experiment, run_name=run).info.run_id
        metrics = [Metric(name, row[name], 0, first + n) for n, row in enumerate(rows) for name in NUMBERS]
        for start in range(0, len(metrics), 1000):  # the most that MLflow takes at once
            self.client.log_batch(self.ids[run], metrics=metrics[start : start + 1000])

    def runs(self) -> pd.DataFrame:
        found = self.client.search_runs([self.experiment], max_results=50_000)
        return pd.DataFrame([{"run_id": run.info.run_id, **run.data.metrics} for run in found])

    def curve(self, run: str) -> pd.DataFrame:
        history = self.client.get_metric_history(self.ids[run], "loss")
        return pd.DataFrame([(metric.step, metric.value) for metric in history], columns=["images_seen", "loss"])

    def steps(self) -> pd.DataFrame:
        return pd.DataFrame(
            [
                (run, metric.step, name, metric.value)
                for run, identity in self.ids.items()
                for name in NUMBERS
                for metric in self.client.get_metric_history(identity, name)
            ]
        )


class Sqlite:
    """One table with an index on the run, as one would write it by hand."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with closing(sqlite3.connect(file)) as base, base:
            base.execute(f"create table steps (run_id text, images_seen integer, {' real, '.join(NUMBERS)} real)")
            base.execute("create table runs (run_id text primary key, status text, loss real)")
            base.execute("create index of_run on steps (run_id)")

    def log(self, run: str, first: int, rows: Rows) -> None:
        values = [(run, first + n, *(row[name] for name in NUMBERS)) for n, row in enumerate(rows)]
        with closing(sqlite3.connect(self.file)) as base, base:
            base.executemany(f"insert into steps values ({', '.join('?' * (2 + len(NUMBERS)))})", values)
            base.execute("replace into runs values (?, ?, ?)", (run, "succeeded", rows[-1]["loss"]))

    def runs(self) -> pd.DataFrame:
        return self.query("select * from runs")

    def curve(self, run: str) -> pd.DataFrame:
        return self.query("select images_seen, loss from steps where run_id = ?", run)

    def steps(self) -> pd.DataFrame:
        return self.query("select * from steps")

    def query(self, text: str, *values: str) -> pd.DataFrame:
        with closing(sqlite3.connect(self.file)) as base:
            return pd.read_sql_query(text, base, params=values)


CONTENDERS: dict[str, Callable[[Path], Contender]] = {
    "unlatent": lambda folder: Ours(folder / "store"),
    "mlflow-files": lambda folder: MLflow(f"file://{folder / 'mlruns'}"),
    "mlflow-sqlite": lambda folder: MLflow(f"sqlite:///{folder / 'mlflow.db'}"),
    "sqlite": lambda folder: Sqlite(folder / "steps.db"),
}


def columns(table: str) -> list[str]:
    return [name for name in TABLES[table].schema.names if name != "schema_version"]


def seconds(call: Callable[[], Any], repeats: int = 1) -> float:
    """The median of some calls."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return median(taken)


def log_all(contender: Contender, runs: int, steps: int) -> None:
    each = steps // PARTS
    for part in range(PARTS):
        rows = [dict.fromkeys(NUMBERS, 1 / (1 + part * each + n)) for n in range(each)]
        for number in range(runs):
            contender.log(f"run-{number:05d}", part * each, rows)


def read_all(contender: Contender, runs: int, steps: int) -> dict[str, float]:
    """Seconds to read each of the three. ValueError where not all comes back."""
    middle = f"run-{runs // 2:05d}"
    for what, found, expected in (
        ("runs", contender.runs(), runs),
        ("rows of one run", contender.curve(middle), steps),
    ):
        if len(found) != expected:
            raise ValueError(f"{type(contender).__name__}: {len(found):,} {what}, not {expected:,}")
    return {
        "runs": seconds(contender.runs, REPEATS),
        "curve": seconds(lambda: contender.curve(middle), REPEATS),
        "steps": seconds(contender.steps),
    }


def measure(names: list[str], runs: int, steps: int) -> dict[str, dict[str, float]]:
    """Seconds by contender and by work."""
    measured = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            contender = CONTENDERS[name](Path(folder))
            wrote = {"write": seconds(lambda made=contender: log_all(made, runs, steps))}  # type: ignore[misc]
            measured[name] = wrote | read_all(contender, runs, steps)
            if isinstance(contender, Ours):
                merged = {"write": seconds(contender.compact)}
                measured[f"{name}, compacted"] = merged | read_all(contender, runs, steps)
    return measured


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=1000, help="logged by each; default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="default: all")
    asked = parser.parse_args(arguments)
    if asked.runs < 1 or asked.steps < PARTS or asked.steps % PARTS:
        print(f"error: --runs {asked.runs} --steps {asked.steps}: steps must be a multiple of {PARTS}", file=sys.stderr)
        return 2
    measured = measure(asked.only, asked.runs, asked.steps)
    work = ("write", *GOALS_S)
    print(f"\n{asked.runs:,} runs of {asked.steps:,} steps; seconds, and ours, compacted, over it")
    print(f"{'':24}" + "".join(f"{name:>20}" for name in work))
    ours = measured.get("unlatent, compacted", {})
    for name, taken in measured.items():
        ratios = (f"{ours[each] / taken[each]:8.2f}" if ours and each in GOALS_S else " " * 8 for each in work)
        print(f"{name:24}" + "".join(f"{taken[each]:12.3f}{ratio}" for each, ratio in zip(work, ratios, strict=True)))
    print("goals for 1,000 runs:   " + " " * 20 + "".join(f"{goal:12.1f}{'':8}" for goal in GOALS_S.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
