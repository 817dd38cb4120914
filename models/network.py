"""PixelDiT (Yu et al. 2025, arXiv 2511.20645): a diffusion transformer on raw pixels, at two levels.

The patch level decides what is where, and the pixel level draws it.

B batch   c channels   H, W image   L patches per image   D width
"""

import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.decoders import PatchDecoder, PixelDecoder
from unlatent.models.embeddings import TimeEmbedding, label_embedding, rope_tokens, sincos_positions
from unlatent.models.layout import patch_vectors
from unlatent.models.patch_block import PatchBlock

SHORTEST_REST = 0.05  # of the way from noise to data, over which predicted data are turned into a velocity


class PixelTransformer(nn.Module):
    """The velocity (data - noise) of a noisy image. A new network that predicts velocities says 0."""

    position: Tensor | None
    rope: Tensor | None

    def __init__(self, config: PixelTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.null_label = config.classes
        self.embed_patch = nn.Linear(config.channels * config.patch_size**2, config.width)
        nn.init.xavier_uniform_(self.embed_patch.weight)
        nn.init.zeros_(self.embed_patch.bias)
        self.embed_time = TimeEmbedding(config.width)
        self.embed_label = label_embedding(config.classes, config.width)
        position = rope = None
        if config.position == "rope":
            rope = rope_tokens(config.grid, 1, config.width // config.heads)
        else:
            position = sincos_positions(config.grid, config.grid, config.width).flatten(1).T  # (L, D)
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("rope", rope, persistent=False)
        self.patch_blocks = nn.ModuleList(PatchBlock(config) for _ in range(config.patch_depth))
        self.decoder = PixelDecoder(config) if config.pixel_depth else PatchDecoder(config)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:  # (B, c, H, W), (B,), (B,) -> (B, c, H, W)
        time = self.embed_time(t)[:, None]  # (B, 1, D)
        condition = F.silu(time + self.embed_label(label)[:, None])
        s = self.embed_patch(patch_vectors(x, self.config.patch_size))  # (B, L, D)
        if self.position is not None:
            s = s + self.position.to(s.dtype)
        for block in self.patch_blocks:
            s = block(s, condition, self.rope)
        output = self.decoder(x, s, time)
        if self.config.prediction == "data":
            rest = (1 - t).clamp(min=SHORTEST_REST)[:, None, None, None]
            output = (output - x) / rest
        return output
