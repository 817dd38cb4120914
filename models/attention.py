"""Self-attention with normalised, rotated queries and keys.

B batch   T tokens   A width   h heads
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.embeddings import rotate
from unlatent.models.modulation import make_norm

SHORT = 128  # tokens; up to here a CPU is quicker with the weights written out than with PyTorch's kernel

Heads = tuple[Tensor, Tensor, Tensor]  # queries, keys and values, (B, T, h, A / h) each


class Attention(nn.Module):
    """Every token sees every token."""

    def __init__(self, width: int, heads: int, norm: str) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.norm_q = make_norm(norm, width // heads)
        self.norm_k = make_norm(norm, width // heads)
        self.out = nn.Linear(width, width)

    def project(self, x: Tensor, rope: Tensor | None) -> Heads:  # (B, T, A)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = self.norm_q(q), self.norm_k(k)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        return q, k, v

    def forward(self, x: Tensor, rope: Tensor | None) -> Tensor:  # (B, T, A) -> (B, T, A)
        return self.out(attend(self.project(x, rope)))


def attend(heads: Heads, mask: Tensor | None = None) -> Tensor:  # -> (B, T, A)
    """Mixes the values. `mask` (B, T) is True for the tokens that may be seen; without one all are."""
    q, k, v = (each.transpose(1, 2) for each in heads)  # (B, h, T, A / h) each
    if q.device.type == "cpu" and q.shape[2] <= SHORT:
        mixed = written_out(q, k, v, mask)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None, None])
    return mixed.transpose(1, 2).flatten(2)


def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:  # (B, h, T, A / h) each
    """The same as PyTorch's kernel, which on a CPU takes three times as long for few tokens."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, h, T, T)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], -torch.inf)
    return scores.softmax(dim=-1).to(v.dtype) @ v
