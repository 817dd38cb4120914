"""How sure a number is: 95 % bootstrap intervals over images."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
NORMAL = 1.96  # standard deviations that hold as much of a normal distribution
RESAMPLES = 2000
AT_ONCE = 1 << 22  # weights held in memory

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A number, and what it is between; of one image alone there is nothing between which it could be told to lie."""

    value: float
    low: float
    high: float
    images: int  # that it was taken over

    @property
    def is_known(self) -> bool:
        """Whether it says anything of images other than those measured."""
        return self.images > 1 and not math.isnan(self.low)


def mean(values: Values, seed: int) -> Interval:  # (N,)
    return ratio(values, np.ones_like(values), seed)


def ratio(parts: Values, wholes: Values, seed: int) -> Interval:  # (N,), (N,)
    """Of two sums over images, such as letters read right and all letters. Resamples images, each with both."""
    value = float(parts.sum() / wholes.sum()) if len(parts) and wholes.sum() else math.nan

    def resampled(chosen: NDArray[np.int64]) -> Values:
        return divided(parts[chosen].sum(axis=1), wholes[chosen].sum(axis=1))

    return bootstrap(value, len(parts), seed, resampled)


def divided(parts: Values, wholes: Values) -> Values:
    return parts / np.maximum(wholes, np.finfo(float).tiny)


def bootstrap(value: float, count: int, seed: int, statistic: Callable[[NDArray[np.int64]], Values]) -> Interval:
    """What a number of `count` images lies between, by the same of resamples of them.

    `statistic` is given the images of several resamples (R, count), by their numbers, and returns what each has (R,).
    """
    if count < 2 or math.isnan(value):
        return Interval(value, math.nan, math.nan, count)
    generator, found = np.random.default_rng([seed, count]), []
    for start in range(0, RESAMPLES, rows := max(1, AT_ONCE // count)):
        found.append(statistic(generator.integers(count, size=(min(rows, RESAMPLES - start), count))))
    low, high = np.quantile(np.concatenate(found), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), count)


def proportion(right: Values, of: Values, seed: int) -> Interval:  # (N,), (N,)
    """Of counts. Where Wilson's interval over all that was counted is wider, as where all are right, it is that one."""
    found, count = ratio(right, of, seed), float(of.sum())
    if not found.is_known or not count:
        return found
    spread = NORMAL**2 / count
    centre = (found.value + spread / 2) / (1 + spread)
    reach = NORMAL / (1 + spread) * math.sqrt(found.value * (1 - found.value) / count + spread / (4 * count))
    return Interval(
        found.value, max(0.0, min(found.low, centre - reach)), min(1.0, max(found.high, centre + reach)), found.images
    )
