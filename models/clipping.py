"""Gradient clipping that costs no pass over the gradients, and steps that are not taken."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unlatent.models.sharding import whole


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Of all gradients together, left on the device; of a sharded network, on every process alike."""
    return whole(nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None]))


def clipped_step(optimizer: torch.optim.AdamW, norm: Tensor, limit: float, refused: Tensor | None = None) -> None:
    """A step on gradients scaled down from their norm to `limit`, in the one pass that fused AdamW makes anyway.

    None is taken where `refused` is 1: weights, moments and the count of steps stay, and nothing waits for the device.
    Divisor and flag are those that `torch.amp.GradScaler` hands to a fused optimizer.
    """
    optimizer.grad_scale = (norm / limit).clamp(min=1)  # type: ignore[attr-defined]
    optimizer.found_inf = torch.zeros_like(norm) if refused is None else refused  # type: ignore[attr-defined]
    optimizer.step()
