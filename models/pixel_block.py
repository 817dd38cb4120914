"""Refines the pixels inside every patch.

B batch   L patches per image   P pixels per patch   C pixel width   D patch width
T attention tokens per image, one a window   A attention width
"""

from functools import partial

from torch import Tensor, nn

from unlatent.models.attention import Attention
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.modulation import MODULATIONS, make_norm, zero_linear


class CompactAttention(nn.Module):
    """Attention across the image at the price of one token a window of pixels."""

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.values = config.window**2 * config.pixel_width  # of one window
        self.compress = nn.Linear(self.values, config.attention_width)
        self.attend = Attention(config.attention_width, config.attention_heads, config.norm)
        self.expand = nn.Linear(config.attention_width, self.values)

    def forward(self, x: Tensor, rope: Tensor | None) -> Tensor:  # (B, L, P, C) -> (B, L, P, C)
        windows = x.flatten(1).unflatten(1, (-1, self.values))  # (B, T, values)
        return self.expand(self.attend(self.compress(windows), rope)).view_as(x)


class PixelBlock(nn.Module):
    """Attention between windows, then an MLP on every pixel. A new block is the identity if modulation is `pre`.

    Without attention its vectors of modulation are still computed, as in the published cost of that ablation.
    """

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        width = config.pixel_width
        self.per_branch, self.residual = MODULATIONS[config.modulation]
        self.vectors = config.patch_size**2 if config.adaln == "pixel" else 1  # sets of them per patch
        self.modulation = zero_linear(config.width, self.vectors * 2 * self.per_branch * width)
        self.attend: CompactAttention | None = None
        if config.compaction.attention:
            self.norm_attend = make_norm(config.norm, width)
            self.attend = CompactAttention(config)
        self.norm_mlp = make_norm(config.norm, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, condition: Tensor, rope: Tensor | None) -> Tensor:  # (B, L, P, C), (B, L or 1, D)
        vectors = self.modulation(condition).unflatten(-1, (self.vectors, -1))  # (B, L or 1, P or 1, 4C or 6C)
        vectors = vectors.chunk(2 * self.per_branch, dim=-1)  # (B, L or 1, P or 1, C) each
        if self.attend is not None:
            attend = partial(self.attend, rope=rope)
            x = self.residual(x, self.norm_attend, attend, *vectors[: self.per_branch])
        return self.residual(x, self.norm_mlp, self.mlp, *vectors[self.per_branch :])
