"""Runs a pipeline: in order, what is independent at once, skipping what has been done under the same key.

A step's key is the hash of its action, its config, the outputs of the steps it needs, and the code. After a kill the
same command goes on: finished steps are skipped, and the step that was cut off goes on from its own last state.
"""

import shutil
import sys
import uuid
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from unlatent.pipelines import records
from unlatent.pipelines.definition import Pipeline, Step
from unlatent.pipelines.records import Outputs, Record, content_hash
from unlatent.pipelines.steps import ACTIONS, Context
from unlatent.platform import cluster, lost_runs, tables
from unlatent.platform.config import Config, compose_config, load_sweep
from unlatent.platform.datasets import open_dataset
from unlatent.platform.display import say
from unlatent.platform.provenance import code_version, now, provenance
from unlatent.platform.store import Store


class StepError(RuntimeError):
    """A step failed, its retries included."""


@dataclass
class Execution:
    """One go at a pipeline."""

    pipeline: Pipeline
    overrides: tuple[str, ...]  # given with the command; they win over the definition's
    configs: dict[str, Config] = field(init=False)
    done: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.configs = {step.name: compose_config(self.settings_of(step)) for step in self.pipeline.steps.values()}

    @property
    def store(self) -> Store:
        return Store(next(iter(self.configs.values())).store)

    def overrides_of(self, step: Step) -> list[str]:
        return [*self.pipeline.overrides, *step.overrides, *self.overrides]

    def settings_of(self, step: Step) -> list[str]:
        """The overrides but those of a sweep's own definition, which only a step that runs one can use."""
        return [text for text in self.overrides_of(step) if not text.startswith("sweep.")]

    def key(self, step: Step) -> str:
        """Hash of all that decides a step's outputs. What it needs must be done."""
        config = {name: part for name, part in asdict(self.configs[step.name]).items() if name not in OUTSIDE_KEY}
        config["metric"] = self.configs[step.name].serve.metric
        sweep = asdict(load_sweep(step.sweep, self.overrides_of(step))) if step.sweep else None
        inputs = {need: self.identity(need) for need in step.needs}
        return content_hash([step.run, sweep, step.overrides, config, inputs, code_version()])

    def identity(self, name: str) -> str:
        """What a done step means to those that need it: its outputs, or, where they do not last, its own key."""
        passing = ACTIONS[self.pipeline.steps[name].run].passing
        return self.done[name].key if passing else self.done[name].digest

    def context(self, step: Step) -> Context:
        return Context(
            pipeline=self.pipeline.name,
            about=self.pipeline.about,
            step=step.name,
            config=self.configs[step.name],
            overrides=self.overrides_of(step) if step.sweep else self.settings_of(step),
            sweep=step.sweep,
            inputs={need: self.done[need].values for need in step.needs},
        )


OUTSIDE_KEY = {"cluster", "store", "serve"}  # where a step runs, not what it makes


def reason_to_run(execution: Execution, step: Step) -> str | None:
    """Why a step whose needs are done has to run, or None if it may be skipped."""
    record = records.read(execution.store, execution.pipeline.name, step.name)
    if record is None:
        return "it has not succeeded before"
    if record.key != execution.key(step):
        return "its config, its inputs or the code have changed"
    return records.damage(execution.store, record)


def run_pipeline(pipeline: Pipeline, overrides: Sequence[str]) -> None:
    """Runs what has to be run.

    Raises ValueError for a config that cannot work, before anything starts; StepError for a step that failed, once all
    that does not need it is done.
    """
    execution = Execution(pipeline, tuple(overrides))
    for data in {str(config.data): config.data for config in execution.configs.values()}.values():
        open_dataset(data, execution.store)
    for run_id in lost_runs.mark_lost(execution.store):
        say(f"{run_id}: was running when its process died; it goes on where it is part of this")
    sorter = TopologicalSorter({step.name: step.needs for step in pipeline.steps.values()})
    sorter.prepare()
    failures: list[str] = []
    running: dict[Future[None], str] = {}
    threads = ThreadPoolExecutor()
    try:
        while sorter.is_active():
            ready = sorter.get_ready()
            if len(ready) == 1 and not running:  # in the main thread, where Ctrl-C arrives
                attempt(execution, pipeline.steps[ready[0]], failures)
                sorter.done(ready[0])
                continue
            running |= {threads.submit(attempt, execution, pipeline.steps[name], failures): name for name in ready}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                sorter.done(running.pop(future))
    finally:
        if running:  # interrupted: without Ray, what is under way ends
            cluster.disconnect()
        threads.shutdown(wait=not running, cancel_futures=True)
    if failures:
        raise StepError("; ".join(failures))
    say_results(execution)


