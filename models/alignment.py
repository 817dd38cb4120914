"""Draws the tokens of a patch block towards what a frozen teacher sees in the clean image.

REPA, representation alignment (Yu et al. 2024, arXiv 2410.06940). The paper of PixelDiT trains with it throughout.

B batch   C channels   H, W image   L patches per image   D width   E width of the teacher
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.models.condition import Condition
from unlatent.models.config import require_at_least
from unlatent.models.network import PixelTransformer

Grid = tuple[int, int]  # rows and columns


class Teacher(Protocol):
    """Any frozen network that tells what is where in an image."""

    width: int

    def __call__(self, images: Tensor) -> Tensor:  # (B, C, H, W) in [-1, 1] -> (B, rows, columns, E)
        ...


@dataclass(kw_only=True)
class AlignmentConfig:
    """The paper's settings, for its class-conditional networks; off until a teacher is named."""

    teacher: str | None = None  # a folder with a DINOv2, or its name on the hub; None: no alignment
    teacher_patch: int = 16  # pixels of the image on a side, for one of the teacher's tokens
    weight: float = 0.5  # beside the flow's loss; 0: no alignment
    block: int = 8  # whose tokens are aligned; the first is 1
    hidden_width: int | None = None  # of the projector; None: the model's; 2048 in the paper's text networks

    def __post_init__(self) -> None:
        for name in ("teacher_patch", "block", "hidden_width"):
            value = getattr(self, name)
            if value is not None:
                require_at_least(1, f"alignment.{name}", value)
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"alignment.weight={self.weight} is not a finite number of 0 or more; 0 means none")

    @property
    def active(self) -> bool:
        return self.teacher is not None and self.weight > 0

    def require_block(self, patch_depth: int) -> None:
        """ValueError if a network of `patch_depth` patch blocks does not have the one to be aligned."""
        if self.active and self.block > patch_depth:
            raise ValueError(
                f"alignment.block={self.block} is above patch_depth={patch_depth}; "
                f"{patch_depth} or less would do, or teacher=null for no alignment"
            )


class Projector(nn.Sequential):
    """From a block's tokens to the teacher's: (B, L, D) -> (B, L, E). Trained with the network, then thrown away."""

    def __init__(self, width: int, hidden_width: int, teacher_width: int) -> None:
        super().__init__(
            nn.Linear(width, hidden_width),
            nn.SiLU(),
            nn.Linear(hidden_width, hidden_width),
            nn.SiLU(),
            nn.Linear(hidden_width, teacher_width),
        )


class AlignedNetwork(nn.Module):
    """A network and its projector as one module, so that both are wrapped, called and trained together."""

    def __init__(self, network: PixelTransformer, projector: Projector, block: int) -> None:
        super().__init__()
        self.network, self.projector, self.block = network, projector, block

    def forward(self, x: Tensor, t: Tensor, condition: Condition) -> tuple[Tensor, Tensor, Grid]:
        """The velocity (B, C, H, W), projected tokens (B, L, E), and the grid on which those stand."""
        velocity, tokens = self.network(x, t, condition, features=self.block)
        rows, columns = (side // self.network.config.patch_size for side in x.shape[2:])
        return velocity, self.projector(tokens), (rows, columns)


def alignment_loss(projected: Tensor, grid: Grid, features: Tensor) -> Tensor:  # (B, L, E), (B, rows, columns, E)
    """1 - cosine, mean over the teacher's tokens, for every image: (B,), 0 to 2, in float32 also under autocast.

    `grid` says where the L projected tokens stand. The teacher gets no gradient.
    """
    matched = match_grid(projected, grid, (features.shape[1], features.shape[2]))
    cosine = F.cosine_similarity(matched.float(), features.detach().flatten(1, 2).float(), dim=-1)  # (B, L')
    return (1 - cosine).mean(dim=1)


def match_grid(tokens: Tensor, grid: Grid, target: Grid) -> Tensor:  # (B, L, E) -> (B, rows * columns of target, E)
    """Tokens of one grid as tokens of another: averaged if that has fewer, else drawn out bilinearly. In float32.

    Both are products with a matrix for each axis. PyTorch's own functions would do, but on a GPU their gradients may
    differ from run to run.
    """
    if grid == target:
        return tokens.float()
    fewer = target[0] * target[1] < grid[0] * grid[1]
    of_rows, of_columns = (
        resizing(*sides, fewer=fewer, device=tokens.device) for sides in zip(grid, target, strict=True)
    )
    with torch.autocast(tokens.device.type, enabled=False):
        cells = tokens.float().unflatten(1, grid)  # (B, rows, columns, E)
        return torch.einsum("rh,bhwe,cw->brce", of_rows, cells, of_columns).flatten(1, 2)


def resizing(before: int, after: int, fewer: bool, device: torch.device) -> Tensor:  # (after, before)
    """How much of each of `before` cells goes into each of `after`."""
    each = torch.eye(before, device=device)[None]
    resized = F.adaptive_avg_pool1d(each, after) if fewer else F.interpolate(each, after, mode="linear")
    return resized[0].T
