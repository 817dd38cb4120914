"""Two models' backgrounds at the same edit success, and what encode and decode alone cost of it.

An edit that does nothing keeps all of the background, so backgrounds are compared at a level of success that both
models reach: the smaller of their best success rates. Of each model's settings that reach it, the one with the least
background MSE stands for the model. That is chosen on the pairs it is measured on, which flatters the model that has
more such settings; so what the ratio lies between is told by choosing anew in every resample of the pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlatent.platform.edit_study.attempts import FREE, MASKED, RECONSTRUCTED
from unlatent.platform.edit_study.study import Outcome
from unlatent.platform.generation import LoadedModel
from unlatent.platform.intervals import Interval, Values, bootstrap, divided, ratio
from unlatent.platform.scenes import CLASSES

CHANCE = 1 / len(CLASSES)  # of a class, where nothing at all is drawn


@dataclass(frozen=True)
class Group:
    """What came of one subject's attempts."""

    name: str
    outcomes: list[Outcome]

    @property
    def through(self) -> str:
        return f"through {self.name}"

    @property
    def model(self) -> LoadedModel:
        return self.outcomes[0].attempt.subject.model


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models' chosen edits in one way."""

    first: Outcome
    second: Outcome
    level: float  # success rate that both reach, or more
    background: Interval  # MSE of the first as a share of the second's, over pairs that have both; nan if that is 0

    def as_json(self) -> dict[str, Any]:
        """What is unknown is null."""
        ends = {"value": self.background.value, "low": self.background.low, "high": self.background.high}
        return {
            "level": self.level,
            "first_edit_id": self.first.attempt.id,
            "second_edit_id": self.second.attempt.id,
            "background_mse_ratio": {name: value if np.isfinite(value) else None for name, value in ends.items()},
        }


def compare(first: Sequence[Outcome], second: Sequence[Outcome], way: str) -> Comparison | None:
    """None where one of them never succeeds more often than by chance: then there is no level to compare at."""
    mine, others = in_way(first, way), in_way(second, way)
    lower = min(best(mine), best(others), key=lambda outcome: outcome.findings.success.value)
    if not lower.findings.success.low > CHANCE:
        return None
    level = lower.findings.success.value
    chosen = [least_background(outcomes, level) for outcomes in (mine, others)]
    return Comparison(
        first=chosen[0],
        second=chosen[1],
        level=level,
        background=background_ratio(mine, others, chosen),
    )


def background_ratio(mine: Sequence[Outcome], others: Sequence[Outcome], chosen: Sequence[Outcome]) -> Interval:
    """Of sums over pairs. In each resample of the pairs, level and settings are chosen as they were on all of them."""
    errors = [outcome.measured.background_errors for outcome in chosen]
    value = float(errors[0].sum() / errors[1].sum()) if errors[1].any() else math.nan

    def resampled(pairs: NDArray[np.int64]) -> Values:  # (R, N) -> (R,)
        rates, sums = zip(*(over_pairs(outcomes, pairs) for outcomes in (mine, others)), strict=True)
        level = np.minimum(rates[0].max(axis=0), rates[1].max(axis=0))
        least = [np.where(rate >= level, each, np.inf).min(axis=0) for rate, each in zip(rates, sums, strict=True)]
        return divided(*least)

    return bootstrap(value, len(errors[0]), chosen[0].attempt.seed, resampled)


def over_pairs(outcomes: Sequence[Outcome], pairs: NDArray[np.int64]) -> tuple[Values, Values]:
    """Of each of S settings, in each resample (R, N): success rate, and the sum of the background's errors (S, R)."""
    rates = [outcome.succeeded[pairs].mean(axis=1) for outcome in outcomes]
    return np.stack(rates), np.stack([outcome.measured.background_errors[pairs].sum(axis=1) for outcome in outcomes])


def in_way(outcomes: Sequence[Outcome], way: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.attempt.way == way]


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """The one that succeeds most often; of equal ones, that which keeps most of the background."""
    return max(outcomes, key=lambda each: (each.findings.success.value, -each.findings.background_mse.value))


def least_background(outcomes: Sequence[Outcome], level: float) -> Outcome:
    """Of those that succeed so often, the one that changes the background least."""
    reaching = [outcome for outcome in outcomes if outcome.findings.success.value >= level]
    return min(reaching, key=lambda outcome: outcome.findings.background_mse.value)


def reconstruction(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Encode and decode alone, of a model that has an autoencoder."""
    return next(iter(in_way(outcomes, RECONSTRUCTED)), None)


def share_of_reconstruction(alone: Outcome, edited: Outcome) -> Interval:
    """Background MSE of encode and decode alone, as a share of an edit's."""
    return ratio(alone.measured.background_errors, edited.measured.background_errors, edited.attempt.seed)


@dataclass(frozen=True)
class Answer:
    """All that was measured, and the first subject compared with each of the others."""

    groups: list[Group]
    compared: dict[tuple[str, str], Comparison | None]  # by the other's name and the way

    @property
    def first(self) -> Group:
        return self.groups[0]

    @property
    def others(self) -> list[Group]:
        return self.groups[1:]

    def in_comparisons(self, way: str) -> list[Outcome]:
        """The edits that are compared."""
        found = [each for (_, of), each in self.compared.items() if each and of == way]
        return [outcome for each in found for outcome in (each.first, each.second)]

    def shown(self, group: Group, way: str) -> Outcome:
        """The edits that stand for a subject: those that are compared, else those that succeed most often."""
        for (name, of), found in self.compared.items():
            if found and of == way and group.name in (self.first.name, name):
                return found.first if group.name == self.first.name else found.second
        return best(in_way(group.outcomes, way))


def answer(outcomes: Sequence[Outcome]) -> Answer:
    """By subject, in the order given."""
    names = dict.fromkeys(outcome.name for outcome in outcomes)
    groups = [Group(name, [outcome for outcome in outcomes if outcome.name == name]) for name in names]
    return Answer(
        groups,
        {
            (other.name, way): compare(groups[0].outcomes, other.outcomes, way)
            for other in groups[1:]
            for way in (FREE, MASKED)
        },
    )
