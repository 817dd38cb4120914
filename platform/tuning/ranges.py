"""Knobs that may be anything between two numbers."""

import math
import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, both included; whole ones where both are whole."""

    low: float
    high: float
    log: bool = False  # drawn evenly in the logarithm

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, generator: random.Random) -> float:
        if self.log:
            value = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        elif self.whole:
            return generator.randint(int(self.low), int(self.high))
        else:
            value = generator.uniform(self.low, self.high)
        return self.tidy(value)

    def tidy(self, value: float) -> float:
        """The number as a trial is named by it: whole, or of four digits."""
        near = round(value) if self.whole else float(f"{value:.4g}")
        return min(max(near, self.low), self.high)


def as_range(path: str, given: Any) -> list[Any] | Range:
    """What a definition gives for a knob: a list of values, or a mapping that is a range.

    Raises ValueError for anything else.
    """
    if isinstance(given, list):
        return given
    form = "[a, b, c] or {low: 1e-4, high: 1e-2, log: true} would do"
    if not isinstance(given, dict) or not {"low", "high"} <= given.keys() <= {"low", "high", "log"}:
        raise ValueError(f"sweep.knobs.{path}={given} is neither a list of values nor a range; {form}")
    low, high, log = given["low"], given["high"], given.get("log", False)
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in (low, high)):
        raise ValueError(f"sweep.knobs.{path}={given}: low and high must be numbers; {form}")
    if not low < high or (log and low <= 0):
        raise ValueError(f"sweep.knobs.{path}={given}: low must be below high, and above 0 for log")
    return Range(low, high, bool(log))
