"""Which image comes when: the order follows from (seed, position) alone, whoever asks for it.

A position counts the images of a run from its first. A worker takes every `world`-th position of each batch.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LANES = 8  # that an epoch of chunks is dealt to; as many workers, or fewer, read no chunk twice

Indices = NDArray[np.int64]


def mix(seed: int, images_seen: int, rank: int) -> int:
    """One seed out of three numbers, with no two positions sharing one by an addition that meets."""
    digest = hashlib.blake2b(f"{seed}/{images_seen}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Order(Protocol):
    """Leads from positions of a run to indices of a split; every epoch has each index once."""

    @property
    def window(self) -> int:
        """Positions that are best read together, counted from any multiple of it."""

    def indices(self, positions: Indices) -> Indices: ...


@dataclass
class FullShuffle:
    """Each epoch is a permutation of the whole: for images that can be read one by one."""

    length: int
    seed: int
    window: int = 256

    def __post_init__(self) -> None:
        self.epoch, self.permutation = -1, np.empty(0, dtype=np.int64)

    def indices(self, positions: Indices) -> Indices:
        epochs, places = np.divmod(positions, self.length)
        found = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            found[chosen] = self.permutation_of(int(epoch))[places[chosen]]
        return found

    def permutation_of(self, epoch: int) -> Indices:
        if epoch != self.epoch:
            self.epoch = epoch
            self.permutation = np.random.default_rng([self.seed, epoch]).permutation(self.length)
        return self.permutation


@dataclass
class ChunkShuffle:
    """Chunks in an order of each epoch's own, then images within a window of them: for images that lie in shards.

    Position g belongs to lane g mod LANES. In each epoch the chunks, permuted, are one long row, of which every lane
    has a stretch of its own, as long as the epoch has positions of that lane. Within a stretch, images change places
    with those of the same window. So a window of positions touches few chunks, a worker that has a lane to itself
    reads no other's chunks, and nothing of it depends on how many workers there are.
    """

    lengths: Indices  # images in each chunk; the chunks lie one after another in the split
    seed: int
    window: int = 4096  # positions, over all lanes; a multiple of LANES

    def __post_init__(self) -> None:
        assert self.window % LANES == 0
        self.epoch, self.row = -1, np.empty(0, dtype=np.int64)

    @cached_property
    def length(self) -> int:
        return int(self.lengths.sum())

    def indices(self, positions: Indices) -> Indices:
        found = np.empty(len(positions), dtype=np.int64)
        turns, lanes = np.divmod(positions, LANES)
        keys = np.stack([positions // self.length, lanes, turns // (self.window // LANES)])
        places, inverse = np.unique(keys, axis=1, return_inverse=True)
        for number, (epoch, lane, window) in enumerate(places.T.tolist()):
            chosen = inverse == number
            first, stretch = self.stretch(epoch, lane, window)
            found[chosen] = stretch[turns[chosen] - first]
        return found

    def stretch(self, epoch: int, lane: int, window: int) -> tuple[int, Indices]:
        """Indices of a lane's images in a window of an epoch, in order, and the lane's turn at which they begin."""
        begins, ends = turns_before(epoch * self.length, lane), turns_before((epoch + 1) * self.length, lane)
        turns = self.window // LANES
        first, last = max(window * turns, begins), min((window + 1) * turns, ends)
        lanes_before = sum(
            turns_before((epoch + 1) * self.length, each) - turns_before(epoch * self.length, each)
            for each in range(lane)
        )
        place = lanes_before + first - begins
        images = self.row_of(epoch)[place : place + last - first]
        return first, np.random.default_rng([self.seed, epoch, lane, window]).permutation(images)

    def row_of(self, epoch: int) -> Indices:
        """All indices of an epoch, chunk by chunk."""
        if epoch != self.epoch:
            chunks = np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))
            starts = np.cumsum(self.lengths) - self.lengths
            lengths = self.lengths[chunks]
            within = np.arange(self.length) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            self.epoch, self.row = epoch, np.repeat(starts[chunks], lengths) + within
        return self.row


def turns_before(position: int, lane: int) -> int:
    """How many positions below this one belong to a lane."""
    return (position - lane + LANES - 1) // LANES


def share_of(first: int, last: int, rank: int, world: int) -> Indices:
    """A worker's positions among those from `first` up to, and without, `last`."""
    return np.arange(first + (rank - first) % world, last, world)
