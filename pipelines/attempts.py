"""Tries at a step. Each becomes a row of `pipeline_steps`, however it ends.

While one is under way, it is a file beside the step's outputs. After a kill, the next driver makes a row of what it
finds.
"""

import json
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from unlatent.pipelines import records
from unlatent.platform import tables
from unlatent.platform.provenance import now, provenance
from unlatent.platform.store import Store

SUFFIX = ".attempt.json"


@dataclass
class Attempt:
    """A try that is under way."""

    store: Store
    row: dict[str, Any]  # of `pipeline_steps`, as far as it is known
    ended: threading.Lock = field(default_factory=threading.Lock)  # taken once, by who ends it first

    @property
    def execution_id(self) -> str:
        return self.row["execution_id"]

    def end(self, action: str, error: str | None = None) -> None:
        if self.ended.acquire(blocking=False):
            close(self.store, self.row, action, error)

    def stop(self) -> None:
        self.end("ran" if has_succeeded(self.store, self.row) else "stopped", "by Ctrl-C or SIGTERM")


def begin(store: Store, pipeline: str, step: str, reason: str, key: str, number: int) -> Attempt:
    row = row_of(pipeline, step, reason, key, number)
    kept = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    store.write_bytes(path(pipeline, step), json.dumps(kept, indent=2).encode())
    return Attempt(store, row)


def note(store: Store, pipeline: str, step: str, action: str, reason: str, key: str | None) -> None:
    """A row for a step that was not tried."""
    add(store, row_of(pipeline, step, reason, key, 1) | {"action": action, "duration_s": 0.0, "ended_at": now()})


def settle(store: Store, pipeline: str) -> list[str]:
    """Makes rows of the tries that a killed driver has left. Returns the names of the steps that it was cut off in."""
    lost = []
    folder = f"artifacts/pipelines/{pipeline}"
    for name in store.list(folder):
        if not name.endswith(SUFFIX):
            continue
        row = read(store, f"{folder}/{name}")
        if row is None:
            store.delete(f"{folder}/{name}")
        elif has_succeeded(store, row):
            close(store, row, "ran")
        else:
            close(store, row, "lost", "its process was killed")
            lost.append(row["step"])
    return lost


def read(store: Store, path: str) -> dict[str, Any] | None:
    try:
        row = json.loads(store.read_bytes(path))
        return row | {"started_at": datetime.fromisoformat(row["started_at"])}
    except (ValueError, KeyError, TypeError):
        return None


def close(store: Store, row: dict[str, Any], action: str, error: str | None = None) -> None:
    """Writes the row, once, and takes the file away."""
    ended = now()
    error = None if action == "ran" else error
    duration_s = (ended - row["started_at"]).total_seconds()
    if tables.read(store, "pipeline_steps", pc.field("execution_id") == row["execution_id"]).empty:
        add(store, row | {"action": action, "error": error, "ended_at": ended, "duration_s": duration_s})
    store.delete(path(row["pipeline"], row["step"]))


def add(store: Store, row: dict[str, Any]) -> None:
    tables.append(store, "pipeline_steps", [row], name=row["execution_id"])


def has_succeeded(store: Store, row: dict[str, Any]) -> bool:
    record = records.read(store, row["pipeline"], row["step"])
    return record is not None and record.execution_id == row["execution_id"]


def path(pipeline: str, step: str) -> str:
    return f"artifacts/pipelines/{pipeline}/{step}{SUFFIX}"


def row_of(pipeline: str, step: str, reason: str, key: str | None, number: int) -> dict[str, Any]:
    return {
        "execution_id": uuid.uuid4().hex,
        "pipeline": pipeline,
        "step": step,
        "action": "running",
        "reason": reason,
        "key": key,
        "attempt": number,
        "error": None,
        "duration_s": None,
        **provenance(),
        "started_at": now(),
        "ended_at": None,
    }
