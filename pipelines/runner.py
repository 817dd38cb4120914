"""Runs a pipeline: in order, what is independent at once, skipping what has been done under the same key.

A step's key is the hash of its action, its config, the outputs of the steps it needs, and the code. After a kill the
same command goes on: finished steps are skipped, and the step that was cut off goes on from its own last state.
"""

import os
from collections.abc import Sequence

from unlatent.pipelines import attempts
from unlatent.pipelines.definition import Pipeline
from unlatent.pipelines.driver import only_driver
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.outcome import say_outcome
from unlatent.pipelines.requirements import require_workable
from unlatent.pipelines.schedule import Schedule
from unlatent.platform import lost_runs
from unlatent.platform.datasets import open_dataset
from unlatent.platform.display import say
from unlatent.platform.tuning.plan import plan_sweep


class StepError(RuntimeError):
    """A step failed, its retries included."""


def run_pipeline(
    pipeline: Pipeline, overrides: Sequence[str] = (), forced: Sequence[str] = (), at_once: int | None = None
) -> None:
    """Runs what has to be run, and the steps that are forced.

    Raises ValueError for what cannot work, and for a pipeline that another process runs, before anything starts;
    StepError for a step that failed, once all that does not need it is done.
    """
    execution = Execution(pipeline, tuple(overrides), tuple(forced))
    limit = steps_at_once(pipeline, at_once)
    require_workable(execution)
    open_all(execution)
    with only_driver(execution.store, pipeline.name):
        for name in attempts.settle(execution.store, pipeline.name):
            say(f"{name}: was cut off when its process was killed; it goes on from its own last state")
        for run_id in lost_runs.mark_lost(execution.store):
            say(f"{run_id}: was running when its process died; it goes on where it is part of this")
        Schedule(execution, limit).carry_out()
        say_outcome(execution)
    if execution.failures:
        raise StepError("; ".join(execution.failures))


def steps_at_once(pipeline: Pipeline, at_once: int | None) -> int:
    """As many as asked for, by the command or by the definition; else as many as there are CPUs for this process."""
    if at_once is not None and at_once < 1:
        raise ValueError(f"--at-once={at_once} is below 1")
    return at_once or pipeline.at_once or len(os.sched_getaffinity(0))


def open_all(execution: Execution) -> None:
    """Raises ValueError for data that cannot be used, and for a sweep that could not be run."""
    for data in {str(config.data): config.data for config in execution.configs.values()}.values():
        open_dataset(data, execution.store)
    for step in execution.pipeline.steps.values():
        if step.sweep:
            plan_sweep(step.sweep, execution.overrides_of(step))
