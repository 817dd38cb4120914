"""Frozen networks whose view of an image a network in training is aligned with (`models.alignment`)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.platform.pretrained import open_pretrained

KINDS = {"dinov2": "AutoModel", "dinov2_with_registers": "AutoModel"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue, in [0, 1]


class Dinov2Teacher(nn.Module):
    """DINOv2's patch tokens, after its last norm, of images of any sides.

    The image is resized, bicubic, so that `patch` of its pixels on a side become one patch of the teacher's, of 14:
    with 16, 256 x 256 become 224 x 224 and 16 x 16 tokens, as in the paper. A side that `patch` does not divide has as
    many tokens as is nearest. Positions are interpolated for the grid, as transformers does it; the reference code of
    DINOv2 adds 0.1 to the sides of the grid first, which moves them by a tenth of a token at most.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, patch: int) -> None:
        super().__init__()
        config: Any = network.config
        self.network = network.eval().requires_grad_(False)
        self.width: int = config.hidden_size
        self.patch, self.own_patch = patch, int(config.patch_size)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:  # (B, 1 or 3, H, W) in [-1, 1] -> (B, rows, columns, E)
        """Computes in the type of its weights, or under the autocast that the caller is in."""
        rows, columns = (max(1, round(side / self.patch)) for side in images.shape[2:])
        colours = ((images.float() + 1) / 2 - self.mean) / self.std  # (B, 3, H, W)
        resized = F.interpolate(colours, (rows * self.own_patch, columns * self.own_patch), mode="bicubic")
        tokens = self.network(pixel_values=resized).last_hidden_state  # (B, 1 + registers + patches, E)
        return tokens[:, -rows * columns :].unflatten(1, (rows, columns))


def open_teacher(name: str, patch: int, dtype: torch.dtype = torch.float32) -> Dinov2Teacher:
    """A DINOv2 from a folder, or by its name on the hub, such as facebook/dinov2-base.

    Raises ValueError, in one line, where it cannot be loaded (see `open_pretrained`).
    """
    return Dinov2Teacher(open_pretrained("alignment.teacher", name, KINDS, dtype), patch)
