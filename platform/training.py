"""The training loop: one, for a Ray Train worker and for a Ray Tune trial.

Order of data, noise and times follow from (seed, images seen, rank), so a resumed run sees what an undisturbed one
would have seen, and a checkpoint needs no generator's state. Steps reach the table together with the checkpoint that
covers them: a killed run takes back what it had logged beyond its last checkpoint, and logs it again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from unlatent.models import cost
from unlatent.models.samplers import sample
from unlatent.platform import checkpoints, progress, runs, tables
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.data_order import BatchOrder, batches
from unlatent.platform.devices import device_name, local_device
from unlatent.platform.generation import draw_noise, image_grid, to_bytes, to_png
from unlatent.platform.learner import Learner, make_learner, train_step
from unlatent.platform.optimization import TrainConfig, learning_rate
from unlatent.platform.peak_flops import peak_flops
from unlatent.platform.runs import Run
from unlatent.platform.spikes import RollBackError, act
from unlatent.platform.starting import find_start, take_up
from unlatent.platform.step_log import StepLog
from unlatent.platform.store import Store
from unlatent.platform.tracking.feed import Feed
from unlatent.platform.tracking.interval import Interval


@dataclass
class Worker:
    """One of the processes that train a run together, and how it tells what it has done."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=local_device)
    wrap: Callable[[nn.Module], nn.Module] = lambda network: network  # for data-parallel gradients
    report: Callable[[Checkpoint | None], None] = lambda checkpoint: None  # called on every rank at a checkpoint


def train(run: Run, store: Store, worker: Worker) -> None:
    """Trains to the end, from the last whole checkpoint if there is one, and keeps the run's row true all the while."""
    leads = worker.rank == 0
    row = runs.begin(store, run, device_name(worker.device)) if leads else {}
    rollbacks = runs.rollbacks(store, run.run_id)
    feed = Feed(store, run, run.config.train.trackers if leads else [])
    try:
        while True:
            try:
                learn(run, store, worker, row, feed, rollbacks)
                break
            except RollBackError:
                rollbacks += 1
    except SystemExit:  # how Ray Tune ends a trial: one that its scheduler has stopped, or one at the end of its budget
        if leads:
            feed.close(True)
            ended = row["images_seen"] >= run.config.train.total_images
            runs.end(store, row, "succeeded" if ended else "stopped_early")
        raise
    except Exception as error:
        if leads:
            feed.close(False)
            runs.end(store, row, "failed", f"{type(error).__name__}: {error}")
        raise
    if leads:
        feed.close(True)
        runs.end(store, row, "succeeded")


def learn(run: Run, store: Store, worker: Worker, row: dict[str, Any], feed: Feed, rollbacks: int) -> None:
    """The loop itself.

    Raises RollBackError where it is to be entered again.
    """
    config, leads = run.config.train, worker.rank == 0
    learner = make_learner(run.config.model, config, worker.device)
    learner.model = worker.wrap(learner.model)
    checkpoint = resume(store, run, learner, leads)
    feed.resume(learner.images_seen)
    if leads and checkpoint:
        runs.update(store, row, {**runs.at_checkpoint(run.config, checkpoint), **runs.outcome(store, run.run_id)})
    if checkpoint and learner.images_seen >= config.total_images:
        worker.report(checkpoint)  # it was cut off between its last checkpoint and what was to be made of it
    positions = range(learner.images_seen, config.total_images, config.batch_size)
    split = run.dataset.train
    order = BatchOrder(len(split), config.seed, config.batch_size, positions, worker.rank, worker.world)
    log = StepLog(run.run_id, learner.images_seen, worker.device, top_images_per_s(run, worker))

    for images, labels in log.timed(batches(split, order, run.config.data.workers)):
        rate = learning_rate(config, learner.images_seen) * config.spikes.lowered**rollbacks
        log.add(train_step(config, learner, images.to(worker.device), labels.to(worker.device), worker.rank, rate))
        learner.images_seen += config.batch_size
        learner.step += 1
        ends = learner.images_seen >= config.total_images
        saves = ends or crosses(learner.images_seen, config.batch_size, config.checkpoint_images)
        if saves or crosses(learner.images_seen, config.batch_size, config.log_images):
            refused = log.end_interval(learner.images_seen, learner.step, rate)
            learner.skipped += len(refused)
            if leads:
                publish(store, config, log.rows[-1], list(feed.warnings.values()))
            try:
                act(config.spikes, refused, learner.skipped, rollbacks, config.total_images)
            except (RollBackError, FloatingPointError) as decided:
                if leads:
                    record(store, log, feed, decided)
                raise
        if saves:
            checkpoint = save(run, store, learner, log, feed, row) if leads else None
            worker.report(checkpoint)
            log.mark_saved(learner.images_seen)


