"""Training runs as rows of `runs`: what identifies one, and what becomes of it."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow.compute as pc
import torch

from unlatent.models.config import PixelTransformerConfig
from unlatent.platform import checkpoints, spaces, tables
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.conditions import conditions_of
from unlatent.platform.config import Config, to_yaml
from unlatent.platform.config_columns import costs, knobs, training_settings
from unlatent.platform.datasets import Dataset, buckets_of
from unlatent.platform.provenance import is_gone, now, process, provenance
from unlatent.platform.schemas import RUNS, TABLES
from unlatent.platform.store import Store

# Settings that say how a run is watched, or by which of equivalent ways it computes what it does.
WATCHED = {
    "run",
    "log_images",
    "checkpoint_images",
    "keep_checkpoints",
    "keep_best",
    "keep_best_by",
    "grid_samples",
    "trackers",
}
LATER = {"fork"}  # settings that runs did not always have: one that is null leaves a run the name that it had
OUTSIDE_IDENTITY = WATCHED | {"compile", "recompute", "accumulate", "parallel", "spikes"}

DONE = ("succeeded", "stopped_early")


@dataclass(frozen=True)
class Run:
    """A run as planned: a config fitted to its dataset, and the name that follows from it."""

    run_id: str
    config: Config
    dataset: Dataset
    identity: dict[str, Any]  # flat: what two executions of one run must agree on
    sweep: str | None = None
    variant: str | None = None  # what the sweep calls settings that go together

    @property
    def config_hash(self) -> str:
        return short_hash(self.identity)

    @property
    def point(self) -> str:
        """The same for runs that differ in their seed alone."""
        return short_hash({name: value for name, value in self.identity.items() if name != "train.seed"})


def plan_run(config: Config, dataset: Dataset, sweep: str | None = None, variant: str | None = None) -> Run:
    """Fits the config to its dataset and names the run: `train.run`, or by the hash of all that decides its result."""
    config = fitted(config, dataset)
    train = {name: value for name, value in asdict(config.train).items() if name not in OUTSIDE_IDENTITY}
    train = {name: value for name, value in train.items() if name not in LATER or value is not None}
    data = {"hash": dataset.hash, **conditions_of(config.model).identity(dataset.train)}
    identity = flatten({"model": settings_of(config.model), "data": data, "train": train})
    run_id = config.train.run or f"{sweep or 'train'}-{short_hash(identity)}"
    return Run(run_id, config, dataset, identity, sweep, variant)


def fitted(config: Config, dataset: Dataset) -> Config:
    """The config with the network that takes a dataset's images.

    Raises ValueError where no such network can be.
    """
    model = spaces.fitted(config.model, dataset.channels, dataset.image_size)
    model = replace(model, classes=len(dataset.classes))
    if model.autoencoder:
        require_no_pixels(config)
    conditions_of(model).require_fit(dataset.train)
    config.train.alignment.require_block(model.patch_depth)
    return replace(config, model=model)


def require_no_pixels(config: Config) -> None:
    """Raises ValueError for what cannot be done with latents."""
    if buckets_of(config.data):
        raise ValueError("model.autoencoder goes with square images; data.max_aspect_ratio=1 would do")
    if config.train.alignment.active:
        raise ValueError("train.alignment.teacher looks at pixels, and model.autoencoder leaves none; null would do")


def settings_of(model: PixelTransformerConfig) -> dict[str, Any]:
    """Those that a run's name follows from: what encodes its texts is none of a class's network.

    An autoencoder is known by what it makes of images, wherever it lies. A network of pixels has the name that it
    always had.
    """
    settings = asdict(model)
    settings["autoencoder"] = spaces.open_space(model, torch.device("cpu")).identity
    if settings["autoencoder"] is None:
        del settings["autoencoder"]
    settings["text"]["instruction"] = settings["text"].pop("instruction_text")
    if model.condition == "class":
        for name in ("encoder", "instruction"):
            del settings["text"][name]
    return settings


def beginning(run: Run, checkpoint: Checkpoint | None) -> str:
    """Whether a run goes on, from where, or is a fresh one."""
    if checkpoint:
        return f"resumed at {checkpoint.images_seen:,} images from {checkpoint.path}"
    if run.config.train.fork:
        return f"forked from {run.config.train.fork}"
    return f"fresh, with the weights of {run.config.train.start}" if run.config.train.start else "fresh"


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def short_hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def is_done(store: Store, run: Run) -> bool:
    """Whether the run has come to its end and its last checkpoint is still there.

    Raises ValueError where a run of this name has been started with other settings.
    """
    row = tables.row(store, "runs", run.run_id)
    if row is None:
        return False
    refuse_other_settings(store, run)
    if row["status"] != "succeeded" or row["images_seen"] < run.config.train.total_images:
        return False
    checkpoint, _ = checkpoints.newest(store, run.run_id)
    return checkpoint is not None and checkpoint.path == row["checkpoint"]


def refuse_other_settings(store: Store, run: Run) -> None:
    """Length may change between two executions of a run of one name; model, data and the rest of training may not."""
    path = identity_path(run.run_id)
    if not store.exists(path):
        return
    require_identity(run, json.loads(store.read_bytes(path)), may_change={"train.total_images"})


def require_identity(run: Run, before: dict[str, Any], may_change: Collection[str] = ()) -> None:
    """Raises ValueError, naming the setting, for a run that is not the one that was begun."""
    changed = {key for key in before.keys() | run.identity.keys() if before.get(key) != run.identity.get(key)}
    for key in sorted(changed - set(may_change)):
        raise ValueError(
            f"run {run.run_id!r} was started with {key}={before.get(key)}, not {run.identity.get(key)}; "
            "give train.run another name, or the old setting"
        )


def identity_path(run_id: str) -> str:
    return f"artifacts/{run_id}/identity.json"


def begin(store: Store, run: Run, device: str, workers: int = 1) -> dict[str, Any]:
    """Writes the row of a run that starts or goes on. Returns it."""
    refuse_other_settings(store, run)
    with store.lock(f"artifacts/{run.run_id}/.begin.lock"):
        wait_for_other_process(store, run.run_id)
        return write_first_row(store, run, device, workers)


def write_first_row(store: Store, run: Run, device: str, workers: int = 1) -> dict[str, Any]:
    store.write_bytes(identity_path(run.run_id), json.dumps(run.identity).encode())
    before = tables.row(store, "runs", run.run_id) or {}
    row: dict[str, Any] = dict.fromkeys(RUNS)
    kept = ("duration_s", "started_at", "loss", "images_per_s", "peak_memory_bytes")
    row |= {name: before.get(name) for name in kept}
    row |= {
        "run_id": run.run_id,
        "sweep": run.sweep,
        "variant": run.variant,
        "forked_from": run.config.train.fork,
        "status": "running",
        "config": to_yaml(run.config),
        "config_hash": run.config_hash,
        "point": run.point,
        "seed": run.config.train.seed,
        "dataset": run.dataset.name,
        "dataset_hash": run.dataset.hash,
        "images_seen": 0,
        "device": device,
        "workers": workers,
        **knobs(run.config),
        **training_settings(run.config.train),
        **costs(run.config),
        **provenance(),
        **process(),
        "started_at": row["started_at"] or now(),
        "updated_at": now(),
        "duration_s": row["duration_s"] or 0.0,
    }
    tables.replace(store, "runs", row)
    return row


def wait_for_other_process(store: Store, run_id: str, patience_s: float = 30.0) -> None:
    """Waits for a process on this machine that trains the run already, such as a killed driver has left behind.

    Raises ValueError if it goes on: two processes must not train one run.
    """
    deadline = time.monotonic() + patience_s
    while (row := tables.row(store, "runs", run_id)) and row["status"] == "running":
        if is_gone(row) or row["pid"] == os.getpid() or row["host"] != socket.gethostname():
            return
        if time.monotonic() > deadline:
            raise ValueError(f"run {run_id!r} is being trained by process {row['pid']}; wait for it, or end it")
        time.sleep(0.2)


def outcome(store: Store, run: Run) -> dict[str, Any]:
    """What the logged steps of a run say of it, as columns of its row."""
    steps = tables.read(store, "steps", run=run.run_id).sort_values("images_seen")
    if steps.empty:
        return {}
    images = steps["images_seen"].diff().fillna(steps["images_seen"] - checkpoints.position(run.config.train.fork))
    seconds = float((images / steps["images_per_s"]).sum())
    return {
        "loss": float(steps["loss"].iloc[-1]),
        "images_per_s": float(images.sum()) / seconds,
        "duration_s": seconds,
        "peak_memory_bytes": int(steps["memory_bytes"].max()),
    }


def take_back_steps(store: Store, run_id: str, images_seen: int) -> None:
    """Removes the steps of a run beyond a position, and those not taken: they are about to be made again."""
    beyond = pc.field("images_seen") > images_seen
    made_again = {"steps": beyond, "events": beyond & (pc.field("event") == "step_skipped")}
    for table, where in made_again.items():
        for name in tables.names_of_run(store, table, run_id):
            owner, _, start = name.rpartition(".")
            if owner and int(start) >= images_seen:
                tables.remove(store, table, name)
        tables.remove_rows(store, table, run_id, where)


def record_rollback(store: Store, event: dict[str, Any]) -> None:
    """Keeps, for good, that a run goes back to its last checkpoint."""
    tables.append(store, "events", [event | {"event": "rolled_back"}])


def rollbacks(store: Store, run_id: str) -> int:
    """How often a run has been rolled back."""
    return len(tables.read(store, "events", pc.field("event") == "rolled_back", run_id))


def update(store: Store, row: dict[str, Any], changes: dict[str, Any]) -> None:
    """Changes a run's row, here and in the table."""
    row |= changes | {"updated_at": now()}
    tables.replace(store, "runs", row)


