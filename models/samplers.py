"""Follow the flow from noise to an image.

B batch   C channels   H, W image
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unlatent.models.condition import Condition
from unlatent.models.config import listed, require_at_least
from unlatent.models.flow import shift_time
from unlatent.models.precision import PRECISIONS
from unlatent.models.queries import Query, Trajectory, follow

FIRST_TIME = 0.001  # of dpmpp_2m, before the shift: the log-SNR of pure noise, at 0, has no end


class Point(NamedTuple):
    """A place on the way, and what the network says there."""

    t: float
    x: Tensor  # (B, C, H, W)
    velocity: Tensor  # (B, C, H, W)

    @property
    def data(self) -> Tensor:
        """Where the way would end if the rest of it were straight."""
        return self.x + (1 - self.t) * self.velocity


Update = Callable[[Point, Point | None, float], Tensor]  # the point now, the one before, the time to go to


def euler(now: Point, before: Point | None, t_next: float) -> Tensor:
    """First order."""
    return now.x + (t_next - now.t) * now.velocity


def ab2(now: Point, before: Point | None, t_next: float) -> Tensor:
    """Adams-Bashforth, as the paper's sampler: weighs as if all steps were equal.

    Second order, with a shift too, for it changes the steps little by little; first order if they jump.
    """
    slope = now.velocity if before is None else 1.5 * now.velocity - 0.5 * before.velocity
    return now.x + (t_next - now.t) * slope


def trapezoid(now: Point, before: Point | None, t_next: float) -> Tensor:
    """The last step once more, along the mean of the velocities at its two ends."""
    assert before is not None
    return before.x + (now.t - before.t) * (before.velocity + now.velocity) / 2


def dpmpp_2m(now: Point, before: Point | None, t_next: float) -> Tensor:
    """DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095, algorithm 2), second order for steps of any lengths.

    The data seen from two points are carried on as a line in the log-SNR, log(t / (1 - t)); near noise, where steps
    are long in it, its error falls as the square of the steps times their logarithm. Two steps are of first order,
    which is Euler's here: the first, which has no point before it, and the last, whose end, t = 1, is out of the
    log-SNR's reach. If the point before is at t = 0, as far out of reach, the data stay as they are seen now.
    """
    if before is None or t_next == 1:
        return euler(now, before, t_next)
    step, step_before = log_snr(t_next) - log_snr(now.t), log_snr(now.t) - log_snr(before.t)
    data = now.data + step / (2 * step_before) * (now.data - before.data)
    return now.x + (t_next - now.t) / (1 - now.t) * (data - now.x)


def log_snr(t: float) -> float:
    """log(alpha / sigma) of the flow, below t = 1."""
    return math.log(t / (1 - t)) if t > 0 else -math.inf


# What a step does with what the network says: at its beginning and, if there are two, at its end.
STEPS: dict[str, tuple[Update, ...]] = {
    "ab2": (ab2,),
    "dpmpp_2m": (dpmpp_2m,),
    "euler": (euler,),
    "heun": (euler, trapezoid),
}


@dataclass(kw_only=True)
class SamplerConfig:
    """How images are drawn. An image depends on all of it."""

    name: str = "ab2"  # ab2, dpmpp_2m, euler, heun
    steps: int = 100
    guidance: float = 1.0  # 1: none
    guidance_low: float = 0.1  # guided at times strictly between the two
    guidance_high: float = 1.0
    shift: float = 1.0  # above 1: more steps near noise
    precision: str = "fp32"  # of the network; or bf16. What its velocities add up to is float32 either way

    def __post_init__(self) -> None:
        if self.name not in STEPS:
            raise ValueError(f"name={self.name!r} is not a sampler; {listed(STEPS)} would do")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r} is not known; {listed(PRECISIONS)} would do")
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
        """Where the steps begin and end, from noise to 1 (data).

        Noise is at 0; for dpmpp_2m it is just above, as where published text networks are drawn from.
        """
        first = FIRST_TIME if self.name == "dpmpp_2m" else 0.0
        return [shift_time(first + (1 - first) * (step / self.steps), self.shift) for step in range(self.steps + 1)]

    def updates(self, t: float, t_next: float) -> list[tuple[float, Update]]:
        """When a step asks the network, and what it does with what that says. At 1 none was trained: none is asked."""
        return [(at, update) for at, update in zip((t, t_next), STEPS[self.name], strict=False) if at < 1]

    def guides(self, t: float) -> bool:
        return self.guidance != 1 and self.guidance_low < t < self.guidance_high

    @property
    def most_rows(self) -> int:
        """Of one image in one network call: a guided row has an unconditional one beside it."""
        return 1 + any(self.guides(t) for t in self.network_times())

    def queries(self, x: Tensor, t: float, condition: Condition, unconditional: Condition | None) -> list[Query]:
        """What is asked for one velocity: inside the guidance interval, also without the condition."""
        if not self.guides(t):
            return [Query(x, t, condition)]
        assert unconditional is not None
        return [Query(x, t, condition), Query(x, t, unconditional)]

    def velocity(self, answers: Sequence[Tensor]) -> Tensor:
        """What the answers come to: where there is one without the condition, away from that."""
        if len(answers) == 1:
            return answers[0]
        towards, away = answers
        return away + self.guidance * (towards - away)

    def network_times(self) -> list[float]:
        """Every time at which the network is asked, in order."""
        return [at for step in pairwise(self.times()) for at, _ in self.updates(*step)]

    def network_evaluations(self) -> int:
        """Rows that the network sees for one image, in all."""
        return sum(1 + self.guides(t) for t in self.network_times())


@torch.no_grad()
def sample(
    network: nn.Module,
    noise: Tensor,
    condition: Condition,
    settings: SamplerConfig,
    unconditional: Condition | None = None,
    on_step: Callable[[int, Point], None] | None = None,
) -> Tensor:  # (B, C, H, W), conditions of the same batch -> (B, C, H, W)
    """Images in about [-1, 1].

    `on_step` gets the steps done and where the images are. Raises ValueError if a step is to be guided and there is no
    `unconditional` to guide away from.
    """
    return follow(network, draw(noise, condition, settings, unconditional, on_step), settings.precision)


def draw(
    noise: Tensor,
    condition: Condition,
    settings: SamplerConfig,
    unconditional: Condition | None = None,
    on_step: Callable[[int, Point], None] | None = None,
    steps_done: int = 0,
) -> Trajectory:
    """The way of `sample`, for whoever answers it; from further on where some steps are done already.

    Asks at most `settings.most_rows` rows at once for each image.
    """
    if unconditional is None and settings.most_rows > 1:
        raise ValueError(f"guidance={settings.guidance} needs an unconditional condition; guidance=1 does without")

    x, before = noise, None
    for done, (t, t_next) in enumerate(list(pairwise(settings.times()))[steps_done:], start=steps_done + 1):
        for at, update in settings.updates(t, t_next):
            answers = yield settings.queries(x, at, condition, unconditional)
            now = Point(at, x, settings.velocity(answers))
            x, before = update(now, before, t_next), now
        if on_step is not None:
            on_step(done, Point(t_next, x, now.velocity))
    return x
