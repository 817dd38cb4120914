"""The training loop: one, for a Ray Train worker and for a Ray Tune trial.

Order of data, noise and times follow from (seed, images seen, rank), so a resumed run sees what an undisturbed one
would have seen, and a checkpoint needs no generator's state. Steps reach the table together with the checkpoint that
covers them: a killed run takes back what it had logged beyond its last checkpoint, and logs it again. A checkpoint is
written while the loop goes on, and reported when it is whole: before the next one is begun.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from unlatent.models import cost
from unlatent.models.condition import to_device
from unlatent.platform import checkpoints, progress, runs
from unlatent.platform.batches import batches
from unlatent.platform.checkpoint_writer import CheckpointWriter, Report, append_rows, moment_of, write
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.conditions import conditions_of, examples
from unlatent.platform.config_columns import at_checkpoint
from unlatent.platform.crew import ALONE, Crew
from unlatent.platform.devices import device_name, local_device, mesh_of_all
from unlatent.platform.latent_images import encoded_once
from unlatent.platform.learner import Learner, make_learner, train_step
from unlatent.platform.optimization import TrainConfig, learning_rate
from unlatent.platform.peak_flops import peak_flops
from unlatent.platform.runs import Run
from unlatent.platform.spikes import RollBackError, act
from unlatent.platform.starting import find_fork, find_start, take_up
from unlatent.platform.step_log import StepLog
from unlatent.platform.store import Store
from unlatent.platform.tracking.feed import Feed


@dataclass
class Worker:
    """One of the processes that train a run together, and how it tells what it has done."""

    crew: Crew = ALONE
    writers: Crew = ALONE  # the same processes, where they write a checkpoint while training goes on
    device: torch.device = field(default_factory=local_device)
    wrap: Callable[[nn.Module], nn.Module] = lambda network: network  # for data-parallel gradients
    report: Report = lambda checkpoint: None  # called on every rank, once for a checkpoint that is whole
    reports_at_once: bool = False  # before the next step, for one who decides on it whether there is one

    def __post_init__(self) -> None:
        assert self.writers.world == self.crew.world, "those who train a run together write its checkpoints together"


class PausedError(Exception):
    """Raised by a report: the run waits for what others come to, and goes on when it is started again."""


def train(run: Run, store: Store, worker: Worker) -> None:
    """Trains to the end, from the last whole checkpoint if there is one, and keeps the run's row true all the while."""
    leads = worker.crew.leads
    row = runs.begin(store, run, device_name(worker.device), worker.crew.world) if leads else {}
    rollbacks = runs.rollbacks(store, run.run_id)
    feed = Feed(store, run, run.config.train.trackers if leads else [])
    try:
        while True:
            try:
                learn(run, store, worker, row, feed, rollbacks)
                break
            except RollBackError:
                rollbacks += 1
    except SystemExit:  # how Ray Tune ends a trial that its scheduler has stopped
        if leads:
            feed.close(True)
            ended = row["images_seen"] >= run.config.train.total_images
            runs.end(store, row, "succeeded" if ended else "stopped_early")
        raise
    except PausedError:
        if leads:
            feed.close(True)
            runs.update(store, row, {"status": "paused"})
        raise
    except Exception as error:
        if leads:
            feed.close(False)
            runs.end_failed(store, row, error)
        raise
    if leads:
        feed.close(True)
        runs.end(store, row, "succeeded")


