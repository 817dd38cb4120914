"""Normalisation, and the two ways in which a condition modulates a residual branch.

`addcmul` instead of `x * (1 + scale) + shift` spares one pass and one stored tensor the size of `x`.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Branch = Callable[[Tensor], Tensor]


class RMSNorm(nn.RMSNorm):
    """Its weight takes the type of its input, without which PyTorch has no fused kernel for mixed precision."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


NORMS: dict[str, type[RMSNorm] | type[nn.LayerNorm]] = {"rms": RMSNorm, "layer": nn.LayerNorm}


def make_norm(kind: str, width: int) -> nn.Module:
    return NORMS[kind](width, eps=1e-6)


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer whose first output is zero, whatever it is given."""
    linear = nn.Linear(inputs, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x * (1 + scale) + shift"""
    return torch.addcmul(x + shift, x, scale)


def pre_modulated(x: Tensor, norm: Branch, branch: Branch, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
    """The branch's input is shifted and scaled, and its output gated: all zeros make this the identity."""
    return torch.addcmul(x, gate, branch(modulate(norm(x), shift, scale)))


def post_modulated(x: Tensor, norm: Branch, branch: Branch, scale: Tensor, shift: Tensor) -> Tensor:
    """The branch's output is scaled and shifted: all zeros leave it as it is."""
    return x + modulate(branch(norm(x)), shift, scale)


MODULATIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {  # with how many vectors each takes
    "pre": (3, pre_modulated),
    "post": (2, post_modulated),
}
