"""A running mean of a network's weights, which samples better than the weights themselves."""

import torch
from torch import nn


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """Keeps `decay` of each mean and fills up with the network's weight. Buffers are copied."""
    for mean, weight in zip(ema.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight.to(mean.dtype), 1 - decay)
    for copy, original in zip(ema.buffers(), network.buffers(), strict=True):
        copy.copy_(original)
