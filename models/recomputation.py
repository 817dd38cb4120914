"""What is computed a second time in the backward pass, so that it need not be kept from the first.

none         nothing
modulation   the pixel blocks' vectors of modulation (96 values a pixel, at the paper's width) and what follows
             from them at little cost; their attention is kept
blocks       that, and every patch block
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.checkpoint import checkpoint

RECOMPUTATIONS = ("none", "modulation", "blocks")

Result = TypeVar("Result")


def run(function: Callable[..., Result], *inputs: object, again: bool) -> Result:
    """`function(*inputs)`, of which only the inputs are kept for the backward pass if `again`."""
    if again and torch.is_grad_enabled():
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return function(*inputs)
