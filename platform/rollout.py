"""Putting a checkpoint behind the endpoint, as a row of `deployments`."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from ray import serve

from unlatent.models.editing import EditConfig
from unlatent.platform import checkpoints, cluster, placement, tables
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.config import Config
from unlatent.platform.places import AS_TRAINED, Places
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


def start_endpoint(config: Config, choice: Choice, places: Places = AS_TRAINED) -> str:
    """Starts the endpoint on a checkpoint that has been verified. Returns its URL once it answers.

    Raises ValueError for a damaged checkpoint, before the endpoint starts.
    """
    store, need = Store(config.store), placement.Need(config.serve.cpus, config.serve.gpus)
    with on_record(store, choice) as row:
        checkpoints.verify(store, checkpoints.find(store, choice.path))
        cluster.connect(config.cluster, config.store)
        placement.require("the endpoint", config.serve.replicas, need, config.cluster.grows)
        row["cluster"] = deployment.cluster_address()
        row["url"] = url = deployment.start(config.serve, store, choice.path, config.edit, places)
    return url


def roll_out(config: Config, choice: Choice) -> None:
    """Gives the endpoint that runs another checkpoint, which has been verified; it answers all the while.

    Without `cluster.address`, that is the endpoint that this store's last rollout went to. Raises ValueError where none
    runs, and for a checkpoint that is damaged or can't be served: then the one before goes on answering.
    """
    store = Store(config.store)
    address = config.cluster.address or last_cluster(store)
    with on_record(store, choice) as row:
        checkpoints.verify(store, checkpoints.find(store, choice.path))
        cluster.connect(replace(config.cluster, address=address), config.store)
        row["cluster"] = deployment.cluster_address()
        deployment.switch(choice.path)


def last_cluster(store: Store) -> str:
    """Where the last rollout that went well found its endpoint. Raises ValueError where there was none."""
    rows = rollouts(store, "ready")
    if not len(rows):
        raise ValueError(f"no endpoint has been started on {store.root}; `unlatent serve` starts one")
    known = rows["cluster"].dropna()
    return known.iloc[-1] if len(known) else "auto"


def rollouts(store: Store, *statuses: str) -> pd.DataFrame:
    """Those that went so, the newest last."""
    rows = tables.read(store, "deployments").sort_values("deployed_at")
    return rows[rows["status"].isin(statuses)]


@contextmanager
def on_record(store: Store, choice: Choice) -> Iterator[dict[str, Any]]:
    """A row for a rollout, to be filled while it goes on. How it went is written, whatever comes of it."""
    started = time.monotonic()
    row = deployment_row(checkpoints.find(store, choice.path), choice)
    row |= {"url": None, "cluster": None, "ready_after_s": None}
    try:
        yield row
    except BaseException as error:
        failed = {"status": "failed", "error": str(error) or type(error).__name__}
        tables.append(store, "deployments", [row | failed])
        raise
    done = {"status": "ready", "error": None, "ready_after_s": time.monotonic() - started}
    tables.append(store, "deployments", [row | done])


def choice_before(store: Store) -> Choice:
    """What the endpoint answered with before the rollout that came last. Raises ValueError where there was nothing."""
    rows = rollouts(store, "ready", "handed_over")
    others = rows[rows["checkpoint"] != rows["checkpoint"].iloc[-1]] if len(rows) else rows
    if not len(others):
        raise ValueError(f"no rollout of another checkpoint is in {store.root}; `unlatent deployments` lists them")
    row = others.iloc[-1]
    metric = None if pd.isna(row["metric"]) else row["metric"]
    return Choice(row["checkpoint"], metric, None if metric is None else float(row["value"]))


def hand_over(store: Store, config: ServeConfig, edit: EditConfig, places: Places) -> serve.Application:
    """The endpoint for a Ray Serve that others run, with a row that says so: whether it comes up is for them to see.

    Raises ValueError where there is no checkpoint, or it is damaged.
    """
    choice = choose_checkpoint(store, config.checkpoint, config.metric)
    checkpoint = checkpoints.find(store, choice.path)
    checkpoints.verify(store, checkpoint)
    handed = {"status": "handed_over", "error": None, "url": None, "ready_after_s": None, "cluster": None}
    tables.append(store, "deployments", [deployment_row(checkpoint, choice) | handed])
    return deployment.application(store, config, edit, places, config.token_digest, choice.path)


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
