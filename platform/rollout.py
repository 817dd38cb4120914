"""Putting a checkpoint behind the endpoint, as a row of `deployments`."""

import time
import uuid
from typing import Any

from unlatent.platform import checkpoints, cluster, tables
from unlatent.platform.config import Config
from unlatent.platform.provenance import now, provenance
from unlatent.platform.runs import last_checkpoint
from unlatent.platform.selection import best_checkpoint
from unlatent.platform.serving import deployment
from unlatent.platform.store import Store


def choose_checkpoint(store: Store, named: str | None, metric: str) -> tuple[str, float | None]:
    """A checkpoint's path: the one named, by path or as a run's last; or the best by a metric, with its value.

    Raises ValueError where there is none.
    """
    if named is None:
        best = best_checkpoint(store, metric)
        return best["checkpoint"], best["value"]
    if tables.row(store, "runs", named):
        return last_checkpoint(store, named).path, None
    return checkpoints.find(store, named).path, None


def roll_out(config: Config, named: str | None = None) -> str:
    """Starts the endpoint on a checkpoint that has been verified. Returns its URL once it answers.

    Raises ValueError for a damaged checkpoint, before the endpoint starts.
    """
    store, started = Store(config.store), time.monotonic()
    path, value = choose_checkpoint(store, named or config.serve.checkpoint, config.serve.metric)
    checkpoint = checkpoints.find(store, path)
    checkpoints.verify(store, checkpoint)
    cluster.connect(config.cluster)
    cluster.require("the endpoint", 1, config.serve.cpus, config.serve.gpus)
    row: dict[str, Any] = {
        "deployment_id": uuid.uuid4().hex[:10],
        "run_id": checkpoint.run_id,
        "checkpoint": path,
        "checkpoint_hash": checkpoint.hash,
        "metric": None if value is None else config.serve.metric,
        "value": value,
        **provenance(),
        "deployed_at": now(),
    }
    try:
        url = deployment.start(config.serve, store, path)
    except Exception as error:
        failed = {"status": "failed", "error": str(error), "url": None, "ready_after_s": None}
        tables.append(store, "deployments", [row | failed])
        raise
    ready = {"status": "ready", "error": None, "url": url, "ready_after_s": time.monotonic() - started}
    tables.append(store, "deployments", [row | ready])
    return url
