"""What the tables hold about a sweep and a run. Only numbers that were measured alike stand beside each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from unlatent.platform import tables
from unlatent.platform.report.wording import setting
from unlatent.platform.schemas import KNOBS
from unlatent.platform.selection import COMPARABLE_IN, DIRECTIONS
from unlatent.platform.store import Store

Row = dict[str, Any]

NEAR = 0.1  # a trial is near the best when its objective is at most this share worse

SHOWN = ("fid", "kid", "class_agreement")  # metrics of each trial, beside the objective

# Knobs that every trial is named by, and those that only follow from others.
ALWAYS_NAMED = {"patch_size", "window", "attention"}
FOLLOWING = {"attention_width", "attention_heads"}


@dataclass(frozen=True)
class SweepFindings:
    """A sweep and its trials, the best first: the columns of `runs`, and one for each metric of the last checkpoint."""

    name: str
    row: Row | None  # of `sweeps`
    trials: pd.DataFrame
    steps: pd.DataFrame
    metrics: list[str]
    settings: Row  # what the metrics depend on, the same for all trials
    otherwise: int  # trials whose last checkpoint was measured in another way only
    varying: list[str]  # knobs that differ between trials, beside patch size, window and attention; or the seed
    planned: int

    @property
    def metric(self) -> str:
        return self.row["metric"] if self.row else "fid"

    @property
    def direction(self) -> str:
        return self.row["direction"] if self.row else DIRECTIONS[self.metric]

    @property
    def ranked(self) -> pd.DataFrame:
        """The trials that came to their end and were measured, the best first."""
        return self.trials[(self.trials["status"] == "succeeded") & self.trials[self.metric].notna()]

    @property
    def best(self) -> Row | None:
        return record(self.ranked.iloc[0]) if len(self.ranked) else None

    @property
    def cheapest(self) -> Row:
        return record(self.ranked.sort_values("forward_gflops").iloc[0])

    @property
    def cheapest_near(self) -> Row:
        """The cheapest of the trials near the best, which may be the best itself."""
        values = self.ranked[self.metric]
        near = self.ranked[(values - values.iloc[0]).abs() <= NEAR * abs(values.iloc[0])]
        return record(near.sort_values("forward_gflops").iloc[0])

    @property
    def failed(self) -> list[Row]:
        return records(self.trials[self.trials["status"].isin(["failed", "lost"])])

    def states(self) -> dict[str, int]:
        """How many trials are in each state."""
        found = {str(status): int(many) for status, many in self.trials["status"].value_counts().items()}
        waiting = self.planned - len(self.trials)
        return found | ({"waiting": waiting} if waiting > 0 else {})

    def label(self, trial: Any) -> str:
        return setting(trial, self.varying)


@dataclass(frozen=True)
class RunFindings:
    """A run by itself: its row, its steps, and its evaluations in groups measured alike, the earliest group first."""

    row: Row
    steps: pd.DataFrame
    evaluations: list[pd.DataFrame]  # one row a metric and checkpoint, the earliest checkpoint first
    grids: dict[int, bytes]  # images seen -> PNG


def read_sweep(store: Store, name: str) -> SweepFindings | None:
    """What is known about a sweep; None for one that never began."""
    row = tables.row(store, "sweeps", name)
    trials = tables.read(store, "runs", pc.field("sweep") == name)
    if row is None and trials.empty:
        return None
    found = tables.read(store, "evaluations", pc.field("run_id").isin(list(trials["run_id"])))
    last = found.merge(trials[["run_id", "checkpoint_hash"]], on=["run_id", "checkpoint_hash"])
    alike = next(iter(groups_alike(last)), last)
    metric = row["metric"] if row else "fid"
    wide = alike.pivot_table(index="run_id", columns="metric", values="value", aggfunc="last")
    metrics = [str(column) for column in wide.columns]
    trials = trials.merge(wide.reindex(columns=sorted({*metrics, metric})), on="run_id", how="left")
    return SweepFindings(
        name=name,
        row=row,
        trials=best_first(trials, metric, row["direction"] if row else "min"),
        steps=tables.read(store, "steps", pc.field("run_id").isin(list(trials["run_id"]))),
        metrics=metrics,
        settings=settings_of(alike),
        otherwise=last["run_id"].nunique() - alike["run_id"].nunique(),
        varying=[knob for knob in differing(trials, [*KNOBS, "seed"]) if knob not in ALWAYS_NAMED | FOLLOWING],
        planned=(row["trials"] if row else None) or len(trials),
    )


def groups_alike(evaluations: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows parted by all that makes values comparable: what most runs share first, then what was measured first."""
    groups = [group for _, group in evaluations.groupby(list(COMPARABLE_IN), dropna=False)]
    return sorted(groups, key=lambda group: (-group["run_id"].nunique(), group["evaluated_at"].min()))


def settings_of(alike: pd.DataFrame) -> Row:
    """What the values of a group depend on, and the accuracy of what measured them."""
    if alike.empty:
        return {}
    return record(alike[[*COMPARABLE_IN, "extractor_accuracy", "dataset", "network_evaluations"]].iloc[0])


def best_first(trials: pd.DataFrame, metric: str, direction: str) -> pd.DataFrame:
    """Trials that came to their end by their objective, then the others; within each, those without a value last."""
    ordered = trials.sort_values(metric, ascending=direction == "min", kind="stable")
    return ordered.sort_values("status", key=lambda status: status != "succeeded", kind="stable", ignore_index=True)


def shown_metrics(sweep: SweepFindings) -> list[str]:
    """The metrics to show of each trial, the objective first."""
    return list(dict.fromkeys([sweep.metric, *(name for name in SHOWN if name in sweep.metrics)]))


def differing(rows: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    return [column for column in columns if rows[column].nunique(dropna=False) > 1]


def records(rows: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def record(row: pd.Series) -> Row:
    return {str(name): value for name, value in row.items()}


def read_run(store: Store, run_id: str) -> RunFindings | None:
    """What is known about a run; None for one that never began."""
    row = tables.row(store, "runs", run_id)
    if row is None:
        return None
    evaluations = tables.read(store, "evaluations", run=run_id).sort_values("images_seen")
    return RunFindings(
        row=row,
        steps=tables.read(store, "steps", run=run_id).sort_values("images_seen"),
        evaluations=groups_alike(evaluations),
        grids=sample_grids(store, f"artifacts/{run_id}/samples"),
    )


def sample_grids(store: Store, folder: str) -> dict[int, bytes]:
    """The first, the middle and the last of a run's grids of samples, by images seen."""
    names = [name for name in store.list(folder) if name.endswith(".png")]
    chosen = sorted({0, (len(names) - 1) // 2, len(names) - 1}) if names else []
    return {int(names[index].removesuffix(".png")): store.read_bytes(f"{folder}/{names[index]}") for index in chosen}
