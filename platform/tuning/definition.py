"""A sweep's definition as it is kept and said: what decides its trials, and what has changed since it was begun."""

import difflib
from collections import Counter
from dataclasses import MISSING, asdict, fields
from typing import Any

import yaml

from unlatent.platform import tables
from unlatent.platform.tuning.plan import Sweep
from unlatent.platform.tuning.space import replaced

OUTSIDE = {"max_concurrent", "question"}  # of a definition, what decides nothing


def definition_text(sweep: Sweep) -> str:
    """What decides a sweep's trials and their ranking: what is not as by default, and the settings that all share."""
    own = {
        item.name: getattr(sweep.definition, item.name)
        for item in fields(sweep.definition)
        if item.name not in OUTSIDE and getattr(sweep.definition, item.name) != default_of(item)
    }
    measured = {"evaluation": asdict(sweep.config.evaluation), "sampler": asdict(sweep.config.sampler)}
    return yaml.safe_dump({"definition": own, **measured, "settings": shared_settings(sweep)}, sort_keys=False)


def default_of(item: Any) -> Any:
    return item.default if item.default is not MISSING else item.default_factory()


def shared_settings(sweep: Sweep) -> dict[str, Any]:
    """The model, data and training settings of every trial: those that no knob turns, and the first seed."""
    turned = sweep.definition.turned
    if sweep.definition.total_gflops:
        turned.append("train.total_images")  # which follows from each network's cost

    def is_turned(path: str) -> bool:
        return any(path == knob or path.startswith(f"{knob}.") for knob in turned)

    first = sweep.trials_of(sweep.candidates[0])[0]
    return {path: value for path, value in first.run.identity.items() if not is_turned(path)}


def refuse_changed_definition(sweep: Sweep) -> None:
    """Raises ValueError, with what differs, where a sweep of this name was begun with another definition."""
    before = tables.row(sweep.store, "sweeps", sweep.definition.name)
    if before is None or before["definition"] == definition_text(sweep):
        return
    old, new = before["definition"].splitlines(), definition_text(sweep).splitlines()
    changes = [" ".join(line.split()) for line in difflib.ndiff(old, new) if line[0] in "+-"]
    raise ValueError(
        f"sweep {sweep.definition.name!r} exists with another definition: {'; '.join(changes[:8])}; "
        "give sweep.name another name"
    )


def describe(sweep: Sweep) -> list[str]:
    """What a sweep is about to do, in lines."""
    definition, budget = sweep.definition, sweep.budget
    seeds = f", {definition.seeds} seeds a point" if definition.seeds > 1 else ""
    trials = f"a population of {len(sweep.candidates)}" if sweep.is_population else f"{sweep.planned} trials"
    lines = [f"sweep {definition.name}: {trials}{seeds}, {budget.said(budget.total)} each"]
    if sweep.pruned:
        lines.append(left_out(sweep))
    if budget.rungs:
        rungs = ", ".join(f"{rung:,.6g}" for rung in budget.rungs)
        unit = budget.unit.replace("_gflops", " GFLOPs")
        what = f"1 in {definition.reduction} goes on"
        if sweep.is_population:
            quarter = replaced(len(sweep.candidates))
            what = f"forks of the best {quarter} replace the worst {quarter}, under settings near theirs"
        lines.append(f"trials are compared at equal {unit}: at {rungs}; {what}")
    return lines


def left_out(sweep: Sweep) -> str:
    """How much of a space cannot work, and why."""
    counted = Counter(sweep.pruned).most_common()
    reasons = [f"{number} because {reason}" for reason, number in counted[:3]]
    if len(counted) > 3:
        reasons.append(f"{sum(number for _, number in counted[3:])} for {len(counted) - 3} more reasons")
    whole = len(sweep.pruned) + sweep.working
    return f"left out beforehand: {len(sweep.pruned)} of {whole} combinations: {'; '.join(reasons)}"
