"""Follow the flow from noise to an image.

B batch   C channels   H, W image
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from unlatent.models.config import listed, require_at_least
from unlatent.models.flow import shift_time

Velocity = Callable[[Tensor, float], Tensor]


def euler(velocity: Velocity, x: Tensor, t: float, t_next: float, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """First order, one call of the network a step."""
    v = velocity(x, t)
    return x + (t_next - t) * v, v


def ab2(velocity: Velocity, x: Tensor, t: float, t_next: float, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """Adams-Bashforth, second order at one call a step; weighs as if all steps were equal, as the paper's sampler."""
    v = velocity(x, t)
    slope = v if before is None else 1.5 * v - 0.5 * before
    return x + (t_next - t) * slope, v


def heun(velocity: Velocity, x: Tensor, t: float, t_next: float, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """Second order, two calls a step; the last step is Euler's, for at t = 1 no network was trained."""
    ahead, v = euler(velocity, x, t, t_next, before)
    if t_next == 1:
        return ahead, v
    v_next = velocity(ahead, t_next)
    return x + (t_next - t) * (v + v_next) / 2, v_next


STEPS = {"ab2": ab2, "euler": euler, "heun": heun}


@dataclass(kw_only=True)
class SamplerConfig:
    """How images are drawn. An image depends on all of it."""

    name: str = "ab2"  # ab2, euler, heun
    steps: int = 100
    guidance: float = 1.0  # 1: none
    guidance_low: float = 0.1  # guided at times strictly between the two
    guidance_high: float = 1.0
    shift: float = 1.0  # above 1: more steps near noise

    def __post_init__(self) -> None:
        if self.name not in STEPS:
            raise ValueError(f"name={self.name!r} is not a sampler; {listed(STEPS)} would do")
        require_at_least(1, "steps", self.steps)
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance={self.guidance} is not a finite number of 0 or more; 1 means none")
        if not 0 <= self.guidance_low <= self.guidance_high <= 1:
            raise ValueError(
                f"guidance_low={self.guidance_low} and guidance_high={self.guidance_high} are not an interval; "
                "0 <= guidance_low <= guidance_high <= 1 would do"
            )
        if not 0 < self.shift < math.inf:
            raise ValueError(f"shift={self.shift} is not a finite number above 0; 1 means none")

    def times(self) -> list[float]:
        """Where the steps begin and end, from 0 (noise) to 1 (data)."""
        return [shift_time(step / self.steps, self.shift) for step in range(self.steps + 1)]

    def guides(self, t: float) -> bool:
        return self.guidance != 1 and self.guidance_low < t < self.guidance_high

    def network_evaluations(self) -> int:
        """Rows that the network sees for one image; a guided row has an unconditional one beside it."""
        _, *inner, _ = times = self.times()
        called = times[:-1] + (inner if self.name == "heun" else [])
        return sum(1 + self.guides(t) for t in called)


@torch.no_grad()
def sample(
    network: nn.Module,
    noise: Tensor,
    label: Tensor,
    settings: SamplerConfig,
    null_label: int,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Tensor:  # (B, C, H, W), (B,) -> (B, C, H, W)
    """Images in about [-1, 1]. `on_step` gets the steps done, and what the image would be if the rest were straight."""

    def velocity(x: Tensor, t: float) -> Tensor:
        return guided_velocity(network, x, t, label, settings, null_label)

    step, x, before = STEPS[settings.name], noise, None
    for done, (t, t_next) in enumerate(pairwise(settings.times()), start=1):
        x, before = step(velocity, x, t, t_next, before)
        if on_step is not None:
            on_step(done, x + (1 - t_next) * before)
    return x


def guided_velocity(
    network: nn.Module, x: Tensor, t: float, label: Tensor, settings: SamplerConfig, null_label: int
) -> Tensor:
    """Away from the velocity of no class, inside the guidance interval; outside, that of the class alone."""
    if not settings.guides(t):
        return network(x, x.new_full((len(x),), t), label)
    both_labels = torch.cat([label, torch.full_like(label, null_label)])
    both = network(torch.cat([x, x]), x.new_full((2 * len(x),), t), both_labels)
    conditional, unconditional = both.chunk(2)
    return unconditional + settings.guidance * (conditional - unconditional)
