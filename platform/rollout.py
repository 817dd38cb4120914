"""Putting a checkpoint behind the endpoint, as a row of `deployments`."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

from ray import serve

from unlatent.platform import checkpoints, cluster, placement, tables
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.config import Config
from unlatent.platform.provenance import now, provenance
from unlatent.platform.runs import last_checkpoint
from unlatent.platform.selection import best_checkpoint
from unlatent.platform.serving import deployment
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.store import Store


@dataclass(frozen=True)
class Choice:
    """A checkpoint to serve, and the value of the metric that chose it; no metric where it was named."""

    path: str
    metric: str | None = None
    value: float | None = None


def choose_checkpoint(store: Store, named: str | None, metric: str) -> Choice:
    """The checkpoint named, by its path or as a run's last; or the best by a metric.

    Raises ValueError where there is none.
    """
    if named is None:
        best = best_checkpoint(store, metric)
        return Choice(best["checkpoint"], metric, best["value"])
    if tables.row(store, "runs", named):
        return Choice(last_checkpoint(store, named).path)
    if not store.exists(f"{named}/meta.json"):
        raise ValueError(
            f"{named!r} is neither a run nor a checkpoint's path in {store.root}; `unlatent results runs` lists them"
        )
    return Choice(checkpoints.find(store, named).path)


def roll_out(config: Config, choice: Choice) -> str:
    """Starts the endpoint on a checkpoint that has been verified. Returns its URL once it answers.

    Raises ValueError for a damaged checkpoint, before the endpoint starts.
    """
    store, started = Store(config.store), time.monotonic()
    checkpoint = checkpoints.find(store, choice.path)
    checkpoints.verify(store, checkpoint)
    cluster.connect(config.cluster, config.store)
    placement.require("the endpoint", 1, placement.Need(config.serve.cpus, config.serve.gpus), config.cluster.grows)
    row = deployment_row(checkpoint, choice)
    try:
        url = deployment.start(config.serve, store, choice.path)
    except Exception as error:
        failed = {"status": "failed", "error": str(error), "url": None, "ready_after_s": None}
        tables.append(store, "deployments", [row | failed])
        raise
    ready = {"status": "ready", "error": None, "url": url, "ready_after_s": time.monotonic() - started}
    tables.append(store, "deployments", [row | ready])
    return url


def hand_over(store: Store, config: ServeConfig) -> serve.Application:
    """The endpoint for a Ray Serve that others run, with a row that says so: whether it comes up is for them to see.

    Raises ValueError where there is no checkpoint, or it is damaged.
    """
    choice = choose_checkpoint(store, config.checkpoint, config.metric)
    checkpoint = checkpoints.find(store, choice.path)
    checkpoints.verify(store, checkpoint)
    handed = {"status": "handed_over", "error": None, "url": None, "ready_after_s": None}
    tables.append(store, "deployments", [deployment_row(checkpoint, choice) | handed])
    return deployment.application(config, store, choice.path)


def deployment_row(checkpoint: Checkpoint, choice: Choice) -> dict[str, Any]:
    """A row of `deployments` but for how it went."""
    return {
        "deployment_id": uuid.uuid4().hex[:10],
        "run_id": checkpoint.run_id,
        "checkpoint": choice.path,
        "checkpoint_hash": checkpoint.hash,
        "metric": choice.metric,
        "value": choice.value,
        **provenance(),
        "deployed_at": now(),
    }
