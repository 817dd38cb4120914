"""The batches that a worker trains on: in the order of `data_order`, decoded here or by workers of Ray Data.

Both ways read windows of positions, which are the same however many workers share them, and give the same pixels.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.platform.data_order import Indices, Order, share_of
from unlatent.platform.image_split import ImageSplit

PART_BYTES = 32 << 20  # of decoded images that are handed on together

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]  # images (n, C, H, W), labels (n,)


def batches(
    split: ImageSplit, order: Order, positions: range, rank: int, world: int, decoders: int
) -> Iterator[tuple[Tensor, Tensor]]:  # uint8 (B, C, H, W), labels (B,)
    """A worker's share of the batches that begin at `positions`, whose step is the size of a batch.

    Raises ValueError, naming the file, for an image that cannot be read.
    """
    last = positions.start + len(positions) * positions.step
    windows = windows_of(order, positions.start, last, rank, world)
    if decoders:
        from unlatent.platform.streaming import stream  # brings Ray

        parts = stream(split, windows, decoders)
    else:
        parts = (part for window in windows for part in read_window(split, window, None))
    return rebatched(parts, positions.step // world)


def windows_of(order: Order, first: int, last: int, rank: int, world: int) -> Iterator[Indices]:
    """What a worker reads for its positions from `first` to `last`, without: by windows that are read together."""
    while first < last:
        end = min(last, (first // order.window + 1) * order.window)
        if len(positions := share_of(first, end, rank, world)):
            yield order.indices(positions)
        first = end


def read_window(split: ImageSplit, indices: Indices, threads: int | None) -> Iterator[Part]:
    """Some images with their labels, in order."""
    parts, sides = zip(*split.parts(indices, max(1, PART_BYTES // split.pixels.image_bytes)), strict=True)
    for part, images in zip(parts, split.pixels.read_parts(parts, sides, threads), strict=True):
        yield images, split.labels[part]


def rebatched(parts: Iterator[Part], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same images in batches of one size. A rest that fills none is left out."""
    pieces: list[Part] = []
    missing = size
    for images, labels in parts:
        start = 0
        while start < len(labels):
            piece = slice(start, start + missing)
            pieces.append((images[piece], labels[piece]))
            start, missing = start + missing, missing - len(labels[piece])
            if not missing:
                together = (torch.from_numpy(np.concatenate(each)) for each in zip(*pieces, strict=True))
                yield next(together), next(together)
                pieces, missing = [], size
