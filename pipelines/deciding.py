"""Whether a step runs, and why. The one place that says so: for running a pipeline and for planning it."""

from dataclasses import dataclass

from unlatent.pipelines import records
from unlatent.pipelines.basis import changes
from unlatent.pipelines.definition import Step
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.records import Record
from unlatent.pipelines.steps import ACTIONS

DONE_BEFORE = "done before, under the same config, inputs and code; its outputs are as it left them"
NOT_NEEDED = "nothing that needs it has to run"


@dataclass(frozen=True)
class Decision:
    runs: bool
    why: str


def decide(execution: Execution, step: Step) -> Decision:
    """What becomes of a step whose needs are done. One that is to be skipped counts as done from here on."""
    passing = ACTIONS[step.run].passing
    why = reason_to_pass(execution, step) if passing else reason_to_run(execution, step)
    if why:
        return Decision(True, why)
    execution.done[step.name] = left_by(execution, step)
    return Decision(False, NOT_NEEDED if passing else DONE_BEFORE)


def reason_to_run(execution: Execution, step: Step) -> str | None:
    """Why a step whose needs are done has to run, or None if it may be skipped."""
    if step.name in execution.forced:
        return "--force asks for it"
    record = records.read(execution.store, execution.pipeline.name, step.name)
    if record is None:
        return "it has not succeeded before"
    return changes(record.basis, execution.basis(step)) or records.damage(execution.store, record)


def reason_to_pass(execution: Execution, step: Step) -> str | None:
    """Why a step whose output does not outlive the pipeline has to run: another will, and needs it."""
    if step.name in execution.forced:
        return "--force asks for it"
    execution.done[step.name] = left_by(execution, step)
    try:
        dependents = execution.pipeline.dependents(step.name)
        return next((f"{each.name} needs it" for each in dependents if has_to_run(execution, each)), None)
    finally:
        del execution.done[step.name]


def has_to_run(execution: Execution, step: Step) -> bool:
    if any(need not in execution.done for need in step.needs):
        return True  # it waits for something else that is still under way
    passing = ACTIONS[step.run].passing
    return (reason_to_pass if passing else reason_to_run)(execution, step) is not None


def left_by(execution: Execution, step: Step) -> Record:
    """What a step has left behind that is not run now."""
    record = records.read(execution.store, execution.pipeline.name, step.name)
    if ACTIONS[step.run].passing or record is None:
        return Record(execution.basis(step), "")
    return record
