"""A sweep on Ray Tune: trials that have ended are not repeated, and the failure of one does not end the others.

What a scheduler and a search know follows from the tables. After the death of its process, the same command takes it
from there, and goes on with the trials that were running.
"""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from unlatent.platform import cluster, placement
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.display import live_table, say, show_table
from unlatent.platform.evaluation import require_measurable
from unlatent.platform.tracking.packages import require
from unlatent.platform.tuning.crew_trial import crews, run_crew_trial
from unlatent.platform.tuning.decisions import Decisions
from unlatent.platform.tuning.definition import describe, refuse_changed_definition
from unlatent.platform.tuning.plan import Sweep, Trial, plan_sweep
from unlatent.platform.tuning.population import Population
from unlatent.platform.tuning.results import Results
from unlatent.platform.tuning.rows import begin, finish, point_rows, settle
from unlatent.platform.tuning.source import Listed, Source
from unlatent.platform.tuning.trial import run_trial

# What a trial's process holds whose workers are a crew: something, as Tune wants it, but no CPU that these may need.
HOLDER = {"cpu": 0, "memory": 1}


def run_sweep(name: str, overrides: Sequence[str], retry_failed: bool = False) -> Trial:
    """Runs what is left of a sweep. Returns its best trial: the best run of the point with the best mean.

    Raises ValueError for a changed definition under the same name and for trials that could never be placed, before
    anything starts; RuntimeError if no trial succeeded.
    """
    started = time.monotonic()
    sweep = plan_sweep(name, overrides)
    require(sweep.config.train.trackers)
    refuse_changed_definition(sweep)
    results = Results(sweep)
    source = source_of(sweep)
    source.recall(results, retry_failed)
    scheduler = recalled_scheduler(sweep, results)
    for line in [*describe(sweep), *done_before(results)]:
        say(line)
    require_measurable(sweep.store, sweep.dataset, sweep.config.evaluation, sweep.metrics)
    settle(results, {}, stopped_by(scheduler))  # of an execution that died before it could
    runs_any = bool(source.waiting()) or source.left > 0
    if runs_any:
        options = sweep.config.cluster
        cluster.connect(options, sweep.config.store)
        placement.require("a trial", options.workers, placement.trial_need(options), options.grows)
        placement.concurrent_trials(options, sweep.definition.max_concurrent)  # raises where nobody limits them
    row = begin(sweep)
    if runs_any:
        run_trials(results, source, scheduler)
    best = finish(results, row, time.monotonic() - started)
    show_table(point_rows(results), f"sweep {sweep.definition.name}: {sweep.definition.metric} of each point")
    return best


def source_of(sweep: Sweep) -> Source:
    """Where the trials of a sweep come from."""
    if sweep.is_population:
        return Population(sweep)
    if sweep.definition.search != "optuna":
        return Listed(sweep)
    require_optuna()
    from unlatent.platform.tuning.study import Study

    return Study(sweep)


def require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ValueError(
            "sweep.search=optuna needs the package optuna; pip install 'unlatent[optuna]' would do"
        ) from None


def recalled_scheduler(sweep: Sweep, results: Results) -> Any:
    """What decides which trials go on, knowing what it knew."""
    from ray.tune.schedulers import FIFOScheduler

    from unlatent.platform.tuning.halving import Halving

    if sweep.definition.scheduler != "asha":
        return FIFOScheduler()
    scheduler = Halving(sweep.definition, sweep.budget, Decisions(sweep))
    for measured in results.heard:
        scheduler.recall(measured)
    return scheduler


def stopped_by(scheduler: Any) -> dict[str, str]:
    """Which trials a scheduler has stopped, and why: run_id -> reason."""
    reasons: dict[str, str] = getattr(scheduler, "stopped", {})
    return reasons


def done_before(results: Results) -> list[str]:
    """How far earlier executions came, in a line, if there were any."""
    states = [results.status(trial) for trial in results.sweep.trials]
    counts = {state: states.count(state) for state in ("succeeded", "stopped_early", "failed") if state in states}
    if not counts:
        return []
    done = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in counts.items())
    return [f"done before: {done}" + ("; --retry-failed tries those again" if "failed" in counts else "")]


def run_trials(results: Results, source: Source, scheduler: Any) -> None:
    """Hands trials to Ray Tune until none is left."""
    from ray import tune

    from unlatent.platform.tuning.search import Listener, Search

    sweep, options = results.sweep, results.sweep.config.cluster
    waiting = source.waiting()
    search = Search(sweep, waiting, source)
    listener = Listener(results, search)
    number = len(waiting) + source.left
    at_once = min(number, placement.concurrent_trials(options, sweep.definition.max_concurrent))
    how = tune.TuneConfig(
        search_alg=search,
        scheduler=scheduler,
        num_samples=-1,  # as many as it hands out: trials may come back
        max_concurrent_trials=at_once,
        reuse_actors=True,  # 0.2 s a trial instead of 2
        trial_dirname_creator=lambda trial: trial.trial_id,
    )
    where = tune.RunConfig(
        name=sweep.definition.name,
        storage_path=sweep.store.inside("artifacts/ray"),
        storage_filesystem=sweep.store.files,
        verbose=0,
        failure_config=tune.FailureConfig(max_failures=options.max_failures),
        callbacks=[listener],
    )
    with live_table(listener.rows, f"sweep {sweep.definition.name}"):
        with contextlib.ExitStack() as held:
            if options.workers > 1:
                listener.exchange = held.enter_context(crews(sweep, at_once, number))
            tune.Tuner(trainable(options, listener.exchange), tune_config=how, run_config=where).fit()
        settle(results, listener.errors, stopped_by(scheduler), ended=True)


def trainable(options: ClusterConfig, exchange: Any) -> Any:
    """What Ray Tune runs for a trial; where trials have several workers, by the exchange where crews take them up."""
    from ray import tune

    if exchange is not None:
        return tune.with_resources(tune.with_parameters(run_crew_trial, exchange=exchange), HOLDER)
    need = placement.trial_need(options)
    return tune.with_resources(run_trial, {"cpu": need.cpus, "gpu": need.gpus})
