"""What the tables hold about a sweep and a run. Only numbers that were measured alike stand beside each other."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import pyarrow.compute as pc

from unlatent.platform import tables
from unlatent.platform.metrics import DIRECTIONS
from unlatent.platform.report.knobs import further_settings, varying_knobs
from unlatent.platform.report.points import Row, best_first, deviation_of, group_points, record, records
from unlatent.platform.report.wording import setting
from unlatent.platform.selection import COMPARABLE_IN, differences
from unlatent.platform.store import Store

NEAR = 0.1  # a trial is near the best when its objective is at most this share worse

SHOWN = ("fid", "kid", "class_agreement")  # metrics of each trial, beside the objective

LONGEST_LABEL = 20  # letters that a picture of a dozen marks has room for

TIME = "seconds_per_image"  # the one metric that depends on the device


@dataclass(frozen=True)
class SweepFindings:
    """A sweep, its trials, and its points, the best first.

    `trials` has the columns of `runs` and one for each metric of the last checkpoint; `points` has the means of these
    over seeds, and their deviations.
    """

    name: str
    row: Row | None  # of `sweeps`
    trials: pd.DataFrame
    points: pd.DataFrame
    steps: pd.DataFrame
    metrics: list[str]
    settings: Row  # what the metrics depend on, the same for all trials
    otherwise: int  # trials whose last checkpoint was measured in another way only
    differing: str  # what those differ in
    varying: list[str]  # columns that tell points apart, beside patch size, window and attention
    planned: int
    drawn_on: str  # the device that drew the images of most trials; seconds an image are known of those alone

    @property
    def metric(self) -> str:
        return self.row["metric"] if self.row else "fid"

    @property
    def direction(self) -> str:
        return self.row["direction"] if self.row else DIRECTIONS[self.metric]

    @property
    def deviation(self) -> str:
        """The column with the objective's deviation over seeds."""
        return deviation_of(self.metric)

    @property
    def seeds(self) -> int:
        """The most runs that any point has."""
        return int(self.points["runs"].max()) if len(self.points) else 1

    @property
    def noun(self) -> str:
        """What a reader calls a point: with one seed, a point is a trial."""
        return "setting" if self.seeds > 1 else "trial"

    @property
    def ranked(self) -> pd.DataFrame:
        """The points of which a run came to its end and was measured, the best first."""
        return self.points[(self.points["status"] == "succeeded") & self.points[self.metric].notna()]

    @property
    def best(self) -> Row | None:
        return record(self.ranked.iloc[0]) if len(self.ranked) else None

    @property
    def cheapest(self) -> Row:
        return record(self.ranked.sort_values("forward_gflops").iloc[0])

    @property
    def cheapest_near(self) -> Row:
        """The cheapest of the points near the best, which may be the best itself."""
        values = self.ranked[self.metric]
        near = self.ranked[(values - values.iloc[0]).abs() <= NEAR * abs(values.iloc[0])]
        return record(near.sort_values("forward_gflops").iloc[0])

    def with_status(self, *statuses: str) -> list[Row]:
        return records(self.trials[self.trials["status"].isin(statuses)])

    def states(self) -> dict[str, int]:
        """How many trials are in each state."""
        found = {str(status): int(many) for status, many in self.trials["status"].value_counts().items()}
        waiting = self.planned - len(self.trials)
        return found | ({"waiting": waiting} if waiting > 0 else {})

    def label(self, trial: Row) -> str:
        return setting(trial, self.varying)

    @cached_property
    def has_long_labels(self) -> bool:
        return any(len(self.label(point)) > LONGEST_LABEL for point in records(self.points))

    def tag(self, point: Row) -> str:
        """What a point is called in a picture: its label, or its place in the table where labels would not fit."""
        return f"#{point['place']}" if self.has_long_labels else self.label(point)


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
    metric, direction = (row["metric"], row["direction"]) if row else ("fid", "min")
    found = tables.read(store, "evaluations", pc.field("run_id").isin(list(trials["run_id"])))
    last = found.merge(trials[["run_id", "checkpoint_hash"]], on=["run_id", "checkpoint_hash"])
    alike = next(iter(groups_alike(last)), last)
    otherwise = last["run_id"].nunique() - alike["run_id"].nunique()
    wide = alike.pivot_table(index="run_id", columns="metric", values="value", aggfunc="last")
    metrics = [str(column) for column in wide.columns]
    wide = wide.reindex(columns=sorted({*metrics, metric}))
    drawn_on = usual_device(alike)
    if TIME in wide:
        wide[TIME] = wide[TIME].where(alike.groupby("run_id")["device"].last() == drawn_on)
    trials = best_first(trials.merge(wide, on="run_id", how="left"), metric, direction)
    varying = varying_knobs(trials, row["budget"] if row else None)
    further = further_settings(trials, varying)
    trials = trials.join(further)
    points = best_first(group_points(trials, sorted({*metrics, metric}), metric), metric, direction)
    points["place"] = range(1, len(points) + 1)
    return SweepFindings(
        name=name,
        row=row,
        trials=trials,
        points=points,
        steps=tables.read(store, "steps", pc.field("run_id").isin(list(trials["run_id"]))),
        metrics=metrics,
        settings=settings_of(alike),
        otherwise=otherwise,
        differing=differences(last) if otherwise else "",
        varying=[*varying, *further.columns],
        planned=(row["trials"] if row else None) or len(trials),
        drawn_on=drawn_on,
    )


def usual_device(evaluations: pd.DataFrame) -> str:
    """The device that most runs were drawn on; of two, the first by name."""
    devices = evaluations.drop_duplicates("run_id")["device"].mode()
    return str(devices.iloc[0]) if len(devices) else "an unknown device"


def groups_alike(evaluations: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows parted by all that makes values comparable: what most runs share first, then what was measured first."""
    groups = [group for _, group in evaluations.groupby(list(COMPARABLE_IN), dropna=False)]
    return sorted(groups, key=lambda group: (-group["run_id"].nunique(), group["evaluated_at"].min()))


def settings_of(alike: pd.DataFrame) -> Row:
    """What the values of a group depend on, and the accuracy of what measured them."""
    if alike.empty:
        return {}
    return record(alike[[*COMPARABLE_IN, "extractor_accuracy", "dataset", "network_evaluations"]].iloc[0])


def shown_metrics(sweep: SweepFindings) -> list[str]:
    """The metrics to show of each trial, the objective first."""
    return list(dict.fromkeys([sweep.metric, *(name for name in SHOWN if name in sweep.metrics)]))


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
