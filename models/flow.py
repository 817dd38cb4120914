"""The straight flow from noise (t = 0) to data (t = 1), and the loss that teaches a network its velocity.

B batch   C channels   H, W image
"""

from typing import TypeVar

import torch
from torch import Generator, Tensor

Time = TypeVar("Time", float, Tensor)


def shift_time(t: Time, shift: float) -> Time:
    """Moves times towards noise if `shift` is above 1, and towards data if below. Both ends stay."""
    return t / (t + (1 - t) * shift)


def sample_times(count: int, generator: Generator | None, shift: float, mean: float, std: float) -> Tensor:
    """Times to train at: logit-normal, then shifted."""
    device = generator.device if generator is not None else None
    logits = mean + std * torch.randn(count, generator=generator, device=device)
    return shift_time(logits.sigmoid(), shift)


def interpolate(data: Tensor, noise: Tensor, t: Tensor) -> Tensor:  # (B, C, H, W) twice, (B,) -> (B, C, H, W)
    return torch.lerp(noise, data, t[:, None, None, None])


def loss(velocity: Tensor, data: Tensor, noise: Tensor) -> Tensor:  # (B, C, H, W) each -> (B,)
    """Mean squared error of a velocity, for every image, in float32."""
    return (velocity.float() - (data - noise)).square().flatten(1).mean(dim=1)
