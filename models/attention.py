"""Self-attention with normalised, rotated queries and keys.

B batch   T tokens   A width
"""

import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.embeddings import rotate
from unlatent.models.modulation import make_norm


class Attention(nn.Module):
    """Every token sees every token."""

    def __init__(self, width: int, heads: int, norm: str) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.norm_q = make_norm(norm, width // heads)
        self.norm_k = make_norm(norm, width // heads)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, rope: Tensor | None) -> Tensor:  # (B, T, A) -> (B, T, A)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # (B, T, heads, A / heads) each
        q, k = self.norm_q(q), self.norm_k(k)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))  # (B, heads, T, A / heads) each
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
