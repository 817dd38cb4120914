"""The batches that a worker trains on: in the order of `data_order`, decoded here or by tasks of Ray.

Both ways read windows of positions, which are the same however many workers share them, and give the same pixels.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.models.condition import Condition
from unlatent.platform.conditions import Classes, Conditions
from unlatent.platform.data_order import Indices, Order, share_of
from unlatent.platform.image_split import ImageSplit

CLASSES = Classes()
PART_BYTES = 32 << 20  # of decoded images that are handed on together

Part = tuple[NDArray[Any], ...]  # images uint8 (n, C, H, W), and what is said of each


def batches(
    split: ImageSplit,
    order: Order,
    positions: range,
    rank: int,
    world: int,
    decoders: int,
    conditions: Conditions = CLASSES,
) -> Iterator[tuple[Tensor, Condition]]:  # uint8 (B, C, H, W), of the same batch
    """A worker's share of the batches that begin at `positions`, whose step is the size of a batch.

    Raises ValueError, naming the file, for an image that cannot be read.
    """
    last = positions.start + len(positions) * positions.step
    windows = windows_of(order, positions.start, last, rank, world)
    if decoders:
        from unlatent.platform.streaming import stream  # brings Ray

        parts = stream(split, conditions, windows, decoders)
    else:
        parts = (part for window in windows for part in read_window(split, conditions, window, None))
    for images, *said in rebatched(parts, positions.step // world):
        yield images, conditions.condition(said)


def windows_of(order: Order, first: int, last: int, rank: int, world: int) -> Iterator[Indices]:
    """What a worker reads for its positions from `first` to `last`, without: by windows that are read together."""
    while first < last:
        end = min(last, (first // order.window + 1) * order.window)
        if len(positions := share_of(first, end, rank, world)):
            yield order.indices(positions)
        first = end


def read_window(split: ImageSplit, conditions: Conditions, indices: Indices, threads: int | None) -> Iterator[Part]:
    """Some images with what is said of them, in order."""
    size = max(1, PART_BYTES // (split.pixels.image_bytes + conditions.row_bytes))
    parts, sides = zip(*split.parts(indices, size), strict=True)
    for part, images in zip(parts, split.pixels.read_parts(parts, sides, threads), strict=True):
        yield images, *conditions.read(split, part)


def rebatched(parts: Iterator[Part], size: int) -> Iterator[tuple[Tensor, ...]]:
    """The same images in batches of one size. A rest that fills none is left out."""
    pieces: list[Part] = []
    missing = size
    for part in parts:
        start, length = 0, len(part[0])
        while start < length:
            piece = tuple(each[start : start + missing] for each in part)
            pieces.append(piece)
            start, missing = start + missing, missing - len(piece[0])
            if not missing:
                yield tuple(torch.from_numpy(np.concatenate(each)) for each in zip(*pieces, strict=True))
                pieces, missing = [], size
