"""Putting a checkpoint behind the endpoint, as a row of `deployments`."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from ray import serve

from unlatent.models.editing import EditConfig
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

    def __str__(self) -> str:
        return f"{self.path}, {self.metric} {self.value:.3f}" if self.metric else self.path


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


def start_endpoint(config: Config, choice: Choice) -> str:
    """Starts the endpoint on a checkpoint that has been verified. Returns its URL once it answers.

    Raises ValueError for a damaged checkpoint, before the endpoint starts.
    """
    store = Store(config.store)
    verify(store, choice)
    cluster.connect(config.cluster, config.store)
    need = placement.Need(config.serve.cpus, config.serve.gpus)
    placement.require("the endpoint", config.serve.replicas, need, config.cluster.grows)
    return on_record(store, choice, lambda: deployment.start(config.serve, store, choice.path, config.edit))


def roll_out(config: Config, choice: Choice) -> None:
    """Gives the endpoint that runs another checkpoint, which has been verified; it answers all the while.

    Raises ValueError for a damaged checkpoint, or one that can't be served: then the one before goes on answering.
    """
    store = Store(config.store)
    verify(store, choice)
    options = config.cluster if config.cluster.address else replace(config.cluster, address="auto")
    cluster.connect(options, config.store)
    on_record(store, choice, lambda: deployment.switch(choice.path))


def verify(store: Store, choice: Choice) -> None:
    checkpoints.verify(store, checkpoints.find(store, choice.path))


def on_record(store: Store, choice: Choice, work: Callable[[], str | None]) -> Any:
    """What a rollout's work returns, the endpoint's URL where it is new. How it went is a row, whatever comes of it."""
    started, row = time.monotonic(), deployment_row(checkpoints.find(store, choice.path), choice)
    try:
        url = work()
    except Exception as error:
        failed = {"status": "failed", "error": str(error), "url": None, "ready_after_s": None}
        tables.append(store, "deployments", [row | failed])
        raise
    ready = {"status": "ready", "error": None, "url": url, "ready_after_s": time.monotonic() - started}
    tables.append(store, "deployments", [row | ready])
    return url


def choice_before(store: Store) -> Choice:
    """What the endpoint answered with before the rollout that came last. Raises ValueError where there was nothing."""
    rows = tables.read(store, "deployments").sort_values("deployed_at")
    ready = rows[rows["status"] == "ready"]
    others = ready[ready["checkpoint"] != ready["checkpoint"].iloc[-1]] if len(ready) else ready
    if not len(others):
        raise ValueError(f"no rollout of another checkpoint is in {store.root}; `unlatent deployments` lists them")
    row = others.iloc[-1]
    metric = None if pd.isna(row["metric"]) else row["metric"]
    return Choice(row["checkpoint"], metric, None if metric is None else float(row["value"]))


def hand_over(store: Store, config: ServeConfig, edit: EditConfig) -> serve.Application:
    """The endpoint for a Ray Serve that others run, with a row that says so: whether it comes up is for them to see.

    Raises ValueError where there is no checkpoint, or it is damaged.
    """
    choice = choose_checkpoint(store, config.checkpoint, config.metric)
    checkpoint = checkpoints.find(store, choice.path)
    checkpoints.verify(store, checkpoint)
    handed = {"status": "handed_over", "error": None, "url": None, "ready_after_s": None}
    tables.append(store, "deployments", [deployment_row(checkpoint, choice) | handed])
    return deployment.application(store, config, edit, config.token_digest, choice.path)


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
