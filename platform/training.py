"""The training loop: one, for a Ray Train worker and for a Ray Tune trial.

Order of data, noise and times follow from (seed, images seen, rank), so a resumed run sees what an undisturbed one
would have seen, and a checkpoint needs no generator's state. Steps reach the table together with the checkpoint that
covers them: a killed run takes back what it had logged beyond its last checkpoint, and logs it again.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unlatent.models import flow
from unlatent.models.ema import update_ema
from unlatent.models.network import PixelTransformer
from unlatent.models.samplers import sample
from unlatent.platform import checkpoints, progress, runs, tables
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.data_order import BatchOrder, batches, mix
from unlatent.platform.devices import device_name, local_device
from unlatent.platform.generation import draw_noise, image_grid, to_bytes, to_png
from unlatent.platform.optimization import PRECISIONS, TrainConfig, learning_rate, make_optimizer
from unlatent.platform.runs import Run
from unlatent.platform.step_log import StepLog
from unlatent.platform.store import Store


@dataclass
class Worker:
    """One of the processes that train a run together, and how it tells what it has done."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=local_device)
    wrap: Callable[[nn.Module], nn.Module] = lambda network: network  # for data-parallel gradients
    report: Callable[[Checkpoint | None], None] = lambda checkpoint: None  # called on every rank at a checkpoint


@dataclass
class Learner:
    """What a step changes and a checkpoint keeps."""

    network: PixelTransformer
    model: nn.Module  # the network, wrapped for data-parallel gradients where there are several workers
    ema: PixelTransformer
    optimizer: torch.optim.AdamW
    images_seen: int = 0
    step: int = 0


def train(run: Run, store: Store, worker: Worker) -> None:
    """Trains to the end, from the last whole checkpoint if there is one, and keeps the run's row true all the while."""
    leads = worker.rank == 0
    row = runs.begin(store, run, device_name(worker.device)) if leads else {}
    try:
        learn(run, store, worker, row)
    except SystemExit:  # how Ray Tune ends a trial: one that its scheduler has stopped, or one at the end of its budget
        if leads:
            ended = row["images_seen"] >= run.config.train.total_images
            runs.end(store, row, "succeeded" if ended else "stopped_early")
        raise
    except Exception as error:
        if leads:
            runs.end(store, row, "failed", f"{type(error).__name__}: {error}")
        raise
    if leads:
        runs.end(store, row, "succeeded")


def learn(run: Run, store: Store, worker: Worker, row: dict[str, Any]) -> None:
    """The loop itself."""
    config, leads = run.config.train, worker.rank == 0
    learner = make_learner(run, worker)
    checkpoint = resume(store, run, learner, leads)
    if leads and checkpoint:
        runs.update(store, row, {**runs.at_checkpoint(run.config, checkpoint), **runs.outcome(store, run.run_id)})
    if checkpoint and learner.images_seen >= config.total_images:
        worker.report(checkpoint)  # it was cut off between its last checkpoint and what was to be made of it
    positions = range(learner.images_seen, config.total_images, config.batch_size)
    split = run.dataset.train
    order = BatchOrder(len(split), config.seed, config.batch_size, positions, worker.rank, worker.world)
    log = StepLog(run.run_id, learner.images_seen, worker.device)

    for images, labels in log.timed(batches(split, order, run.config.data.workers)):
        rate = learning_rate(config, learner.images_seen)
        log.add(*train_step(config, learner, images.to(worker.device), labels.to(worker.device), worker.rank, rate))
        learner.images_seen += config.batch_size
        learner.step += 1
        ends = learner.images_seen >= config.total_images
        saves = ends or crosses(learner.images_seen, config.batch_size, config.checkpoint_images)
        if saves or crosses(learner.images_seen, config.batch_size, config.log_images):
            step = log.end_interval(learner.images_seen, learner.step, rate)
            if leads:
                publish(store, config, step)
        if saves:
            checkpoint = save(run, store, learner, log, row) if leads else None
            worker.report(checkpoint)
            log.mark_saved(learner.images_seen)


def crosses(images_seen: int, batch_size: int, every: int) -> bool:
    """Whether the last step took the count to or past a multiple of `every`."""
    return images_seen // every > (images_seen - batch_size) // every


