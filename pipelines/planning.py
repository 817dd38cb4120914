"""What running a pipeline would do, without doing it."""

import json
from dataclasses import dataclass, fields

from unlatent.pipelines import records
from unlatent.pipelines.basis import changes
from unlatent.pipelines.deciding import decide
from unlatent.pipelines.definition import Step
from unlatent.pipelines.estimates import seconds, waits_for_winner
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.requirements import require_workable
from unlatent.pipelines.room import bytes_in_words, disk_bytes, memory_bytes
from unlatent.pipelines.steps import ACTIONS
from unlatent.pipelines.work import Work, work_of
from unlatent.platform.rates import Rate, best_rate


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What would become of a step, and what it needs."""

    step: str
    action: str
    would: str  # run, skip, or depends
    why: str
    needs: tuple[str, ...]
    resources: str
    memory_bytes: int | None  # of the largest worker, trial or process that draws, estimated; None where there is none
    disk_bytes: int | None  # that its checkpoints come to take, at most
    works: list[Work]  # what it computes by the network


def plan_pipeline(execution: Execution) -> list[Planned]:
    """Each step, in order.

    Raises ValueError for a step that would fail when its turn comes.
    """
    require_workable(execution)
    return [plan_step(execution, execution.pipeline.steps[name]) for name in execution.pipeline.order()]


def plan_step(execution: Execution, step: Step) -> Planned:
    would, why = foresee(execution, step)
    works = work_of(execution, step)
    return Planned(
        step=step.name,
        action=step.run,
        would=would,
        why=why,
        needs=step.needs,
        resources=ACTIONS[step.run].resources(execution.configs[step.name]),
        memory_bytes=memory_bytes(works),
        disk_bytes=disk_bytes(works),
        works=works,
    )


def foresee(execution: Execution, step: Step) -> tuple[str, str]:
    """What would happen to a step, and why. Steps that would be skipped count as done from here on."""
    pending = [need for need in step.needs if need not in execution.done]
    if not pending:
        decision = decide(execution, step)
        return "run" if decision.runs else "skip", decision.why
    first = f"{', '.join(pending)} would run before it"
    if step.name in execution.forced or not has_been_done(execution, step):
        return "run", first
    if ACTIONS[step.run].passing:
        return "depends", f"{first}, and it only for a step that needs it and runs"
    if why := own_reason(execution, step):
        return "run", why
    return "depends", f"{first}, and it only if that hands on something else"


def has_been_done(execution: Execution, step: Step) -> bool:
    """Whether a step has succeeded before; of a passing one, all that need it."""
    if ACTIONS[step.run].passing:
        return all(has_been_done(execution, each) for each in execution.pipeline.dependents(step.name))
    return records.read(execution.store, execution.pipeline.name, step.name) is not None


def own_reason(execution: Execution, step: Step) -> str | None:
    """Why a step has to run, whatever those before it hand on."""
    before = records.read(execution.store, execution.pipeline.name, step.name)
    assert before, "the step has been done"
    own = None if waits_for_winner(execution, step) else changes(before.basis, execution.basis(step, before.basis))
    return own or records.damage(execution.store, before)


def as_table(planned: list[Planned]) -> list[dict[str, str]]:
    """Rows of texts."""
    return [
        {
            "step": each.step,
            "action": each.action,
            "would": each.would,
            "why": each.why,
            "needs": ", ".join(each.needs),
            "resources": each.resources,
            "memory": bytes_in_words(each.memory_bytes),
            "disk": bytes_in_words(each.disk_bytes),
        }
        for each in planned
    ]


def as_json(planned: Planned, rates: list[Rate]) -> str:
    """One line, with what the step computes and for how long; null where no rate is known, or nothing to compute."""
    said = {item.name: getattr(planned, item.name) for item in fields(planned) if item.name != "works"}
    computed = {
        "trials": len(planned.works) if planned.action == "sweep" else None,
        "images": sum(work.images for work in planned.works) or None,
        "gflops": sum(work.gflops for work in planned.works) or None,
        "duration_s": seconds(planned.works, rates) if planned.works else None,
    }
    return json.dumps(said | computed | {"sizes": sizes(planned.works[0], rates) if len(planned.works) == 1 else None})


def sizes(work: Work, rates: list[Rate]) -> list[dict[str, float | None]]:
    """The images that a step trains on or draws, by proportion: what one of each costs on one device."""
    rate, found = best_rate(rates, work.kind, work.config, work.on_gpu), []
    for height, width in work.sizes:
        gflops = work.gflops_of((height, width))
        seconds_each = gflops / rate.gflops_per_s if rate else None
        found.append({"width": width, "height": height, "gflops_each": gflops, "seconds_each": seconds_each})
    return found