def say_results(execution: Execution) -> None:
    """What the steps have to say at the end, ran or skipped, and what to try next."""
    for name in execution.pipeline.order():
        if message := execution.done[name].message:
            say(f"\n{message}")
    if execution.pipeline.afterwards:
        say("\nnext:")
        for command, does in execution.pipeline.afterwards:
            say(f"  {as_callable_here(command)}\n      {does}")


def as_callable_here(command: str) -> str:
    """The command as it can be typed: with the path of the script where that is not on the search path."""
    name, _, rest = command.partition(" ")
    return command if shutil.which(name) or Path(sys.argv[0]).name != name else f"{sys.argv[0]} {rest}"


def attempt(execution: Execution, step: Step, failures: list[str]) -> None:
    """Runs or skips a step whose needs have been attempted. A failure is noted, and stops only what needs the step."""
    if any(need not in execution.done for need in step.needs):
        say(f"{step.name}: not run, what it needs failed")
        return
    try:
        take(execution, step)
    except Exception as error:  # any step may fail in any way; the others go on
        failures.append(f"step {step.name} failed: {error}")


def take(execution: Execution, step: Step) -> None:
    """Skips a step or runs it, and notes which and why."""
    if ACTIONS[step.run].passing:
        why = next((f"{each.name} needs it" for each in waiting_for(execution, step)), None)
        skipped = "nothing that needs it has to run"
    else:
        why = reason_to_run(execution, step)
        skipped = "done before, under the same config, inputs and code; its outputs are as it left them"
    if why is None:
        say(f"{step.name}: skipped, {skipped}")
        started = now()
        execution.done[step.name] = kept_record(execution, step)
        note(execution, step, "skipped", skipped, started)
        return
    say(f"{step.name}: runs, {why}")
    run_with_retries(execution, step, why)


def kept_record(execution: Execution, step: Step) -> Record:
    record = records.read(execution.store, execution.pipeline.name, step.name)
    if ACTIONS[step.run].passing or record is None:
        return Record(execution.key(step), {}, {}, "")
    return record


def waiting_for(execution: Execution, step: Step) -> list[Step]:
    """The steps that will run and need a passing step: one whose output does not outlive the pipeline."""
    execution.done[step.name] = Record(execution.key(step), {}, {}, "")
    try:
        return [each for each in execution.pipeline.dependents(step.name) if must_run(execution, each)]
    finally:
        del execution.done[step.name]


def must_run(execution: Execution, step: Step) -> bool:
    if any(need not in execution.done for need in step.needs):
        return True  # it waits for something else that is still under way
    return reason_to_run(execution, step) is not None


def run_with_retries(execution: Execution, step: Step, why: str) -> None:
    action = ACTIONS[step.run]
    for number in range(1, step.retries + 2):
        started = now()
        try:
            execution.done[step.name] = keep(execution, step, action.call(execution.context(step)))
        except Exception as error:  # of any kind: it becomes a row, and is raised again after the last try
            note(execution, step, "failed", why, started, number, f"{type(error).__name__}: {error}")
            say(f"{step.name}: failed: {error}" + ("; trying again" if number <= step.retries else ""))
            if number > step.retries:
                raise
        else:
            break
    note(execution, step, "ran", why, started, number)


def keep(execution: Execution, step: Step, outputs: Outputs) -> Record:
    """Writes down what a step has left behind; of a passing one, only for as long as this lasts."""
    key = execution.key(step)
    if ACTIONS[step.run].passing:
        return Record(key, outputs.values, {}, outputs.message)
    return records.write(execution.store, execution.pipeline.name, step.name, key, outputs)


def note(
    execution: Execution,
    step: Step,
    action: str,
    reason: str,
    started: datetime,
    number: int = 1,
    error: str | None = None,
) -> None:
    """A row of `pipeline_steps`."""
    ended = now()
    row: dict[str, Any] = {
        "execution_id": uuid.uuid4().hex,
        "pipeline": execution.pipeline.name,
        "step": step.name,
        "action": action,
        "reason": reason,
        "key": execution.key(step),
        "attempt": number,
        "error": error,
        "duration_s": (ended - started).total_seconds(),
        **provenance(),
        "started_at": started,
        "ended_at": ended,
    }
    tables.append(execution.store, "pipeline_steps", [row])
