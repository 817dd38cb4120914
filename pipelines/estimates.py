"""What a pipeline has to compute, and how long that takes at the rates that its store knows."""

from dataclasses import dataclass, replace

from unlatent.models import cost
from unlatent.pipelines.definition import Step
from unlatent.pipelines.execution import Execution
from unlatent.platform import spaces
from unlatent.platform.config import Config
from unlatent.platform.display import say
from unlatent.platform.placement import trial_need
from unlatent.platform.rates import Rate, best_rate, known_rates, measure_on_ray
from unlatent.platform.tuning.plan import planned_configs

UNITS = ((1e12, "ZFLOPs"), (1e9, "EFLOPs"), (1e6, "PFLOPs"), (1e3, "TFLOPs"), (1, "GFLOPs"))  # in 10⁹ FLOPs
PERIODS = ((31_557_600.0, "years"), (86400.0, "days"), (3600.0, "h"), (60.0, "min"))  # each from two of its own on


@dataclass(frozen=True)
class Work:
    """Of a step: images, what one costs, and on how many devices of which kind at once."""

    kind: str  # training or drawing
    images: int
    gflops_each: float
    config: Config
    devices: int = 1
    on_gpu: bool = False

    @property
    def gflops(self) -> float:
        return self.images * self.gflops_each


def estimates(execution: Execution, works: dict[str, list[Work]]) -> list[str]:
    """A line or two for each step that trains or draws."""
    rates = known_rates(execution.store)
    lines = []
    for name, computed in works.items():
        if computed:
            waits = waits_for_winner(execution, execution.pipeline.steps[name])
            doubt = "; the winner of the sweep may be another network" if waits else ""
            lines += [f"{name}: {amount(computed)}{doubt}", f"    {duration(computed, rates)}"]
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


def work_of(execution: Execution, step: Step) -> list[Work]:
    """What a step computes by the network; of a sweep, trial by trial, as if none were stopped early."""
    config = execution.config_of(step)
    if step.run == "train":
        return [training(config, config.cluster.gpus_per_worker > 0)]
    if step.run == "train_on_latents" and config.model.autoencoder:  # else it waits for one
        model = spaces.fitted(config.model, spaces.LATENTS_OF, config.data.image_size)
        return [training(replace(config, model=model), config.cluster.gpus_per_worker > 0)]
    if step.run == "evaluate":
        return [drawing(config)]
    if step.run == "sweep" and step.sweep:
        trials = planned_configs(step.sweep, execution.overrides_of(step))
        return [training(trial, trial_need(trial.cluster).gpus > 0) for trial in trials]
    return []


def measure_rates(execution: Execution) -> None:
    """Times the networks of the steps that train; of a sweep, its first trial's.

    Raises ValueError where the cluster has no place for a worker of one.
    """
    for step in execution.pipeline.steps.values():
        works = [work for work in work_of(execution, step) if work.kind == "training"]
        for row in measure_on_ray(works[0].config, in_sweep=step.sweep is not None) if works else []:
            rate = f"{short(row['images_per_s'])} images/s, {row['batch_size']} at once"
            say(f"{step.name}: {row['work']} at {rate}, on {row['device']}, {row['precision']}")


def training(config: Config, on_gpu: bool) -> Work:
    gflops = cost.training_gflops(config.model)
    return Work("training", config.train.total_images, gflops, config, config.cluster.workers, on_gpu)


def drawing(config: Config) -> Work:
    gflops = config.sampler.network_evaluations() * cost.forward_gflops(config.model)
    return Work("drawing", config.evaluation.samples, gflops, config, on_gpu=config.cluster.gpus_per_worker > 0)


def amount(works: list[Work]) -> str:
    """`training on 409,600,000 images × 932.1 GFLOPs = 382 EFLOPs`."""
    total = flops(sum(work.gflops for work in works))
    if len(works) > 1:
        return f"{works[0].kind} of {len(works)} trials, {sum(work.images for work in works):,} images = {total}"
    return f"{works[0].kind}, {works[0].images:,} images × {flops(works[0].gflops_each)} = {total}"


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
