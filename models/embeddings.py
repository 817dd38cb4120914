"""Time, text, and where a token lies: vectors that are added, and angles that turn queries and keys.

B batch   T tokens   D width   E width of an encoder's tokens
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unlatent.models.layout import split
from unlatent.models.modulation import RMSNorm

ROPE_EXTENT = 16.0  # positions of patches run from 0 to this on both sides of every grid, ends included
ROPE_BASE = 10_000.0
TIME_FREQUENCIES = 128
TIME_PERIOD = 10.0  # slowest over fastest frequency


class TimeEmbedding(nn.Module):
    """A vector for the flow's time, which is multiplied by `scale` first."""

    frequencies: Tensor

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        widen, mix = nn.Linear(2 * TIME_FREQUENCIES, width), nn.Linear(width, width)
        nn.init.normal_(widen.weight, std=0.02)
        nn.init.normal_(mix.weight, std=0.02)
        self.mlp = nn.Sequential(widen, nn.SiLU(), mix)
        self.register_buffer("frequencies", scale * time_frequencies().float(), persistent=False)

    def forward(self, t: Tensor) -> Tensor:  # (B,) -> (B, D)
        angle = t.float()[:, None] * self.frequencies  # (B, 128)
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1))


def time_frequencies() -> Tensor:  # (128,), float64
    steps = torch.arange(TIME_FREQUENCIES, dtype=torch.float64)
    return torch.exp(-math.log(TIME_PERIOD) * steps / TIME_FREQUENCIES)


def label_embedding(classes: int, width: int) -> nn.Embedding:
    """A vector for every class, and a last one for no class."""
    embedding = nn.Embedding(classes + 1, width)
    nn.init.normal_(embedding.weight, std=0.02)
    return embedding


class TextEmbedding(nn.Module):
    """An encoder's tokens at the width of the network, each with a vector for its place in the text."""

    def __init__(self, encoder_width: int, width: int, tokens: int) -> None:
        super().__init__()
        self.project = nn.Linear(encoder_width, width)
        self.norm = RMSNorm(width, eps=1e-6)
        self.position = nn.Parameter(torch.randn(tokens, width))

    def forward(self, tokens: Tensor) -> Tensor:  # (B, T, E) -> (B, T, D)
        text = self.norm(self.project(tokens))
        return text + self.position[: text.shape[1]].to(text.dtype)


class PositionTable(nn.Module):
    """The positions of a grid's tokens: kept for the size that is asked for most, worked out for any other."""

    table: Tensor

    def __init__(self, make: Callable[[int, int, torch.device | None], Tensor], rows: int, columns: int) -> None:
        super().__init__()
        self.make, self.size = make, (rows, columns)
        self.register_buffer("table", make(rows, columns, None), persistent=False)

    def forward(self, rows: int, columns: int) -> Tensor:
        return self.table if (rows, columns) == self.size else self.make(rows, columns, self.table.device)


def sincos_positions(
    width: int, rows: int, columns: int, device: torch.device | None = None
) -> Tensor:  # (width, rows, columns)
    """A fixed vector for every cell of a grid: half of it tells the column, half the row."""
    frequencies = ROPE_BASE ** -(torch.arange(width // 4, device=device) / (width // 4))
    column = (torch.arange(columns, device=device) * frequencies[:, None])[:, None, :].expand(-1, rows, -1)
    row = (torch.arange(rows, device=device) * frequencies[:, None])[:, :, None].expand(-1, -1, columns)
    return torch.cat([column.sin(), column.cos(), row.sin(), row.cos()])


def sincos_tokens(
    width: int, patch: int, window: int, rows: int, columns: int, device: torch.device | None = None
) -> Tensor:  # (1, L, P, width)
    """`sincos_positions` of an image's pixels, cut into patches and windows as `split` cuts the image."""
    return split(sincos_positions(width, rows, columns, device)[None], patch, window)


def rope_tokens(
    head_width: int, block: int, rows: int, columns: int, device: torch.device | None = None
) -> Tensor:  # (2, T, 1, head_width / 2)
    """The cosines and sines by which `rotate` turns each pair of a head's values, `block` x `block` tokens at a time.

    Pairs follow the column and the row by turns, at ever lower frequencies.
    """
    frequencies = ROPE_BASE ** -(torch.arange(0, head_width, 4, device=device) / head_width)
    column = torch.linspace(0, ROPE_EXTENT, columns, device=device) * frequencies[:, None]
    row = torch.linspace(0, ROPE_EXTENT, rows, device=device) * frequencies[:, None]
    both = [column[:, None, :].expand(-1, rows, -1), row[:, :, None].expand(-1, -1, columns)]
    angle = torch.stack(both, dim=1).flatten(0, 1)  # (head_width / 2, rows, columns)
    return split(torch.stack([angle.cos(), angle.sin()]), block, 1).flatten(1, 2).unsqueeze(2)


def rope_line(head_width: int, tokens: int) -> Tensor:  # (2, T, 1, head_width / 2)
    """The same for a text, whose tokens lie one step apart."""
    frequencies = ROPE_BASE ** -(torch.arange(0, head_width, 2) / head_width)
    angle = (torch.arange(tokens)[:, None] * frequencies)[:, None]
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, rope: Tensor) -> Tensor:  # (B, T, heads, head_width), (2, T, 1, head_width / 2)
    """Turns queries or keys so that their products depend on how far apart the tokens lie.

    A pair is a value of the first half of a head and its counterpart in the second. Reckoned in float32.
    """
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)
    turned = [torch.addcmul(first * cos, second, sin, value=-1), torch.addcmul(second * cos, first, sin)]
    return torch.cat(turned, dim=-1).to(x.dtype)
