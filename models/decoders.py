"""Turn patch tokens into an image: through the pixel level, or at once as a plain DiT does.

B batch   H, W image   L patches per image   P pixels per patch   D patch width   C pixel width
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.embeddings import PositionTable, rope_tokens, sincos_tokens
from unlatent.models.layout import join, split
from unlatent.models.modulation import make_norm, zero_linear
from unlatent.models.pixel_block import PixelBlock


class PixelDecoder(nn.Module):
    """Starts from the noisy pixels, and refines them under the direction of their patch's token."""

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.config = config
        size, patch, window, width = config.image_size, config.patch_size, config.window, config.pixel_width
        self.embed = nn.Linear(config.channels, width)
        self.position = PositionTable(partial(sincos_tokens, width, patch, window), size, size)
        self.rope: PositionTable | None = None
        if config.position == "rope" and config.compaction.attention:
            head_width = config.attention_width // config.attention_heads
            self.rope = PositionTable(partial(rope_tokens, head_width, patch // window), size // window, size // window)
        self.blocks = nn.ModuleList(PixelBlock(config) for _ in range(config.pixel_depth))
        self.norm = make_norm(config.norm, width)
        self.head = zero_linear(width, config.channels)

    def forward(self, image: Tensor, s: Tensor, time: Tensor) -> Tensor:  # (B, c, H, W), (B, L, D), (B, 1, D)
        patch, window = self.config.patch_size, self.config.window
        rows, columns = image.shape[2:]
        if self.config.adaln == "global":
            s = s.mean(dim=1, keepdim=True)  # (B, 1, D): one direction for the whole image
        condition = F.silu(time + s)
        rope = self.rope(rows // window, columns // window) if self.rope is not None else None
        x = self.embed(split(image, patch, window))  # (B, L, P, C)
        x = x + self.position(rows, columns).to(x.dtype)
        for block in self.blocks:
            x = block(x, condition, rope)
        return join(self.head(self.norm(x)), patch, window, rows // patch)  # (B, c, H, W)

    def set_recompute(self, again: bool) -> None:
        """Whether the blocks compute their modulation, and what follows from it, again in the backward pass."""
        for block in self.blocks:
            assert isinstance(block, PixelBlock)
            block.recompute = again


class PatchDecoder(nn.Module):
    """Reads all pixels of a patch off its token."""

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = make_norm(config.norm, config.width)
        self.head = zero_linear(config.width, config.patch_size**2 * config.channels)

    def forward(self, image: Tensor, s: Tensor, time: Tensor) -> Tensor:  # (B, L, D) -> (B, c, H, W)
        patch = self.config.patch_size
        pixels = self.head(self.norm(s)).unflatten(-1, (-1, self.config.channels))  # (B, L, P, c)
        return join(pixels, patch, patch, image.shape[2] // patch)
