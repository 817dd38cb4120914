"""What a pipeline has to compute, and how long that takes at the rates that its store knows."""

from unlatent.models import cost
from unlatent.pipelines.definition import Step
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.requirements import require_workable
from unlatent.pipelines.room import room_in_words
from unlatent.pipelines.work import Work, area, work_of
from unlatent.platform.display import say
from unlatent.platform.image_sizes import in_words
from unlatent.platform.rates import Rate, best_rate, known_rates, measure_on_ray

UNITS = ((1e12, "ZFLOPs"), (1e9, "EFLOPs"), (1e6, "PFLOPs"), (1e3, "TFLOPs"), (1, "GFLOPs"))  # in 10⁹ FLOPs
PERIODS = ((31_557_600.0, "years"), (86400.0, "days"), (3600.0, "h"), (60.0, "min"))  # each from two of its own on


def estimates(execution: Execution, works: dict[str, list[Work]]) -> list[str]:
    """Some lines for each step that trains or draws, its name in the first."""
    rates = known_rates(execution.store)
    lines = []
    for name, computed in works.items():
        if computed:
            waits = waits_for_winner(execution, execution.pipeline.steps[name])
            doubt = "; the winner of the sweep may be another network" if waits else ""
            lines += [f"{name}: {amount(computed)}{doubt}"]
            lines += [f"    {line}" for line in needs(computed)] + [f"    {duration(computed, rates)}"]
    return lines


def waits_for_winner(execution: Execution, step: Step) -> bool:
    """Whether the sweep that decides what a step trains has yet to run."""
    pending = [need for need in step.needs if need not in execution.done]
    return step.run == "train" and any(execution.pipeline.steps[need].sweep for need in pending)


def seconds(works: list[Work], rates: list[Rate]) -> float | None:
    """Of all works one after another, by the rates that are known; None where one is missing."""
    found = [best_rate(rates, work.kind, work.config, work.on_gpu) for work in works]
    known = [rate for rate in found if rate is not None]
    if len(known) < len(works):
        return None
    return sum(work.gflops / rate.gflops_per_s / work.devices for work, rate in zip(works, known, strict=True))


def measure_rates(execution: Execution) -> None:
    """Times the networks of the steps that train; of a sweep, its first trial's.

    Raises ValueError for a step that would fail when its turn comes, and where the cluster has no place for a worker.
    """
    require_workable(execution)
    for step in execution.pipeline.steps.values():
        works = [work for work in work_of(execution, step) if work.kind == "training"]
        for row in measure_on_ray(works[0].config, in_sweep=step.sweep is not None) if works else []:
            rate = f"{short(row['images_per_s'])} images/s, {row['batch_size']} at once"
            say(f"{step.name}: {row['work']} at {rate}, on {row['device']}, {row['precision']}")


def amount(works: list[Work]) -> str:
    """`training, 409,600,000 images × 933 GFLOPs = 382 EFLOPs`."""
    total = flops(sum(work.gflops for work in works))
    if len(works) > 1:
        return f"{works[0].kind} of {len(works)} trials, {sum(work.images for work in works):,} images = {total}"
    return f"{works[0].kind}, {works[0].images:,} images × {flops(works[0].gflops_each)} = {total}"


def needs(works: list[Work]) -> list[str]:
    """The network, where there is one, and the memory of the largest process."""
    return [*(network_in_words(work) for work in works if len(works) == 1), room_in_words(works)]


def network_in_words(work: Work) -> str:
    """`network of 1,302.5M parameters, 6.17 TFLOPs a call for an image of 1024x1024`."""
    model = work.config.model
    millions = f"network of {cost.parameters(model) / 1e6:,.1f}M parameters"
    each = {sides: cost.forward_gflops(model, area(sides)) for sides in work.sizes}
    low, high = min(each, key=each.__getitem__), max(each, key=each.__getitem__)
    if len(each) == 1:
        return f"{millions}, {flops(each[low])} a call for an image of {in_words(low)}"
    ends = f"{flops(each[low])} a call for an image of {in_words(low)} to {flops(each[high])} for {in_words(high)}"
    return f"{millions}, {len(each)} sizes of images, {ends}"


def duration(works: list[Work], rates: list[Rate]) -> str:
    """How long it takes, and by which measurement; of several trials, one after another."""
    first = works[0]
    device = "GPU" if first.on_gpu else "CPU"
    found = [best_rate(rates, work.kind, work.config, work.on_gpu) for work in works]
    known = [rate for rate in found if rate is not None]
    if len(known) < len(works):
        return f"how long: no rate of {first.kind} on a {device} is known yet; `unlatent plan … --measure` finds one"
    device_s = sum(work.gflops / rate.gflops_per_s for work, rate in zip(works, known, strict=True))
    by = known[0]
    own = all(rate.is_of(work.config) for work, rate in zip(works, known, strict=True))
    network = "this network" if own and len(works) == 1 else "such networks" if own else "another network"
    measured = f"measured {by.measured_at:%Y-%m-%d} on {by.device}, {by.precision}, {network}"
    if len(works) > 1:
        return f"{period(device_s)} one after another; {measured}"
    rate = f"{short(by.gflops_per_s / first.gflops_each)} images/s"
    if first.devices == 1:
        return f"{period(device_s)} at {rate}; {measured}"
    unit = "GPU" if device == "GPU" else "worker"
    each = f"on each of {first.devices} {unit}s"
    return f"{period(device_s / first.devices)} ({short(device_s / 3600)} {unit} hours) at {rate} {each}; {measured}"


def flops(gflops: float) -> str:
    size, unit = next(each for each in UNITS if gflops >= each[0] or each[0] == 1)
    return f"{short(gflops / size)} {unit}"


def period(seconds: float) -> str:
    for size, unit in PERIODS:
        if seconds >= 2 * size:
            return f"{short(seconds / size)} {unit}"
    return f"{short(seconds)} s"


def short(value: float) -> str:
    """Three digits that count, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
