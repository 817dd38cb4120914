"""A sweep on Ray Tune: done trials are not repeated, and the failure of one does not end the others.

A trial is the training loop in the trial's own process, with processes reused from trial to trial: 0.2 s a trial,
where a Ray Train run nested in each costs 12 s and 2.8 GB.
"""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from unlatent.platform import cluster, runs
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.config import Config, from_yaml, to_yaml
from unlatent.platform.datasets import Dataset, open_dataset
from unlatent.platform.devices import local_device
from unlatent.platform.display import live_table, say, show_table
from unlatent.platform.evaluation import evaluate_checkpoint, require_measurable
from unlatent.platform.generation import load_model
from unlatent.platform.ray_training import last_line
from unlatent.platform.runs import plan_run
from unlatent.platform.store import Store
from unlatent.platform.sweep_plan import Sweep, Trial, describe, plan_sweep, refuse_changed_definition
from unlatent.platform.sweep_rows import begin, finish, objective_values, settle, status, trial_rows
from unlatent.platform.tracking.packages import require
from unlatent.platform.training import Worker, train


def run_sweep(name: str, overrides: Sequence[str]) -> Trial:
    """Runs what is left of a sweep. Returns its best trial.

    Raises ValueError for a changed definition under the same name and for trials that could never be placed, before
    anything starts; RuntimeError if no trial succeeded.
    """
    started = time.monotonic()
    sweep = plan_sweep(name, overrides)
    require(sweep.config.train.trackers)
    refuse_changed_definition(sweep)
    waiting = [trial for trial in sweep.trials if not has_ended(sweep, trial)]
    say(describe(sweep, len(waiting)))
    require_measurable(sweep.store, sweep.dataset, sweep.config.evaluation)
    if waiting:
        cluster.connect(sweep.config.cluster)
        options = sweep.config.cluster
        cluster.require("a trial", 1, options.cpus_per_trial, options.gpus_per_trial)
    row = begin(sweep)
    if waiting:
        with live_table(lambda: trial_rows(sweep), f"sweep {sweep.definition.name}"):
            search(sweep, waiting)
    best = finish(sweep, row, time.monotonic() - started)
    show_table(trial_rows(sweep), f"sweep {sweep.definition.name}: {sweep.definition.metric} of each trial")
    return best


def has_ended(sweep: Sweep, trial: Trial) -> bool:
    """Whether the scheduler has stopped a trial, or it came to its end and its objective is in the table."""
    if status(sweep, trial) == "stopped_early":
        return True
    return runs.is_done(sweep.store, trial.run) and trial.run_id in objective_values(sweep)


def search(sweep: Sweep, waiting: list[Trial]) -> None:
    """Hands the trials to Ray Tune and waits for them."""
    from ray import tune

    definition, options = sweep.definition, sweep.config.cluster
    resources = {"cpu": options.cpus_per_trial, "gpu": options.gpus_per_trial}
    shared = {
        "sweep": definition.name,
        "metric": definition.metric,
        "at_rungs": definition.scheduler != "fixed",  # else measured once, at the end
    }
    settings = [{"run_id": trial.run_id, "config": to_yaml(trial.run.config), **shared} for trial in waiting]
    tuner = tune.Tuner(
        tune.with_resources(run_trial, resources),
        param_space={"trial": tune.grid_search(settings)},
        tune_config=tune.TuneConfig(
            metric=definition.metric,
            mode=definition.direction,
            scheduler=make_scheduler(sweep),
            max_concurrent_trials=definition.max_concurrent,
            reuse_actors=True,  # 0.2 s a trial instead of 2
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=definition.name,
            storage_path=sweep.store.inside("artifacts/ray"),
            storage_filesystem=sweep.store.files,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=options.max_failures),
        ),
    )
    grid = tuner.fit()
    settle(
        sweep, waiting, {result.config["trial"]["run_id"]: last_line(result.error) for result in grid if result.error}
    )


def make_scheduler(sweep: Sweep) -> Any:
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

    definition, total_images = sweep.definition, sweep.config.train.total_images
    if definition.scheduler == "fixed":
        return FIFOScheduler()
    return AsyncHyperBandScheduler(
        time_attr="images_seen",
        max_t=total_images,
        grace_period=definition.rung_images or sweep.config.train.checkpoint_images,
        reduction_factor=definition.reduction,
    )


def run_trial(settings: dict[str, Any]) -> None:
    """What Ray Tune runs in a trial's process: the training loop, measured at its end and, where asked, at rungs."""
    from ray import tune

    given = settings["trial"]
    config = from_yaml(given["config"])
    store = Store(config.store)
    dataset = open_dataset(config.data, store)
    run = plan_run(config, dataset, given["sweep"])

    def report(checkpoint: Checkpoint | None) -> None:
        assert checkpoint, "a trial is a run's only worker"
        if checkpoint.images_seen < config.train.total_images and not given["at_rungs"]:
            return
        value = measure(store, dataset, config, checkpoint.path, given["metric"])
        tune.report({"images_seen": checkpoint.images_seen, given["metric"]: value})

    with contextlib.suppress(FloatingPointError):  # its row says so; another try would end in the same place
        train(run, store, Worker(report=report, reports_at_once=True))


def measure(store: Store, dataset: Dataset, config: Config, checkpoint: str, metric: str) -> float:
    """A metric of a checkpoint; out of the table if it has been measured already."""
    model = load_model(store, checkpoint, config.evaluation.weights, local_device())
    rows = evaluate_checkpoint(store, model, dataset, config.evaluation, config.sampler)
    return {row["metric"]: row["value"] for row in rows}[metric]