def end(store: Store, row: dict[str, Any], status: str, error: str | None = None) -> None:
    update(store, row, {"status": status, "error": error, "ended_at": now()})


def end_failed(store: Store, row: dict[str, Any], error: Exception) -> None:
    """Puts on record why a run failed; where the store takes no more, in words alone."""
    try:
        end(store, row, "failed", f"{type(error).__name__}: {error}")
    except OSError as unwritten:
        print(f"{row['run_id']}: its row cannot say that it failed: {unwritten}", flush=True)


def finished_files(store: Store, table: str) -> frozenset[str]:
    """Names in a table that nobody writes to any more: of runs and sweeps that have ended, and of compactions."""
    names, key = tables.names(store, table), TABLES[table].key
    if key is None:
        rows = tables.read(store, "runs")
        ended = {"", *rows["run_id"][rows["status"].isin(DONE)]}
        return frozenset(name for name in names if name.rpartition(".")[0] in ended)
    rows = tables.read(store, table)
    running = set(rows[key][rows["status"] == "running"])
    return frozenset(name for name in names if name not in running)


def find(store: Store, run_id: str) -> dict[str, Any]:
    """The row of a run.

    Raises ValueError where there is none.
    """
    row = tables.row(store, "runs", run_id)
    if row is None:
        raise ValueError(f"run={run_id!r} is not in {store.uri('results/runs')}; `unlatent results runs` lists them")
    return row


def last_checkpoint(store: Store, run_id: str) -> Checkpoint:
    """A run's last whole checkpoint.

    Raises ValueError where there is none.
    """
    checkpoint, passed_over = checkpoints.newest(store, find(store, run_id)["run_id"])
    if checkpoint is None:
        raise ValueError("; ".join([f"run={run_id!r} has no checkpoint", *passed_over]))
    return checkpoint
