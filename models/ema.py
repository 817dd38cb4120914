"""A running mean of a network's weights, which samples better than the weights themselves."""

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """Keeps `decay` of each mean and fills up with the network's weight, all in one call. Buffers are copied."""
    weights = [weight.to(mean.dtype) for mean, weight in zip(ema.parameters(), network.parameters(), strict=True)]
    get_ema_multi_avg_fn(decay)(list(ema.parameters()), weights, 0)
    for copy, original in zip(ema.buffers(), network.buffers(), strict=True):
        copy.copy_(original)
