"""Refines the pixels inside every patch.

B batch   L patches per image   P pixels per patch   C pixel width   D patch width
T attention tokens per image, one a window   A attention width
"""

from torch import Tensor, nn

from unlatent.models.attention import Attention
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.modulation import gated, make_norm, modulate, zero_linear
from unlatent.models.recomputation import run

VECTORS = {"pre": 6, "post": 4}  # of modulation: shift, scale, gate, or scale, shift; for each of two branches


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

    What comes before the attention and what comes after it are two functions, each of which can be computed again in
    the backward pass; each has the vectors of modulation that it needs. Without attention all of them are still
    computed, as in the published cost of that ablation.
    """

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.width, self.pre = config.pixel_width, config.modulation == "pre"
        self.recompute = False
        self.sets = config.patch_size**2 if config.adaln == "pixel" else 1  # of vectors per patch
        make_linear = zero_linear if config.condition == "class" else nn.Linear  # both as published
        before = 2 if self.pre and config.compaction.attention else 0
        self.modulate_before = make_linear(config.width, before * self.sets * self.width) if before else None
        self.modulate_after = make_linear(config.width, (VECTORS[config.modulation] - before) * self.sets * self.width)
        self.attend: CompactAttention | None = None
        if config.compaction.attention:
            self.norm_attend = make_norm(config.norm, self.width)
            self.attend = CompactAttention(config)
        self.norm_mlp = make_norm(config.norm, self.width)
        self.mlp = nn.Sequential(
            nn.Linear(self.width, 4 * self.width), nn.GELU(), nn.Linear(4 * self.width, self.width)
        )

    def forward(self, x: Tensor, condition: Tensor, rope: Tensor | None) -> Tensor:  # (B, L, P, C), (B, L or 1, D)
        attended = None
        if self.attend is not None:
            attended = self.attend(run(self.before, x, condition, again=self.recompute), rope)
        return run(self.after, x, attended, condition, again=self.recompute)

    def before(self, x: Tensor, condition: Tensor) -> Tensor:
        """What attention gets."""
        if self.modulate_before is None:
            return self.norm_attend(x)
        shift, scale = self.vectors(self.modulate_before, condition)
        return modulate(self.norm_attend(x), shift, scale)

    def after(self, x: Tensor, attended: Tensor | None, condition: Tensor) -> Tensor:
        """Takes in what attention has given, and goes through the MLP."""
        vectors = self.vectors(self.modulate_after, condition)
        if self.pre:
            *_, gate_attend, shift, scale, gate = vectors
            x = x if attended is None else gated(x, gate_attend, attended)
            return gated(x, gate, self.mlp(modulate(self.norm_mlp(x), shift, scale)))
        scale_attend, shift_attend, scale, shift = vectors
        x = x if attended is None else x + modulate(attended, shift_attend, scale_attend)
        return x + modulate(self.mlp(self.norm_mlp(x)), shift, scale)

    def vectors(self, layer: nn.Linear, condition: Tensor) -> tuple[Tensor, ...]:  # (B, L or 1, P or 1, C) each
        return layer(condition).unflatten(-1, (-1, self.sets, self.width)).unbind(2)
