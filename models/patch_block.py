"""Works out what is in the image, one token a patch.

B batch   L patches per image   D width
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.attention import Attention
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.modulation import make_norm, pre_modulated, zero_linear


class SwiGLU(nn.Module):
    """An MLP whose hidden values are gated; its three matrices weigh as much as two of hidden width 4D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = swiglu_hidden(width)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.widen = nn.Linear(width, hidden, bias=False)
        self.narrow = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(F.silu(self.gate(x)) * self.widen(x))


def swiglu_hidden(width: int) -> int:
    return 8 * width // 3


class PatchBlock(nn.Module):
    """Attention between patches, then an MLP on each. A new block is the identity."""

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.modulation = zero_linear(config.width, 6 * config.width)
        self.norm_attend = make_norm(config.norm, config.width)
        self.attend = Attention(config.width, config.heads, config.norm)
        self.norm_mlp = make_norm(config.norm, config.width)
        self.mlp = SwiGLU(config.width)

    def forward(self, s: Tensor, condition: Tensor, rope: Tensor | None) -> Tensor:  # (B, L, D), (B, 1, D)
        vectors = self.modulation(condition).chunk(6, dim=-1)  # (B, 1, D) each
        s = pre_modulated(s, self.norm_attend, partial(self.attend, rope=rope), *vectors[:3])
        return pre_modulated(s, self.norm_mlp, self.mlp, *vectors[3:])
