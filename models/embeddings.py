"""Time, and where a token lies: vectors that are added, and angles that turn queries and keys.

B batch   T tokens   D width
"""

import math

import torch
from torch import Tensor, nn

from unlatent.models.layout import split

ROPE_EXTENT = 16.0  # positions run from 0 to this on both sides of every grid, ends included
TIME_FREQUENCIES = 128
TIME_PERIOD = 10.0  # slowest over fastest frequency; t itself runs from 0 to 1


class TimeEmbedding(nn.Module):
    """A vector for the flow's time."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        widen, mix = nn.Linear(2 * TIME_FREQUENCIES, width), nn.Linear(width, width)
        nn.init.normal_(widen.weight, std=0.02)
        nn.init.normal_(mix.weight, std=0.02)
        self.mlp = nn.Sequential(widen, nn.SiLU(), mix)
        frequencies = torch.exp(-math.log(TIME_PERIOD) * torch.arange(TIME_FREQUENCIES) / TIME_FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:  # (B,) -> (B, D)
        angle = t[:, None] * self.frequencies  # (B, 128)
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1))


def label_embedding(classes: int, width: int) -> nn.Embedding:
    """A vector for every class, and a last one for no class."""
    embedding = nn.Embedding(classes + 1, width)
    nn.init.normal_(embedding.weight, std=0.02)
    return embedding


def sincos_positions(rows: int, columns: int, width: int) -> Tensor:  # (width, rows, columns)
    """A fixed vector for every cell of a grid: half of it tells the column, half the row."""
    frequencies = 10_000 ** -(torch.arange(width // 4) / (width // 4))
    column = (torch.arange(columns) * frequencies[:, None])[:, None, :].expand(-1, rows, -1)
    row = (torch.arange(rows) * frequencies[:, None])[:, :, None].expand(-1, -1, columns)
    return torch.cat([column.sin(), column.cos(), row.sin(), row.cos()])


def rope_table(rows: int, columns: int, head_width: int) -> Tensor:  # (2, head_width, rows, columns)
    """The cosine and the signed sine by which `rotate` turns each value of a head.

    Values turn in neighbouring pairs, which follow the column and the row by turns, at ever lower frequencies.
    """
    frequencies = 10_000 ** -(torch.arange(0, head_width, 4) / head_width)
    column = (torch.linspace(0, ROPE_EXTENT, columns) * frequencies[:, None])[:, None, :].expand(-1, rows, -1)
    row = (torch.linspace(0, ROPE_EXTENT, rows) * frequencies[:, None])[:, :, None].expand(-1, -1, columns)
    angle = torch.stack([column, row], dim=1).flatten(0, 1)  # (head_width / 2, rows, columns)
    cos = torch.stack([angle.cos(), angle.cos()], dim=1).flatten(0, 1)
    sin = torch.stack([-angle.sin(), angle.sin()], dim=1).flatten(0, 1)
    return torch.stack([cos, sin])


def rope_tokens(size: int, block: int, head_width: int) -> Tensor:  # (2, T, 1, head_width)
    """`rope_table` of a square grid, token after token, `block` x `block` tokens at a time."""
    return split(rope_table(size, size, head_width), block, 1).flatten(1, 2).unsqueeze(2)


def rotate(x: Tensor, rope: Tensor) -> Tensor:  # (B, T, heads, head_width), (2, T, 1, head_width)
    """Turns queries or keys so that their products depend on how far apart the tokens lie."""
    cos, sin = rope
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return torch.addcmul(x * cos, swapped, sin)
