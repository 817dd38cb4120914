"""A training run on Ray Train: Ray places, joins and restarts the workers; the store keeps the checkpoints."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from unlatent.platform import checkpoints, cluster, placement, runs, tables
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.config import Config, from_yaml, to_yaml
from unlatent.platform.crew import join
from unlatent.platform.datasets import open_dataset
from unlatent.platform.display import say, training_bar
from unlatent.platform.runs import Run, plan_run
from unlatent.platform.starting import require_beginning
from unlatent.platform.store import Store
from unlatent.platform.tracking.packages import require
from unlatent.platform.training import Worker, train

Settings = dict[str, Any]  # what a worker is told, of plain values


def train_on_ray(config: Config) -> str:
    """Trains the run that a config names, or goes on with it. Returns its run_id; one that is done is left alone.

    Raises ValueError for what could never start, before anything does.
    """
    store = Store(config.store)
    run = plan_run(config, open_dataset(config.data, store))
    if runs.is_done(store, run):
        say(f"{run.run_id}: already trained, {runs.find(store, run.run_id)['images_seen']:,} images")
        return run.run_id
    require(config.train.trackers)
    say_start(store, run)
    cluster.connect(config.cluster, config.store)
    need = placement.worker_need(config.cluster)
    placement.require("training", config.cluster.worker_counts[0], need, config.cluster.grows)
    with training_bar(store, run.run_id):
        fit(run, store, need, train_worker, {"config": to_yaml(config), "identity": run.identity})
    row = runs.find(store, run.run_id)
    if row["status"] != "succeeded":
        raise RuntimeError(f"{run.run_id} {row['status']}: {row['error'] or 'its workers ended before it did'}")
    return run.run_id


def say_start(store: Store, run: Run) -> None:
    """Says, before the long part, whether the run is a fresh one or where it goes on.

    Raises ValueError for a checkpoint to begin with that is not there, or of another network.
    """
    checkpoint, passed_over = checkpoints.newest(store, run.run_id)
    checkpoints.require_one(run.run_id, checkpoint, passed_over)
    for line in passed_over:
        say(line)
    if checkpoint is None:
        require_beginning(store, run)
    length = f"{run.config.train.total_images:,} images of {run.dataset.name}"
    say(f"{run.run_id}: {runs.beginning(run, checkpoint)}; {length}")


class TrainingFailedError(RuntimeError):
    """A run's workers failed more often than they are restarted; its row says so."""


def fit(run: Run, store: Store, need: placement.Need, work: Callable[[Settings], None], settings: Settings) -> None:
    """Runs `work` in each worker, restarting them if one dies.

    Raises TrainingFailedError with what a worker raised, or what Ray says of the failure.
    """
    import ray.train

    options = run.config.cluster
    try:
        launch(run.run_id, options, store, need, work, settings, options.max_failures)
    except ray.train.TrainingFailedError as error:
        row = tables.row(store, "runs", run.run_id)
        if row and row["status"] == "running":
            runs.end(store, row, "failed", last_line(error))
        why = row["error"] if row and row["status"] == "failed" else None
        raise TrainingFailedError(f"{run.run_id} failed: {why or last_line(error)}") from error


def launch(
    name: str,
    options: ClusterConfig,
    store: Store,
    need: placement.Need,
    work: Callable[[Settings], None],
    settings: Settings,
    max_failures: int,  # after which its workers are not started again
) -> None:
    """A Ray Train run of that name: `work` in each worker, to its end.

    Raises Ray's TrainingFailedError.
    """
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        work,
        train_loop_config=settings,
        torch_config=TorchConfig(backend=None if need.gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=options.workers if options.min_workers is None else (options.min_workers, options.workers),
            use_gpu=need.gpus > 0,
            resources_per_worker={"CPU": need.cpus, "GPU": need.gpus},
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=store.inside("artifacts/ray"),
            storage_filesystem=store.files,
            failure_config=ray.train.FailureConfig(
                max_failures=max_failures, controller_failure_limit=-1 if options.grows else 3
            ),
            logging_config=ray.train.LoggingConfig(log_level="INFO" if options.verbose else "ERROR"),
        ),
    )
    with ctrl_c_interrupts():
        trainer.fit()


@contextlib.contextmanager
def ctrl_c_interrupts() -> Iterator[None]:
    """Ray Train's own handler of Ctrl-C exits with status 0 or 1, and stays; here it interrupts, and is taken back."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def last_line(error: Exception) -> str:
    """What an error of Ray's comes down to: the last line of a traceback."""
    return [type(error).__name__, *str(error).strip().splitlines()][-1]


def train_worker(settings: Settings) -> None:
    """What each Ray Train worker runs."""
    import ray.train

    config = from_yaml(settings["config"])
    store = Store(config.store)

    def report(checkpoint: Checkpoint | None) -> None:
        """Ray Train's barrier; the checkpoint itself is in the store already."""
        ray.train.report({"images_seen": checkpoint.images_seen} if checkpoint else {})

    run = plan_run(config, open_dataset(config.data, store))
    runs.require_identity(run, settings["identity"])
    with contextlib.suppress(FloatingPointError):  # its row says so; another try would end in the same place
        train(run, store, replace(this_worker(), report=report))


def this_worker() -> Worker:
    """The worker of Ray Train's that this process is."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    torch.set_float32_matmul_precision("high")
    rank, world = context.get_world_rank(), context.get_world_size()
    return Worker(
        crew=join(rank, world),
        writers=join(rank, world),
        device=ray.train.torch.get_device(),
        wrap=ray.train.torch.prepare_model,
    )
