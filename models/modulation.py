"""Normalisation, and what a condition does to a branch.

`addcmul` instead of `x * (1 + scale) + shift` spares one pass and one stored tensor the size of `x`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """Gives back the type that it is given, also under autocast, which would have it give float32."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """Gives back the type that it is given, also under autocast, which would have it give float32."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps).to(x.dtype)


NORMS: dict[str, type[RMSNorm] | type[LayerNorm]] = {"rms": RMSNorm, "layer": LayerNorm}


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


def gated(x: Tensor, gate: Tensor, branch: Tensor) -> Tensor:
    """x + gate * branch"""
    return torch.addcmul(x, gate, branch)
