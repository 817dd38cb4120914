"""What running a pipeline would do, without doing it."""

from unlatent.pipelines import records
from unlatent.pipelines.definition import Step
from unlatent.pipelines.records import Record
from unlatent.pipelines.runner import Execution, reason_to_run, waiting_for
from unlatent.pipelines.steps import ACTIONS


def plan_pipeline(execution: Execution) -> list[dict[str, str]]:
    """A row of texts for each step, in order: what would happen, why, and what it needs."""
    pipeline, rows = execution.pipeline, []
    for name in pipeline.order():
        step = pipeline.steps[name]
        would, why = decide(execution, step)
        rows.append({
            "step": name,
            "action": step.run,
            "would": would,
            "why": why,
            "needs": ", ".join(step.needs),
            "resources": ACTIONS[step.run].resources(execution.configs[name]),
        })  # fmt: skip
    return rows


def decide(execution: Execution, step: Step) -> tuple[str, str]:
    """What would happen to a step. Steps that would be skipped count as done from here on."""
    pending = [need for need in step.needs if need not in execution.done]
    if pending:
        return "run", f"{', '.join(pending)} would run before it"
    if ACTIONS[step.run].passing:
        if dependents := waiting_for(execution, step):
            return "run", f"{dependents[0].name} needs it"
        execution.done[step.name] = Record(execution.key(step), {}, {}, "")
        return "skip", "nothing that needs it has to run"
    if why := reason_to_run(execution, step):
        return "run", why
    record = records.read(execution.store, execution.pipeline.name, step.name)
    assert record, "a step without a record has a reason to run"
    execution.done[step.name] = record
    return "skip", "done before, under the same config, inputs and code"