def learn(run: Run, store: Store, worker: Worker, row: dict[str, Any], feed: Feed, rollbacks: int) -> None:
    """The loop itself.

    Raises RollBackError where it is to be entered again.
    """
    config, crew, leads = run.config.train, worker.crew, worker.crew.leads
    sharded = config.parallel == "fsdp" and crew.world > 1
    split, conditions = run.dataset.train, conditions_of(run.config.model)
    mesh = mesh_of_all(worker.device) if sharded else None
    learner = make_learner(run.config.model, config, worker.device, mesh, conditions.nothing(split))
    learner.model = learner.model if sharded else worker.wrap(learner.model)
    checkpoint = resume(store, run, learner, crew)
    feed.resume(learner.images_seen)
    if leads and checkpoint:
        runs.update(store, row, {**at_checkpoint(run.config, checkpoint), **runs.outcome(store, run)})
    if checkpoint and (worker.reports_at_once or learner.images_seen >= config.total_images):
        worker.report(checkpoint)  # it may have been cut off between that checkpoint and what was to be made of it
    shown = examples(run.dataset, run.config.model, config.grid_samples)
    positions = range(learner.images_seen, config.total_images, config.batch_size)
    order = split.order(config.seed, config.batch_size)
    latents = None if config.flip else encoded_once(run.dataset, learner.space, store, worker.device)
    read, decoders = (split, run.config.data.decoders) if latents is None else (latents, 0)
    source = batches(read, order, positions, crew.rank, crew.world, decoders, conditions)
    log = StepLog(run.run_id, learner.images_seen, worker.device, top_images_per_s(run, worker), crew)
    writers = worker.writers if sharded else ALONE

    with CheckpointWriter(worker.report) as writer:
        for images, condition in log.timed(source):
            rate = learning_rate(config, learner.images_seen) * config.spikes.lowered**rollbacks
            said = to_device(condition, worker.device)
            log.add(train_step(config, learner, images.to(worker.device), said, crew.rank, rate))
            learner.images_seen += config.batch_size
            learner.step += 1
            ends = learner.images_seen >= config.total_images
            saves = ends or crosses(learner.images_seen, config.batch_size, config.checkpoint_images)
            if saves or crosses(learner.images_seen, config.batch_size, config.log_images):
                refused = log.end_interval(learner.images_seen, learner.step, rate)
                learner.skipped += len(refused)
                if leads:
                    publish(store, config, log.rows[-1], list(feed.warnings.values()))
                if refused:
                    writer.settle()  # or one worker could go back further than another
                    answer(store if leads else None, config, learner, log, feed, refused, rollbacks)
            if saves:
                writer.settle()
                moment = moment_of(run, learner, log, shown) if sharded or leads else None
                writer.start(partial(write, run, store, moment, feed, row, writers) if moment else nothing)
                log.mark_saved(learner.images_seen)
            if saves and (ends or worker.reports_at_once):
                writer.settle()


def nothing() -> None:
    """What a worker writes that does not lead."""


def answer(
    store: Store | None,
    config: TrainConfig,
    learner: Learner,
    log: StepLog,
    feed: Feed,
    refused: list[dict[str, Any]],
    rollbacks: int,
) -> None:
    """Does what is to be done about steps that were not taken; why the run goes back or stops is put into the store."""
    try:
        act(config.spikes, refused, learner.skipped, rollbacks, config.total_images)
    except (RollBackError, FloatingPointError) as decided:
        if store:
            record(store, log, feed, decided)
        raise


def top_images_per_s(run: Run, worker: Worker) -> float:
    """What the workers would train on together, if they did nothing but multiply matrices as fast as they can."""
    peak = peak_flops(worker.device, run.config.train.precision) * worker.crew.world
    return peak / (cost.training_gflops(run.config.model) * 1e9)


def record(store: Store, log: StepLog, feed: Feed, decided: RollBackError | FloatingPointError) -> None:
    """Puts on record why a run goes back or stops."""
    last = log.events[-1]
    if isinstance(decided, RollBackError):
        runs.record_rollback(store, last)
        print(f"{log.run_id}: {last['reason']} gradient at {last['images_seen']:,} images; going back", flush=True)
    else:
        append_rows(store, log.run_id, log.take(), feed)


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
        at=step["logged_at"].timestamp(),
        warnings=warnings,
    )
    progress.publish(store, step["run_id"], state)


def resume(store: Store, run: Run, learner: Learner, crew: Crew) -> Checkpoint | None:
    """Takes up the last whole checkpoint, and takes back the steps logged beyond it."""
    checkpoint, passed_over = crew.led(lambda: checkpoints.newest(store, run.run_id))  # which reads all of it
    checkpoints.require_one(run.run_id, checkpoint, passed_over)
    if checkpoint:
        learner.load(store, checkpoint)
    elif fork := find_fork(store, run):
        learner.load(store, fork)
    elif start := find_start(store, run):
        take_up(store, start, learner)
    if crew.leads:
        for folder in (checkpoints.folder(run.run_id), checkpoints.snapshot_folder(run.run_id)):
            store.delete_unfinished(folder)
        for line in passed_over:
            print(line, flush=True)
        print(f"{run.run_id}: {runs.beginning(run, checkpoint)}", flush=True)
        runs.take_back_steps(store, run.run_id, learner.images_seen)
    return checkpoint