def top_images_per_s(run: Run, worker: Worker) -> float:
    """What the workers would train on together, if they did nothing but multiply matrices as fast as they can."""
    peak = peak_flops(worker.device, run.config.train.precision) * worker.world
    return peak / (cost.training_gflops(run.config.model) * 1e9)


def record(store: Store, log: StepLog, feed: Feed, decided: RollBackError | FloatingPointError) -> None:
    """Puts on record why a run goes back or stops."""
    last = log.events[-1]
    if isinstance(decided, RollBackError):
        runs.record_rollback(store, last)
        print(f"{log.run_id}: {last['reason']} gradient at {last['images_seen']:,} images; going back", flush=True)
    else:
        append_rows(store, log, feed)


def crosses(images_seen: int, batch_size: int, every: int) -> bool:
    """Whether the last step took the count to or past a multiple of `every`."""
    return images_seen // every > (images_seen - batch_size) // every


def publish(store: Store, config: TrainConfig, step: dict[str, Any], warnings: list[str]) -> None:
    state = progress.Progress(
        images_seen=step["images_seen"],
        total_images=config.total_images,
        loss=math.nan if step["loss"] is None else step["loss"],
        images_per_s=step["images_per_s"],
        grad_norm=math.nan if step["grad_norm"] is None else step["grad_norm"],
        data_wait_share=step["data_wait_share"],
        mfu=step["mfu"],
        memory_bytes=step["memory_bytes"],
        warnings=warnings,
    )
    progress.publish(store, step["run_id"], state)


def resume(store: Store, run: Run, learner: Learner, leads: bool) -> Checkpoint | None:
    """Takes up the last whole checkpoint, and takes back the steps logged beyond it."""
    checkpoint, passed_over = checkpoints.newest(store, run.run_id)
    start = run.config.train.start
    if checkpoint:
        learner.load(store, checkpoint)
    elif start:
        take_up(store, find_start(store, start, run.config.model), learner)
    if leads:
        for folder in (checkpoints.folder(run.run_id), checkpoints.snapshot_folder(run.run_id)):
            store.delete_unfinished(folder)
        for line in passed_over:
            print(line, flush=True)
        print(f"{run.run_id}: {runs.beginning(run, checkpoint)}", flush=True)
        runs.take_back_steps(store, run.run_id, learner.images_seen)
    return checkpoint


def append_rows(store: Store, log: StepLog, feed: Feed, grid: bytes | None = None) -> None:
    """Writes what was logged since the last checkpoint, in the place of what another attempt had written of it."""
    for table, rows in (("steps", log.rows), ("events", log.events)):
        if rows:
            tables.append(store, table, rows, name=f"{log.run_id}.{log.saved_at:012d}")
    feed.add(Interval(log.saved_at, log.rows[-1]["images_seen"], log.rows, log.events, grid))


def save(run: Run, store: Store, learner: Learner, log: StepLog, feed: Feed, row: dict[str, Any]) -> Checkpoint:
    """Writes a grid of samples, the steps since the last checkpoint, the checkpoint, and the run's row."""
    append_rows(store, log, feed, save_grid(run, store, learner))
    weights = {"raw": learner.network.state_dict()} | learner.averages.weights()
    learner.averages.save_snapshots(store, run.run_id, learner.images_seen)
    checkpoint = checkpoints.save(
        store, run.run_id, learner.images_seen, weights, learner.state(), row["config"], run.dataset.classes
    )
    checkpoints.prune(store, run.run_id, run.config.train.keep_checkpoints)
    changes = {
        "loss": log.rows[-1]["loss"],
        "images_per_s": (learner.images_seen - log.saved_at) / log.training_s,
        "duration_s": row["duration_s"] + log.training_s,
        "peak_memory_bytes": max(step["memory_bytes"] for step in log.rows),
        **runs.at_checkpoint(run.config, checkpoint),
    }
    runs.update(store, row, changes)
    return checkpoint


@torch.inference_mode()
def save_grid(run: Run, store: Store, learner: Learner) -> bytes:
    """Draws samples from the same noise and classes at every checkpoint. Returns them as PNG."""
    config, count = run.config.model, run.config.train.grid_samples
    network = learner.averages.main
    device = next(network.parameters()).device
    noise = draw_noise(range(count), config.channels, config.image_size).to(device)
    labels = torch.arange(count, device=device) % config.classes
    images = to_bytes(sample(network, noise, labels, run.config.sampler, network.unconditional(labels))).cpu()
    grid = to_png(image_grid(images, columns=min(10, count), scale=max(1, 32 // config.image_size)))
    store.write_bytes(f"artifacts/{run.run_id}/samples/{learner.images_seen:012d}.png", grid)
    return grid
