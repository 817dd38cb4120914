"""What is known of a sweep's trials while it runs: from the tables at first, later from what the trials report."""

import statistics
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from unlatent.platform import tables
from unlatent.platform.evaluation import extractor_name
from unlatent.platform.selection import evaluations, measured_alike, measured_as
from unlatent.platform.tuning.budget import Measured
from unlatent.platform.tuning.plan import Sweep, Trial
from unlatent.platform.tuning.space import Point

Row = dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """A point, by those of its trials that came to their end."""

    knobs: Point
    point: str  # its hash, as `runs` has it
    values: dict[str, float]  # run_id -> objective

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None for one."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


class Results:
    """Rows of a sweep's trials, and their objectives wherever trials are compared."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        found = tables.read(sweep.store, "runs", pc.field("sweep") == sweep.definition.name)
        plain = found.astype(object).where(found.notna(), None)
        self.rows: dict[str, Row] = {row["run_id"]: row for row in records(plain)}
        self.heard: list[Measured] = []

    def recall(self) -> None:
        """Takes in what the trials were measured at in earlier executions, in the order in which they were."""
        for measured in self.recorded(self.sweep.definition.metric):
            self.hear(measured)

    def recorded(self, metric: str) -> list[Measured]:
        """A metric of the trials wherever they are compared, measured as the sweep does it, in the order of time."""
        trials = {trial.run_id: trial for trial in self.sweep.trials if trial.run_id in self.rows}
        features = extractor_name(self.sweep.config.evaluation, self.sweep.dataset)
        on = {"feature_extractor": features, "dataset_hash": self.sweep.dataset.hash, "run_id": list(trials)}
        where = {**measured_as(self.sweep.config), **on}
        found = measured_alike(evaluations(self.sweep.store, metric, where)) if trials else pd.DataFrame()
        told = []
        for row in records(found):
            spent = self.sweep.budget.spent(trials[row["run_id"]].run.config.train, row["images_seen"])
            if spent is not None:
                told.append((row["evaluated_at"], Measured(row["run_id"], spent, row["value"])))
        return [measured for _, measured in sorted(told, key=lambda each: each[0])]

    def hear(self, measured: Measured) -> None:
        if measured not in self.heard:
            self.heard.append(measured)

    def refresh(self, run_id: str) -> None:
        if row := tables.row(self.sweep.store, "runs", run_id):
            self.rows[run_id] = row

    def status(self, trial: Trial) -> str:
        return self.rows[trial.run_id]["status"] if trial.run_id in self.rows else "waiting"

    def objectives(self) -> dict[str, float]:
        """The objective of each trial that came to the end of its budget, by run_id."""
        ends = {each.run_id: each.value for each in self.heard if each.spent == self.sweep.budget.total}
        return {
            run_id: value
            for run_id, value in ends.items()
            if run_id in self.rows and self.rows[run_id]["status"] == "succeeded"
        }

    def final(self, metric: str) -> dict[str, float]:
        """A metric of each trial at the end of its budget, by run_id, as the tables have it."""
        return {each.run_id: each.value for each in self.recorded(metric) if each.spent == self.sweep.budget.total}

    def has_ended(self, trial: Trial, retry_failed: bool = False) -> bool:
        """Whether a trial is not to be run (again)."""
        status = self.status(trial)
        if status == "succeeded":
            return trial.run_id in self.objectives()
        return status == "stopped_early" or (status == "failed" and not retry_failed)

    def standings(self) -> list[Standing]:
        """The points that may be ranked, the best first: those with as many seeds at their end as any has."""
        objectives, points = self.objectives(), dict[str, Standing]()
        for trial in self.sweep.trials:
            if trial.run_id in objectives:
                standing = points.setdefault(trial.run.point, Standing(trial.knobs, trial.run.point, {}))
                standing.values[trial.run_id] = objectives[trial.run_id]
        most = max((len(standing.values) for standing in points.values()), default=0)
        ranked = [standing for standing in points.values() if len(standing.values) == most]
        return sorted(ranked, key=lambda each: each.mean, reverse=self.sweep.definition.direction == "max")


def records(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
