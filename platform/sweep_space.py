"""The space that a sweep searches: knobs and their values, and how trials are chosen from it."""

import itertools
import json
import random
from dataclasses import dataclass, field
from typing import Any

from unlatent.platform.metrics import DIRECTIONS

SEARCHES = ("grid", "random")
SCHEDULERS = ("fixed", "asha")


@dataclass(kw_only=True)
class SweepConfig:
    """A definition, usually a file in `sweeps/`."""

    name: str = ""  # of its rows, the file's name unless given; a changed definition needs another
    question: str = ""  # what the sweep is to decide
    knobs: dict[str, list[Any]] = field(default_factory=dict)  # config path -> values
    overrides: list[str] = field(default_factory=list)  # the same for every trial
    search: str = "grid"  # every combination, or `random`: as many as `samples`
    samples: int = 16
    seed: int = 0  # of the random search
    scheduler: str = "fixed"  # every trial sees train.total_images; `asha` stops the worse ones at rungs
    rung_images: int | None = None  # asha: the first rung; each next is reduction × as far
    reduction: int = 2  # asha: one in so many goes on at a rung
    metric: str = "fid"
    max_concurrent: int | None = None  # as many as the cluster holds unless given

    def __post_init__(self) -> None:
        for name, choices in (("search", SEARCHES), ("scheduler", SCHEDULERS), ("metric", DIRECTIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"sweep.{name}={getattr(self, name)!r} is not one of {', '.join(choices)}")
        if not self.knobs:
            raise ValueError("sweep.knobs is empty; name at least one config path and its values")
        for path, values in self.knobs.items():
            if not values:
                raise ValueError(f"sweep.knobs.{path} has no values")
        if self.samples < 1 or self.reduction < 2:
            raise ValueError(f"sweep.samples={self.samples} is below 1, or sweep.reduction={self.reduction} below 2")

    @property
    def direction(self) -> str:
        """`min` where less of the metric is better, `max` where more is."""
        return DIRECTIONS[self.metric]


def combinations(config: SweepConfig) -> list[dict[str, Any]]:
    """Every combination of the knobs' values, the last knob varying fastest."""
    return [dict(zip(config.knobs, values, strict=True)) for values in itertools.product(*config.knobs.values())]


def choose(config: SweepConfig, candidates: list[Any]) -> list[Any]:
    """The candidates that become trials: all, or `samples` of them drawn without repetition from the seed."""
    if config.search == "grid" or config.samples >= len(candidates):
        return candidates
    return random.Random(config.seed).sample(candidates, config.samples)


def as_overrides(knobs: dict[str, Any]) -> list[str]:
    """The knobs as the command line would set them."""
    return [f"{path}={json.dumps(value)}" for path, value in knobs.items()]