def publish(store: Store, config: TrainConfig, step: dict[str, Any]) -> None:
    state = progress.Progress(step["images_seen"], config.total_images, step["loss"], step["images_per_s"])
    progress.publish(store, step["run_id"], state)


def make_learner(run: Run, worker: Worker) -> Learner:
    torch.manual_seed(mix(run.config.train.seed, 0, 0))  # equal weights on every worker
    network = PixelTransformer(run.config.model).to(worker.device)
    ema = deepcopy(network).requires_grad_(False).eval()
    optimizer = make_optimizer(run.config.train, network.parameters())
    return Learner(network, worker.wrap(network), ema, optimizer)


def resume(store: Store, run: Run, learner: Learner, leads: bool) -> Checkpoint | None:
    """Takes up the last whole checkpoint, and takes back the steps logged beyond it."""
    checkpoint, passed_over = checkpoints.newest(store, run.run_id)
    if checkpoint:
        learner.network.load_state_dict(checkpoints.load_weights(store, checkpoint, "raw"))
        learner.ema.load_state_dict(checkpoints.load_weights(store, checkpoint, "ema"))
        state = checkpoints.load_state(store, checkpoint)
        learner.optimizer.load_state_dict(state["optimizer"])
        learner.images_seen, learner.step = state["images_seen"], state["step"]
    if leads:
        store.delete_unfinished(checkpoints.folder(run.run_id))
        for line in passed_over:
            print(line, flush=True)
        where = f"resumed at {learner.images_seen:,} images from {checkpoint.path}" if checkpoint else "fresh"
        print(f"{run.run_id}: {where}", flush=True)
        runs.take_back_steps(store, run.run_id, learner.images_seen)
    return checkpoint


def train_step(
    config: TrainConfig, learner: Learner, images: Tensor, labels: Tensor, rank: int, rate: float
) -> tuple[Tensor, Tensor]:
    """One optimizer step on this worker's share of a batch. Returns its loss and gradient norm, before clipping."""
    device = images.device
    generator = torch.Generator(device).manual_seed(mix(config.seed, learner.images_seen, rank))
    data = images.float() / 127.5 - 1  # (B, C, H, W) in [-1, 1]
    noise = torch.randn(data.shape, generator=generator, device=device)
    t = flow.sample_times(len(data), generator, config.shift, config.time_mean, config.time_std)
    dropped = torch.rand(len(data), generator=generator, device=device) < config.label_drop
    labels = labels.masked_fill(dropped, learner.network.null_label)

    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(device.type, PRECISIONS[config.precision], enabled=config.precision != "fp32"):
        loss = flow.loss(learner.model, data, noise, t, labels).mean()
    learner.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    grad_norm = nn.utils.clip_grad_norm_(learner.network.parameters(), config.clip_norm)
    learner.optimizer.step()
    update_ema(learner.ema, learner.network, config.ema_decay)
    return loss, grad_norm


def save(run: Run, store: Store, learner: Learner, log: StepLog, row: dict[str, Any]) -> Checkpoint:
    """Writes the steps since the last checkpoint, the checkpoint, a grid of samples, and the run's row."""
    tables.append(store, "steps", log.rows, name=f"{run.run_id}.{log.saved_at:012d}")
    state = {"optimizer": learner.optimizer.state_dict(), "images_seen": learner.images_seen, "step": learner.step}
    weights = {"raw": learner.network.state_dict(), "ema": learner.ema.state_dict()}
    checkpoint = checkpoints.save(
        store, run.run_id, learner.images_seen, weights, state, row["config"], run.dataset.classes
    )
    checkpoints.prune(store, run.run_id, run.config.train.keep_checkpoints)
    save_grid(run, store, learner)
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
def save_grid(run: Run, store: Store, learner: Learner) -> None:
    """Draws samples from the same noise and classes at every checkpoint."""
    config, count = run.config.model, run.config.train.grid_samples
    device = next(learner.ema.parameters()).device
    noise = draw_noise(range(count), config.channels, config.image_size).to(device)
    labels = torch.arange(count, device=device) % config.classes
    images = to_bytes(sample(learner.ema, noise, labels, run.config.sampler, learner.ema.null_label)).cpu()
    grid = image_grid(images, columns=min(10, count), scale=max(1, 32 // config.image_size))
    store.write_bytes(f"artifacts/{run.run_id}/samples/{learner.images_seen:012d}.png", to_png(grid))
