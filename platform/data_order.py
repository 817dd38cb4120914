"""Which image comes when: the order follows from (seed, images seen, rank) alone."""

import hashlib
from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from unlatent.platform.datasets import ImageSplit


def mix(seed: int, images_seen: int, rank: int) -> int:
    """One seed out of three numbers, with no two positions sharing one by an addition that meets."""
    digest = hashlib.blake2b(f"{seed}/{images_seen}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class BatchOrder:
    """Indices of a split, one worker's share of a batch at a time, from a position on. Each epoch is a permutation."""

    def __init__(
        self, length: int, seed: int, batch_size: int, positions: range, rank: int = 0, world: int = 1
    ) -> None:
        self.length, self.seed, self.positions = length, seed, positions
        self.share = batch_size // world
        self.offset = rank * self.share
        self.epoch, self.order = -1, np.empty(0, dtype=np.int64)

    def __iter__(self) -> Iterator[list[int]]:
        for first in self.positions:
            mine = first + self.offset
            yield [self.index_at(position) for position in range(mine, mine + self.share)]

    def index_at(self, position: int) -> int:
        epoch, place = divmod(position, self.length)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.length)
        return int(self.order[place])


def batches(split: ImageSplit, order: BatchOrder, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """uint8 images (B, C, H, W) and labels (B,), decoded by so many processes, or in this one for 0."""
    return iter(DataLoader(split, batch_sampler=order, num_workers=workers))
