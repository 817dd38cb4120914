"""Aspect-ratio buckets: sizes of about the same area. An image is cropped to the one nearest to it in proportion.

A batch is of one bucket, and which one follows from (seed, position) alone. In an epoch each bucket gives as many
batches as its images fill; those left over wait for the next epoch, so that in the end every image comes equally often.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unlatent.platform.data_order import Indices, Order

Sides = tuple[int, int]  # height and width, in pixels


def step_of_buckets(image_size: int, given: int | None) -> int:
    """Pixels that the sides of buckets are multiples of: an eighth of a square's unless given."""
    return max(1, image_size // 8) if given is None else given


def sides_of_buckets(image_size: int, step: int, max_aspect_ratio: float) -> list[Sides]:
    """Of all buckets: multiples of `step`, of about the area of a square of `image_size`, the tallest first."""
    found = set()
    for long in range(image_size, int(image_size * max_aspect_ratio) + 1, step):
        short = max(step, round(image_size**2 / long / step) * step)
        if long <= max_aspect_ratio * short:
            found |= {(long, short), (short, long)}
    return sorted(found, key=lambda sides: sides[1] / sides[0])


def nearest(sides: Sequence[Sides], images: NDArray[np.int64]) -> NDArray[np.int64]:  # (N, 2) -> (N,)
    """The bucket, by number, of each image: the one that least of it is cut off for."""
    heights, widths = np.array(sides).T
    proportions = np.log(images[:, 1] / images[:, 0])
    return np.abs(proportions[:, None] - np.log(widths / heights)).argmin(axis=1)


@dataclass(frozen=True)
class Buckets:
    """Of a split."""

    sides: list[Sides]
    chosen: NDArray[np.int64]  # the number of each image's

    def members(self) -> list[Indices]:
        """Which images each has."""
        return [np.flatnonzero(self.chosen == number) for number in range(len(self.sides))]


class BucketOrder:
    """Batches of one bucket each, in an order of each epoch's own.

    Batch t of a bucket has its positions t · batch_size and on, in the bucket's own endless order. After e epochs a
    bucket of n images has given ⌊e · n / batch_size⌋ of them.
    """

    def __init__(self, members: list[Indices], orders: list[Order], batch_size: int, seed: int) -> None:
        self.members, self.orders, self.batch_size, self.seed = members, orders, batch_size, seed
        self.lengths = np.array([len(each) for each in members])
        self.window = max(1, max(order.window for order in orders) // batch_size) * batch_size
        self.epoch, self.dealt = -1, np.empty((0, 2), dtype=np.int64)

    def indices(self, positions: Indices) -> Indices:
        found = np.empty(len(positions), dtype=np.int64)
        numbers, places = np.divmod(positions, self.batch_size)
        for number in np.unique(numbers):
            chosen = numbers == number
            bucket, turn = self.batch(int(number))
            within = self.orders[bucket].indices(turn * self.batch_size + places[chosen])
            found[chosen] = self.members[bucket][within]
        return found

    def batch(self, number: int) -> tuple[int, int]:
        """The bucket of a batch of the run, and which of that bucket's batches it is."""
        epoch = number * self.batch_size // int(self.lengths.sum())  # or a later one, for what is left over
        while self.given(epoch + 1).sum() <= number:
            epoch += 1
        bucket, turn = self.deal(epoch)[number - self.given(epoch).sum()]
        return int(bucket), int(turn)

    def given(self, epochs: int) -> NDArray[np.int64]:
        """How many batches each bucket has given after so many epochs."""
        return epochs * self.lengths // self.batch_size

    def deal(self, epoch: int) -> NDArray[np.int64]:  # (batches of the epoch, 2)
        """The bucket and the turn of every batch of an epoch."""
        if epoch != self.epoch:
            first, last = self.given(epoch), self.given(epoch + 1)
            several = np.repeat(np.arange(len(first)), last - first)
            buckets = np.random.default_rng([self.seed, epoch]).permutation(several)
            turns = np.empty_like(buckets)
            for bucket in range(len(first)):
                turns[buckets == bucket] = np.arange(first[bucket], last[bucket])
            self.epoch, self.dealt = epoch, np.stack([buckets, turns], axis=1)
        return self.dealt
