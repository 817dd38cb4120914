"""Numbers, sampling, training step and memory of all contenders, in turns."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.contenders import Batch, Contender
from benchmarks.kernels import Work, work_of
from benchmarks.memory import kept_bytes, step_memory
from benchmarks.report import Agreement, Footprint, Timing
from benchmarks.timing import StepTime, interleaved, spread, time_once, time_steps
from unlatent.models import PixelTransformerConfig, SamplerConfig
from unlatent.models.cost import forward_gflops

LIMITS = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
TRAINING_OVER_FORWARD = 3  # every product of the forward pass has two in the backward pass
WARM_UP_STEPS = 4  # of sampling: some guided, some not


def make_batch(config: PixelTransformerConfig, count: int, device: torch.device) -> Batch:
    """The same for the same seed."""
    shape = (count, config.channels, config.image_size, config.image_size)
    data, noise = torch.randn(shape).clamp(-1, 1), torch.randn(shape)
    label = torch.randint(config.classes + 1, (count,))
    return Batch(*(part.to(device) for part in (data, noise, torch.rand(count), label)))


def compare_outputs(contenders: list[Contender], batch: Batch, dtype: torch.dtype) -> list[Agreement]:
    """Velocities: the largest difference in float32, else the norm of the difference over the norm."""
    said = []
    with torch.no_grad(), torch.autocast(batch.data.device.type, dtype, enabled=dtype != torch.float32):
        for contender in contenders:
            said.append(contender.network(batch.noise, batch.t, batch.label).float())
    measure = largest if dtype == torch.float32 else relative
    what = "output in fp32, largest" if dtype == torch.float32 else "output in bf16, relative"
    return [
        Agreement(what=what, baseline=contender.name, difference=measure(said[0], other), limit=LIMITS[dtype])
        for contender, other in zip(contenders[1:], said[1:], strict=True)
    ]


def largest(ours: Tensor, other: Tensor) -> float:
    return float((ours - other).abs().max())


def relative(ours: Tensor, other: Tensor) -> float:
    return float((ours - other).norm() / other.norm())


def measure_sampling(
    contenders: list[Contender], config: PixelTransformerConfig, batch: Batch, settings: SamplerConfig, rounds: int
) -> tuple[list[Timing], list[Agreement]]:
    """Draws all images of `batch` at once. Before training: weights are still equal, so images can be compared."""
    label = batch.label.clamp(max=config.classes - 1)  # of a class, as what is asked for is
    images: dict[str, Tensor] = {}

    def turn(contender: Contender, settings: SamplerConfig) -> float:
        def draw() -> None:
            images[contender.name] = contender.images(batch.noise, label, settings).float()

        return time_once(draw, label.device)

    few = replace(settings, steps=min(settings.steps, WARM_UP_STEPS))
    for contender in contenders:
        turn(contender, few)
    turns = interleaved({each.name: partial(turn, each, settings) for each in contenders}, rounds)

    flops = forward_gflops(config) * 1e9 * len(label)
    timings = [
        timing(contender, turns[contender.name].found, turns[contender.name].graphs, flops * contender.rows(settings))
        for contender in contenders
    ]
    agreements = [
        Agreement(
            what=f"images after {settings.steps} steps, relative",
            baseline=contender.name,
            difference=relative(images[contenders[0].name], images[contender.name]),
        )
        for contender in contenders[1:]
    ]
    return timings, agreements


def timing(contender: Contender, seconds: list[float], graphs: int, flops: float) -> Timing:
    return Timing(
        contender=contender.name,
        seconds=spread(seconds),
        flops=flops,
        graphs=graphs if contender.compiled else None,
    )


def begin_training(contenders: list[Contender], batch: Batch) -> list[Agreement]:
    """The first two steps, which make what stays. The very first says whether gradients agree, compiled or not."""
    first: list[dict[str, float]] = []
    for contender in contenders:
        contender.begin_training()
        loss, norm = contender.step(batch, lambda: None)
        first.append({"first loss": float(loss), "first gradient norm": float(norm)})
        contender.step(batch, lambda: None)
    return [
        Agreement(
            what=f"{what}, relative",
            baseline=contender.name,
            difference=abs(first[0][what] / said[what] - 1),
            limit=LIMITS[contender.dtype],
        )
        for contender, said in zip(contenders[1:], first[1:], strict=True)
        for what in said
    ]


def measure_training(
    contenders: list[Contender], config: PixelTransformerConfig, batch: Batch, steps: int, rounds: int
) -> dict[str, list[Timing]]:
    """After `begin_training`: the whole step, and of the same steps forward and backward alone."""

    def turn(contender: Contender) -> StepTime:
        return time_steps(partial(contender.step, batch), steps, batch.data.device)

    turns = interleaved({each.name: partial(turn, each) for each in contenders}, rounds)
    flops = TRAINING_OVER_FORWARD * forward_gflops(config) * 1e9 * len(batch.label)
    found: dict[str, list[Timing]] = {"training step": [], "of it forward and backward": []}
    for contender in contenders:
        times, graphs = turns[contender.name]
        for what, part in zip(found, StepTime._fields, strict=True):
            found[what].append(timing(contender, [getattr(each, part) for each in times], graphs, flops))
    return found


def measure_memory(contenders: list[Contender], batch: Batch) -> list[Footprint]:
    """After `begin_training`: of one step of each, as if the others were not there."""
    found = []
    for contender in contenders:
        memory = step_memory(partial(contender.step, batch, lambda: None), contender.state(), batch.data.device)
        kept = None
        if not contender.compiled and not contender.recomputes:
            kept = kept_bytes(partial(contender.loss, batch), contender.network.parameters())
        found.append(Footprint(contender=contender.name, peak=memory.peak, state=memory.state, kept=kept))
    return found


def measure_work(contenders: list[Contender], batch: Batch, steps: int, shown: int) -> list[Work]:
    """After `begin_training`: what the device does in a step of each."""
    return [
        work_of(each.name, partial(each.step, batch, lambda: None), steps, batch.data.device, shown)
        for each in contenders
    ]
