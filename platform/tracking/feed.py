"""Hands a run's rows on to its trackers, in order and once, when they have reached the tables.

A tracker that fails is offered the same rows again at the next checkpoint, or when the run goes on: how far each has
come is kept in the store. Training never fails for one.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import pandas as pd

from unlatent.platform import tables
from unlatent.platform.runs import Run
from unlatent.platform.store import Store
from unlatent.platform.tracking.interval import Interval, Row
from unlatent.platform.tracking.mlflow_run import MlflowRun
from unlatent.platform.tracking.tensorboard_files import TensorboardFiles
from unlatent.platform.tracking.wandb_run import WandbRun


class Tracker(Protocol):
    """Where a run's rows are shown. Made anew in each process that trains the run."""

    def resume(self, given: int, images_seen: int) -> int:
        """Readies it for a run that goes on at `images_seen`, when it has been `given` the rows up to a position.

        Called again after a failure. Returns the position from which on it is to be given rows.
        """

    def add(self, interval: Interval) -> None: ...

    def close(self, ended_well: bool) -> None: ...


TRACKERS: dict[str, Callable[[Store, Run], Tracker]] = {
    "tensorboard": TensorboardFiles,
    "wandb": WandbRun,
    "mlflow": MlflowRun,
}


class Feed:
    """What each of a run's trackers has been given, and what waits for it."""

    def __init__(self, store: Store, run: Run, names: list[str]) -> None:
        self.store, self.run, self.names = store, run, names
        self.marks_path = f"artifacts/{run.run_id}/trackers.json"
        self.given: dict[str, int] = self.read_marks()
        self.open: dict[str, Tracker] = {}
        self.warnings: dict[str, str] = {}  # one at most for each tracker

    def read_marks(self) -> dict[str, int]:
        try:
            return dict(json.loads(self.store.read_bytes(self.marks_path)))
        except FileNotFoundError:
            return {}

    def resume(self, images_seen: int) -> None:
        """Goes on where the tables do, which have taken back what lies beyond but the events that stay on record."""
        if not self.names:
            return
        run_id = self.run.run_id
        steps, events = (records(tables.read(self.store, table, run=run_id)) for table in ("steps", "events"))
        whole = Interval(0, images_seen, steps, [row for row in events if row["images_seen"] <= images_seen])
        self.ahead = [row for row in events if row["images_seen"] > images_seen]
        self.waiting = {name: [whole] for name in self.names}
        self.position = dict.fromkeys(self.names, images_seen)
        self.ready: set[str] = set()
        self.deliver()

    def add(self, interval: Interval) -> None:
        if not self.names:
            return
        due = [row for row in self.ahead if row["images_seen"] <= interval.end]
        self.ahead = [row for row in self.ahead if row["images_seen"] > interval.end]
        for name in self.names:
            self.waiting[name].append(replace(interval, events=[*due, *interval.events]))
        self.deliver()

    def deliver(self) -> None:
        for name in self.names:
            try:
                self.deliver_to(name)
            except Exception as error:  # of three libraries and their servers, for which no run is to die
                self.ready.discard(name)  # what it took before it failed, it is asked
                self.warn(name, error)

    def deliver_to(self, name: str) -> None:
        if name not in self.open:
            self.open[name] = TRACKERS[name](self.store, self.run)
        if name not in self.ready:
            self.given[name] = self.open[name].resume(self.given.get(name, 0), self.position[name])
            self.ready.add(name)
        while self.waiting[name]:
            interval = self.waiting[name][0].beyond(self.given[name])
            if interval.end > self.given[name]:
                self.open[name].add(interval)
                self.given[name] = self.position[name] = interval.end
                self.store.write_bytes(self.marks_path, json.dumps(self.given).encode())
            self.waiting[name].pop(0)

    def close(self, ended_well: bool) -> None:
        for name, tracker in self.open.items():
            try:
                tracker.close(ended_well)
            except Exception as error:  # as above
                self.warn(name, error)

    def warn(self, name: str, error: Exception) -> None:
        """Says once that a tracker fails."""
        if name not in self.warnings:
            why = " ".join(str(error).split())[:200]
            self.warnings[name] = (
                f"{self.run.run_id}: {name} does not take the rows ({type(error).__name__}: {why}); training goes on, "
                "the tables have them all, and it is tried again at every checkpoint"
            )
            print(self.warnings[name], flush=True)


def records(rows: pd.DataFrame) -> list[Row]:
    """Rows of a table as they were written, in order."""
    ordered = rows.sort_values("images_seen", kind="stable").to_dict("records")
    return [{str(name): plain(value) for name, value in row.items()} for row in ordered]


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    return None if value is None or value != value else value
