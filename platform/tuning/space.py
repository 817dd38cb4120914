"""The space that a sweep searches, as its definition gives it: knobs, their values, and how trials are chosen."""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from unlatent.platform.metrics import DIRECTIONS
from unlatent.platform.refusals import UnknownSettingError
from unlatent.platform.tuning.ranges import Range, as_range

SEARCHES = ("grid", "random", "optuna")
SCHEDULERS = ("fixed", "asha", "pbt")
COSTS = ("forward_gflops", "parameters", "activation_bytes")  # of a network, known before it is trained

Point = dict[str, Any]  # knob -> value

# Settings of training that may change while a run goes on: what a population's members can be told anew.
CHANGEABLE = {
    *("train.learning_rate", "train.beta2", "train.weight_decay", "train.clip_norm", "train.label_drop", "train.flip"),
    *("train.time_mean", "train.time_std", "train.shift", "train.alignment.weight"),
}

VARIANT = "variant"  # the knob that stands for one of several groups of settings


@dataclass(kw_only=True)
class SweepConfig:
    """A definition, usually a file in `sweeps/`."""

    name: str = ""  # of its rows, the file's name unless given; a changed definition needs another
    question: str = ""  # what the sweep is to decide
    knobs: dict[str, Any] = field(default_factory=dict)  # config path -> values, or {low: 1e-4, high: 1e-2, log: true}
    variants: dict[str, list[str]] = field(default_factory=dict)  # name -> overrides that go together: one more knob
    conditions: list[str] = field(default_factory=list)  # on knobs by their last names, as `window <= patch_size / 2`
    overrides: list[str] = field(default_factory=list)  # the same for every trial
    search: str = "grid"  # every combination; `random` or `optuna`: so many as `samples`
    samples: int = 16  # points
    seed: int = 0  # of the search
    seeds: int = 1  # trials of each point, which differ in train.seed alone
    scheduler: str = "fixed"  # every trial to its end; `asha` stops the worse ones at rungs; `pbt` replaces them
    rung_images: int | None = None  # asha: the first rung; each next is `reduction` times as far. pbt: every so many
    rung_gflops: float | None = None  # the same where the budget is in GFLOPs
    reduction: int = 2  # asha: one in so many goes on at a rung
    total_gflops: float | None = None  # training GFLOPs of every trial, instead of the images of train.total_images
    metric: str = "fid"
    against: str | None = None  # a second objective, of which less is better: a cost, or a metric of that direction
    max_concurrent: int | None = None  # trials at once; as many as the cluster holds unless given

    def __post_init__(self) -> None:
        for name, choices in (("search", SEARCHES), ("scheduler", SCHEDULERS), ("metric", DIRECTIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"sweep.{name}={getattr(self, name)!r} is not one of {', '.join(choices)}")
        for name, least in (("samples", 1), ("seeds", 1), ("reduction", 2), ("max_concurrent", 1)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise ValueError(f"sweep.{name}={getattr(self, name)} is below {least}")
        self._require_knobs()
        self._require_rungs()
        self._require_objectives()
        if self.scheduler == "pbt":
            self._require_population()

    def _require_knobs(self) -> None:
        if not self.knobs and not self.variants:
            raise ValueError("sweep.knobs is empty; name at least one config path and its values")
        for path, values in self.values.items():
            if isinstance(values, Range):
                if self.search == "grid":
                    raise ValueError(f"sweep.knobs.{path} is a range, which sweep.search=random or optuna draws from")
            elif not values:
                raise ValueError(f"sweep.knobs.{path} has no values")
        names = [last_name(path) for path in self.values]
        for name in names:
            if names.count(name) > 1 and self.conditions:
                raise ValueError(f"sweep.conditions cannot tell two knobs whose last name is {name!r} from each other")

    def _require_rungs(self) -> None:
        for name in ("rung_images", "rung_gflops", "total_gflops"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"sweep.{name}={getattr(self, name)} is not above 0")
        unit, other = ("gflops", "images") if self.total_gflops else ("images", "gflops")
        if getattr(self, f"rung_{other}") is not None:
            raise ValueError(f"sweep.rung_{other} is set, and the budget is in {unit}; sweep.rung_{unit} would do")
        if self.total_gflops and self.rung_gflops and self.rung_gflops > self.total_gflops:
            raise ValueError(f"sweep.rung_gflops={self.rung_gflops:g} is above total_gflops={self.total_gflops:g}")
        if self.scheduler != "fixed" and self.seeds > 1:
            raise ValueError(
                f"sweep.scheduler={self.scheduler} ends single trials, so not all sweep.seeds={self.seeds} of a point "
                "would come to their end; sweep.seeds=1 or sweep.scheduler=fixed"
            )

    def _require_objectives(self) -> None:
        if self.against is None:
            return
        known = {*COSTS, *(name for name, direction in DIRECTIONS.items() if direction == "min")} - {self.metric}
        if self.against not in known:
            raise ValueError(f"sweep.against={self.against!r} is not one of {', '.join(sorted(known))}")
        if self.search != "optuna" or self.scheduler != "fixed":
            raise ValueError(
                f"sweep.against={self.against}: two objectives are for sweep.search=optuna with sweep.scheduler=fixed, "
                f"not {self.search} with {self.scheduler}; every report shows quality against cost"
            )

    def _require_population(self) -> None:
        if self.search == "optuna":
            raise ValueError(
                "sweep.scheduler=pbt searches by itself; sweep.search=random or grid gives its first points"
            )
        fixed = [VARIANT] if self.variants else [path for path in self.knobs if path not in CHANGEABLE]
        if fixed:
            raise ValueError(
                f"sweep.knobs.{fixed[0]} cannot change while a run goes on, as sweep.scheduler=pbt would have it; "
                f"{', '.join(sorted(CHANGEABLE))} can"
            )

    @property
    def direction(self) -> str:
        """`min` where less of the metric is better, `max` where more is."""
        return DIRECTIONS[self.metric]

    @property
    def values(self) -> dict[str, list[Any] | Range]:
        """What each knob may be, the variants among them."""
        knobs = {path: as_range(path, given) for path, given in self.knobs.items()}
        return {VARIANT: list(self.variants), **knobs} if self.variants else knobs

    @property
    def turned(self) -> list[str]:
        """The config paths in which trials may differ."""
        settings = [text.split("=")[0] for texts in self.variants.values() for text in texts]
        return list(dict.fromkeys([*self.knobs, *settings]))

    @property
    def is_finite(self) -> bool:
        """Whether its points can be counted."""
        return not any(isinstance(values, Range) for values in self.values.values())

    @property
    def budget(self) -> str:
        """What every trial has as much of."""
        return "training_gflops" if self.total_gflops else "images"


def overrides_of(config: SweepConfig, point: Point) -> list[str]:
    """A point as the command line would set it."""
    variant = config.variants[point[VARIANT]] if VARIANT in point else []
    return [*variant, *as_overrides({path: value for path, value in point.items() if path != VARIANT})]


def replaced(members: int) -> int:
    """How many members of a population end at a rung, unless more fail, for forks of as many others: a quarter."""
    return members // 4


def last_name(path: str) -> str:
    return path.split(".")[-1]


def combinations(config: SweepConfig) -> list[Point]:
    """Every combination of the knobs' values, the last knob varying fastest."""
    lists = [values for values in config.values.values() if not isinstance(values, Range)]
    return [dict(zip(config.values, each, strict=True)) for each in itertools.product(*lists)]


def broken_condition(config: SweepConfig, point: Point) -> str | None:
    """The first of the definition's conditions that a point does not meet.

    Raises UnknownSettingError for a condition that cannot be worked out.
    """
    frame = pd.DataFrame([{last_name(path): value for path, value in point.items()}])
    for condition in config.conditions:
        try:
            met = len(frame.query(condition, engine="python")) == 1
        except (NameError, SyntaxError, TypeError, ValueError, KeyError) as error:
            known = ", ".join(frame.columns)
            raise UnknownSettingError(
                f"sweep.conditions: {condition!r} cannot be worked out of {known}: {error}"
            ) from None
        if not met:
            return condition
    return None


def as_overrides(knobs: Point) -> list[str]:
    """The knobs as the command line would set them; one without a dot is a named choice, as in `model=b`."""
    return [f"{path}={json.dumps(value) if '.' in path else value}" for path, value in knobs.items()]


def described(knobs: Point) -> str:
    return " ".join(f"{path}={value}" for path, value in knobs.items())
