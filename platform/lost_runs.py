"""Runs and sweeps that are said to be running, and whose process is gone."""

import socket
import time
from typing import Any

import pyarrow.compute as pc

from unlatent.platform import progress, tables
from unlatent.platform.provenance import is_gone
from unlatent.platform.store import Store

SILENT_S = 3600.0  # after which a run on another host is taken to be lost; it tells of itself at every logged interval


def mark_lost(store: Store) -> list[str]:
    """Gives `lost` to runs and sweeps that are said to be running and whose process is gone. Returns their names."""
    lost = []
    for table, key in (("runs", "run_id"), ("sweeps", "sweep")):
        for name in tables.read(store, table, where=pc.field("status") == "running")[key]:
            row = tables.row(store, table, name)
            if row and row["status"] == "running" and (is_gone(row) or (table == "runs" and is_silent(store, row))):
                tables.replace(store, table, row | {"status": "lost"})
                lost.append(name)
    return lost


def is_silent(store: Store, row: dict[str, Any]) -> bool:
    """Whether nothing has been heard for long of a run on another host, where one cannot look for its process."""
    if row["host"] == socket.gethostname():
        return False
    state = progress.latest(store, row["run_id"])
    heard = max(row["updated_at"].timestamp(), state.at if state else 0.0)
    return time.time() - heard > SILENT_S
