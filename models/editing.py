"""FlowEdit (Kulikov et al. 2024, arXiv 2412.08629): turns an image into what another condition asks for.

It needs neither training nor inversion: the image moves by the difference between where the flow would take it, at
several noise levels, under the target condition and under the source's.

B batch   C channels   H, W image
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from unlatent.models.condition import Condition
from unlatent.models.config import require_at_least
from unlatent.models.queries import Trajectory
from unlatent.models.samplers import Point, SamplerConfig, draw


@dataclass(kw_only=True)
class EditConfig:
    """How an image is edited. Steps are counted from the end, as in the paper: the last has 1 left to go."""

    steps: int = 50
    n_max: int = 33  # steps with more left to go are skipped: the fewer, the more of the image's layout is kept
    n_min: int = 0  # so many last steps draw from noise under the target condition alone, which frees the details
    n_avg: int = 1  # noises a step averages over
    source_guidance: float = 1.0
    target_guidance: float = 2.0

    def __post_init__(self) -> None:
        require_at_least(1, "steps", self.steps)
        require_at_least(1, "n_avg", self.n_avg)
        if not 0 <= self.n_min <= self.n_max <= self.steps:
            raise ValueError(
                f"n_min={self.n_min}, n_max={self.n_max} and steps={self.steps} are out of order; "
                "0 <= n_min <= n_max <= steps would do"
            )
        for name in ("source_guidance", "target_guidance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} is not a finite number of 0 or more; 1 means none")


def towards_source(config: EditConfig, sampler: SamplerConfig) -> SamplerConfig:
    return replace(sampler, steps=config.steps, guidance=config.source_guidance)


def towards_target(config: EditConfig, sampler: SamplerConfig) -> SamplerConfig:
    return replace(sampler, steps=config.steps, guidance=config.target_guidance)


def most_rows(config: EditConfig, sampler: SamplerConfig) -> int:
    """Of one image in one network call."""
    return config.n_avg * (towards_source(config, sampler).most_rows + towards_target(config, sampler).most_rows)


@dataclass(frozen=True)
class Edit:
    """What is to become of images, on the sampler's grid and within its guidance interval."""

    source: Condition  # of the same batch as the images, as are the others
    target: Condition
    unconditional: Condition
    config: EditConfig
    sampler: SamplerConfig
    mask: Tensor | None = None  # (B, 1, H, W) in [0, 1]: where it is 0, every pixel stays what it is

    @cached_property
    def towards_source(self) -> SamplerConfig:
        return towards_source(self.config, self.sampler)

    @cached_property
    def towards_target(self) -> SamplerConfig:
        return towards_target(self.config, self.sampler)


def edit(
    image: Tensor,
    task: Edit,
    fresh_noise: Callable[[], Tensor],
    on_step: Callable[[int, Point], None] | None = None,
) -> Trajectory:  # (B, C, H, W), noise of the same shape -> (B, C, H, W)
    """The edited images, by algorithm 1 of the paper. `on_step` gets the steps done and where the images are."""
    config, edited = task.config, image
    for done, (t, t_next) in enumerate(pairwise(task.towards_source.times())):
        left = config.steps - done
        if left <= config.n_min:
            noisy = noised(image, fresh_noise(), t) + (edited - image)
            shown = on_step and partial(show_kept, on_step, task.mask, image)
            drawn = yield from draw(noisy, task.target, task.towards_target, task.unconditional, shown, done)
            return kept_outside(task.mask, image, drawn)
        if left <= config.n_max:
            change = yield from difference(image, edited, t, task, fresh_noise)
            edited = kept_outside(task.mask, image, edited + (t_next - t) * change)
            if on_step is not None:
                on_step(done + 1, Point(1.0, edited, change))
    return edited


def difference(image: Tensor, edited: Tensor, t: float, task: Edit, fresh_noise: Callable[[], Tensor]) -> Trajectory:
    """How the velocity that the target asks for differs from the source's, as a mean over `n_avg` noises."""
    asked = []
    for _ in range(task.config.n_avg):
        source = noised(image, fresh_noise(), t)
        target = source + (edited - image)  # the source itself, bit for bit, as long as nothing is edited
        asked.append((task.towards_target, task.towards_target.queries(target, t, task.target, task.unconditional)))
        asked.append((task.towards_source, task.towards_source.queries(source, t, task.source, task.unconditional)))
    answers = iter((yield [query for _, queries in asked for query in queries]))
    velocities = torch.stack([settings.velocity([next(answers) for _ in queries]) for settings, queries in asked])
    return (velocities[::2] - velocities[1::2]).mean(dim=0)


def noised(image: Tensor, noise: Tensor, t: float) -> Tensor:
    return t * image + (1 - t) * noise


def kept_outside(mask: Tensor | None, image: Tensor, edited: Tensor) -> Tensor:
    return edited if mask is None else torch.where(mask > 0, image + mask * (edited - image), image)


def show_kept(
    on_step: Callable[[int, Point], None], mask: Tensor | None, image: Tensor, done: int, point: Point
) -> None:
    """Shows an image on its way as it will be, with what is kept in its place."""
    on_step(done, Point(1.0, kept_outside(mask, image, point.data), point.velocity))


def changed_region(image: Tensor, edited: Tensor, spread: int = 1) -> Tensor:  # (B, C, H, W) twice -> (B, 1, H, W)
    """1 where an edit changed an image, 0 where it hardly did: a mask for who draws none.

    As DiffEdit finds its mask (Couairon et al. 2022, arXiv 2210.11427): where the change, in the mean over a pixel's
    surroundings, is over half of what it is at most. What is so found grows by `spread` pixels on all sides.
    """
    change = (edited - image).abs().mean(dim=1, keepdim=True)
    change = F.avg_pool2d(change, 2 * spread + 1, stride=1, padding=spread, count_include_pad=False)
    region = change > change.amax(dim=(2, 3), keepdim=True) / 2
    return F.max_pool2d(region.to(image.dtype), 2 * spread + 1, stride=1, padding=spread)
