"""Turn patch tokens into an image: through the pixel level, or at once as a plain DiT does.

B batch   H, W image   L patches per image   P pixels per patch   D patch width   C pixel width
"""

import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.embeddings import rope_tokens, sincos_positions
from unlatent.models.layout import join, split
from unlatent.models.modulation import make_norm, zero_linear
from unlatent.models.pixel_block import PixelBlock


class PixelDecoder(nn.Module):
    """Starts from the noisy pixels, and refines them under the direction of their patch's token."""

    position: Tensor
    rope: Tensor | None

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.config = config
        size, width = config.image_size, config.pixel_width
        self.embed = nn.Linear(config.channels, width)
        position = sincos_positions(size, size, width)[None]  # (1, C, H, W)
        self.register_buffer("position", split(position, config.patch_size, config.window), persistent=False)
        rope = None
        if config.position == "rope" and config.compaction.attention:
            head_width = config.attention_width // config.attention_heads
            rope = rope_tokens(size // config.window, config.patch_size // config.window, head_width)
        self.register_buffer("rope", rope, persistent=False)
        self.blocks = nn.ModuleList(PixelBlock(config) for _ in range(config.pixel_depth))
        self.norm = make_norm(config.norm, width)
        self.head = zero_linear(width, config.channels)

    def forward(self, image: Tensor, s: Tensor, time: Tensor) -> Tensor:  # (B, c, H, W), (B, L, D), (B, 1, D)
        patch, window = self.config.patch_size, self.config.window
        if self.config.adaln == "global":
            s = s.mean(dim=1, keepdim=True)  # (B, 1, D): one direction for the whole image
        condition = F.silu(time + s)
        x = self.embed(split(image, patch, window))  # (B, L, P, C)
        x = x + self.position.to(x.dtype)
        for block in self.blocks:
            x = block(x, condition, self.rope)
        return join(self.head(self.norm(x)), patch, window, self.config.grid)  # (B, c, H, W)


class PatchDecoder(nn.Module):
    """Reads all pixels of a patch off its token."""

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = make_norm(config.norm, config.width)
        self.head = zero_linear(config.width, config.patch_size**2 * config.channels)

    def forward(self, image: Tensor, s: Tensor, time: Tensor) -> Tensor:  # (B, L, D) -> (B, c, H, W)
        pixels = self.head(self.norm(s)).unflatten(-1, (-1, self.config.channels))  # (B, L, P, c)
        return join(pixels, self.config.patch_size, self.config.patch_size, self.config.grid)
