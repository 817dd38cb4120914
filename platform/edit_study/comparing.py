"""Two models' backgrounds at the same edit success, and what encode and decode alone cost of it.

An edit that does nothing keeps all of the background, so backgrounds are compared at a level of success that both
models reach: the smaller of their best success rates. Settings are few, and none need lie at that level; but a part of
the images can be edited with one and the rest with another, which succeeds as often, and changes as much, as the two do
by their shares. Of all such mixtures of two that reach the level, the one with the least background MSE stands for the
model. So one pair more or less moves the answer a little, and not from one setting to the next. The choice is made on
the pairs it is measured on, which flatters the model that has more settings; what the ratio lies between is told by
choosing anew in every resample of the pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlatent.platform.edit_study.attempts import EDITED, RECONSTRUCTED
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
class Mixture:
    """A share of the images edited with one setting, the rest with another; the same twice where one is enough."""

    rest: Outcome
    part: Outcome
    share: float  # of `part`

    @property
    def shares(self) -> dict[Outcome, float]:
        """Of the settings that have one, the larger first."""
        both = {self.rest: 1 - self.share, self.part: self.share} if self.part is not self.rest else {self.rest: 1.0}
        return dict(sorted(((each, share) for each, share in both.items() if share), key=lambda pair: -pair[1]))

    @property
    def main(self) -> Outcome:
        """With which most images are edited: what is pictured."""
        return next(iter(self.shares))

    @property
    def background_mse(self) -> float:
        return sum(share * outcome.findings.background_mse.value for outcome, share in self.shares.items())

    def as_json(self) -> list[dict[str, Any]]:
        return [{"edit_id": outcome.attempt.id, "share": share} for outcome, share in self.shares.items()]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models' chosen edits in one way."""

    first: Mixture
    second: Mixture
    level: float  # success rate that both are compared at
    background: Interval  # MSE of the first as a share of the second's, over pairs that have both; nan if that is 0

    def as_json(self) -> dict[str, Any]:
        """What is unknown is null."""
        ends = {"value": self.background.value, "low": self.background.low, "high": self.background.high}
        return {
            "level": self.level,
            "first_edits": self.first.as_json(),
            "second_edits": self.second.as_json(),
            "background_mse_ratio": {name: value if np.isfinite(value) else None for name, value in ends.items()},
        }


def compare(first: Sequence[Outcome], second: Sequence[Outcome], way: str) -> Comparison | None:
    """None where one of them never succeeds more often than by chance: then there is no level to compare at."""
    mine, others = in_way(first, way), in_way(second, way)
    lower = min(best(mine), best(others), key=lambda outcome: outcome.findings.success.value)
    if not lower.findings.success.low > CHANCE:
        return None
    level = lower.findings.success.value
    return Comparison(
        first=least_background(mine, level),
        second=least_background(others, level),
        level=level,
        background=background_ratio(mine, others, level),
    )


def background_ratio(mine: Sequence[Outcome], others: Sequence[Outcome], level: float) -> Interval:
    """Of sums over pairs. In each resample of the pairs, level and mixtures are chosen as they were on all of them."""
    seed, count = mine[0].attempt.seed, len(mine[0].attempt.pairs)

    def resampled(pairs: NDArray[np.int64]) -> Values:  # (R, N) -> (R,)
        rates, sums = zip(*(over_pairs(outcomes, pairs) for outcomes in (mine, others)), strict=True)
        reached = np.minimum(rates[0].max(axis=0), rates[1].max(axis=0))
        least = [mixed(rate, each, reached)[0].min(axis=(0, 1)) for rate, each in zip(rates, sums, strict=True)]
        return divided(*least)

    errors = [least_background(outcomes, level).background_mse for outcomes in (mine, others)]
    return bootstrap(errors[0] / errors[1] if errors[1] else math.nan, count, seed, resampled)


def mixed(rates: Values, errors: Values, level: Values) -> tuple[Values, Values]:  # (S, R), (S, R), (R,)
    """What every mixture of two of S settings has of errors at a level of success, and its share of the second.

    Both are (S, S, R). Errors are infinite where the level is not reached. A setting that succeeds more often is taken
    as it is, too.
    """
    lower, upper = rates[:, None], rates[None]
    between = (lower <= level) & (level <= upper) & (lower < upper)
    share = np.where(between, (level - lower) / np.where(between, upper - lower, 1), 0)
    alone = np.eye(len(rates), dtype=bool)[:, :, None] & (lower >= level)
    return np.where(between | alone, (1 - share) * errors[:, None] + share * errors[None], np.inf), share


def over_pairs(outcomes: Sequence[Outcome], pairs: NDArray[np.int64]) -> tuple[Values, Values]:
    """Of each of S settings, in each resample (R, N): success rate, and the sum of the background's errors (S, R)."""
    rates = [outcome.succeeded[pairs].mean(axis=1) for outcome in outcomes]
    return np.stack(rates), np.stack([outcome.measured.background_errors[pairs].sum(axis=1) for outcome in outcomes])


def in_way(outcomes: Sequence[Outcome], way: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.attempt.way == way]


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """The one that succeeds most often; of equal ones, that which keeps most of the background."""
    return max(outcomes, key=lambda each: (each.findings.success.value, -each.findings.background_mse.value))


def least_background(outcomes: Sequence[Outcome], level: float) -> Mixture:
    """Of those that succeed so often, the one that changes the background least."""
    rates = np.array([[outcome.findings.success.value] for outcome in outcomes])
    errors = np.array([[outcome.findings.background_mse.value] for outcome in outcomes])
    found, share = mixed(rates, errors, np.array([level]))
    rest, part = divmod(int(found.argmin()), len(outcomes))
    return Mixture(rest=outcomes[rest], part=outcomes[part], share=float(share[rest, part, 0]))


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

    @property
    def ways(self) -> list[str]:
        return ways_of(self.groups)

    def in_comparisons(self, way: str) -> list[Outcome]:
        """The edits that are compared."""
        found = [each for (_, of), each in self.compared.items() if each and of == way]
        return [outcome for each in found for mixture in (each.first, each.second) for outcome in mixture.shares]

    def shown(self, group: Group, way: str) -> Outcome:
        """The edits that stand for a subject: most of those compared, else those that succeed most often."""
        for (name, of), found in self.compared.items():
            if found and of == way and group.name in (self.first.name, name):
                return (found.first if group.name == self.first.name else found.second).main
        return best(in_way(group.outcomes, way))


def ways_of(groups: Sequence[Group]) -> list[str]:
    """In which every subject's edits were made."""
    return [way for way in EDITED if all(in_way(group.outcomes, way) for group in groups)]


def answer(outcomes: Sequence[Outcome]) -> Answer:
    """By subject, in the order given."""
    names = dict.fromkeys(outcome.name for outcome in outcomes)
    groups = [Group(name, [outcome for outcome in outcomes if outcome.name == name]) for name in names]
    return Answer(
        groups,
        {
            (other.name, way): compare(groups[0].outcomes, other.outcomes, way)
            for other in groups[1:]
            for way in ways_of(groups)
        },
    )
