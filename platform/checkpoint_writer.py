"""Writes a run's checkpoints while its training goes on: one at a time, from a copy on the CPU.

The order is what readers may rely on: steps, then the checkpoint that covers them, then the run's row that names it,
and only then do older ones go.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from unlatent.models.condition import Condition, repeat_last, to_device
from unlatent.models.samplers import sample
from unlatent.models.sharding import local
from unlatent.platform import checkpoints, runs, selection, tables
from unlatent.platform.averages import save_snapshots
from unlatent.platform.checkpoints import Checkpoint, Weights
from unlatent.platform.config import to_yaml
from unlatent.platform.config_columns import at_checkpoint
from unlatent.platform.crew import ALONE, Crew
from unlatent.platform.generation import draw_noise, image_grid, to_png
from unlatent.platform.learner import Learner
from unlatent.platform.runs import Run
from unlatent.platform.step_log import Logged, StepLog
from unlatent.platform.store import Store
from unlatent.platform.tracking.feed import Feed
from unlatent.platform.tracking.interval import Interval

Report = Callable[[Checkpoint | None], None]


class CheckpointWriter:
    """A thread for what is being written; `report` is told of each checkpoint once it is whole, by the loop's own.

    To be used in a `with` block, which ends when nothing is being written any more.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing: Future[Checkpoint | None] | None = None

    def start(self, write: Callable[[], Checkpoint | None]) -> None:
        assert self.writing is None, "one at a time: settle first"
        self.writing = self.thread.submit(write)

    def settle(self) -> None:
        """Waits for the checkpoint that is being written, if any, and reports it. Raises what went wrong with it."""
        if self.writing is not None:
            writing, self.writing = self.writing, None
            self.report(writing.result())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = self.writing.exception() if self.writing is not None else None  # waits
        self.thread.shutdown()
        if failure is not None and (error is None or isinstance(error, Exception)):  # a stop stays a stop
            raise failure


@dataclass(frozen=True)
class Moment:
    """What a checkpoint keeps and shows, copied: the loop may change all of it again."""

    images_seen: int
    weights: dict[str, Weights]  # by kind: "raw", "ema", …
    state: dict[str, Any]
    logged: Logged
    samples: Tensor  # uint8 (N, C, H, W), drawn from the same noise and conditions at every checkpoint


def moment_of(run: Run, learner: Learner, log: StepLog, shown: Condition) -> Moment:
    """`shown` is what the grid of samples is to show."""
    weights = {"raw": learner.network.state_dict()} | learner.averages.weights()
    samples = draw_samples(run, learner, shown)
    return Moment(learner.images_seen, copied(weights), copied(learner.state()), log.take(), samples)


def copied(tree: Any) -> Any:
    """Dicts and lists of tensors, as copies of their own on the CPU; of what is sharded, what is held here."""
    if isinstance(tree, Tensor):
        return local(tree).detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(copied(value) for value in tree)
    return tree


@torch.inference_mode()
def draw_samples(run: Run, learner: Learner, shown: Condition) -> Tensor:
    config, count = run.config.model, run.config.train.grid_samples
    network = learner.averages.main
    device = next(network.parameters()).device
    noise = draw_noise(range(count), (config.channels, config.image_size, config.image_size)).to(device)
    unconditional = repeat_last(learner.nothing, count - 1)
    drawn = sample(network, noise, to_device(shown, device), run.config.sampler, unconditional)
    return learner.space.decode(drawn).cpu()


def write(run: Run, store: Store, moment: Moment, feed: Feed, row: dict[str, Any], crew: Crew = ALONE) -> Checkpoint:
    """Writes a grid of samples, the steps since the last checkpoint, the checkpoint, and the run's row.

    Of a crew that holds the network together, the others write their parts of the checkpoint alone.
    """
    if crew.leads:
        append_rows(store, run.run_id, moment.logged, feed, save_grid(run, store, moment))
    save_snapshots(store, run.run_id, moment.images_seen, moment.weights, crew)
    config, classes, space = to_yaml(run.config), run.dataset.classes, run.identity.get("model.autoencoder")
    checkpoint = checkpoints.save(
        store, run.run_id, moment.images_seen, moment.weights, moment.state, config, classes, crew, space
    )
    if crew.leads:
        keep(run, store, moment, row, checkpoint)
    return checkpoint


def keep(run: Run, store: Store, moment: Moment, row: dict[str, Any], checkpoint: Checkpoint) -> None:
    """Names a checkpoint in the run's row, and lets those go that are to be kept no longer."""
    logged, train = moment.logged, run.config.train
    changes = {
        "loss": logged.rows[-1]["loss"],
        "images_per_s": (moment.images_seen - logged.saved_at) / logged.training_s,
        "duration_s": row["duration_s"] + logged.training_s,
        "peak_memory_bytes": max(step["memory_bytes"] for step in logged.rows),
        **at_checkpoint(run.config, checkpoint),
    }
    runs.update(store, row, changes)
    best = selection.best_of_run(store, run.run_id, train.keep_best_by, train.keep_best)
    checkpoints.prune(store, run.run_id, train.keep_checkpoints, checkpoint.path, best)


def append_rows(store: Store, run_id: str, logged: Logged, feed: Feed, grid: bytes | None = None) -> None:
    """Writes what was logged since the last checkpoint, in the place of what another attempt had written of it."""
    for table, rows in (("steps", logged.rows), ("events", logged.events)):
        if rows:
            tables.append(store, table, rows, name=f"{run_id}.{logged.saved_at:012d}")
    feed.add(Interval(logged.saved_at, logged.rows[-1]["images_seen"], logged.rows, logged.events, grid))


def save_grid(run: Run, store: Store, moment: Moment) -> bytes:  # PNG
    columns, scale = min(10, len(moment.samples)), max(1, 32 // run.config.data.image_size)
    grid = to_png(image_grid(moment.samples, columns=columns, scale=scale))
    store.write_bytes(f"artifacts/{run.run_id}/samples/{moment.images_seen:012d}.png", grid)
    return grid
