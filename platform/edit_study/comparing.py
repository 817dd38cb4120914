"""Two models' backgrounds at the same edit success, and what encode and decode alone cost of it.

An edit that does nothing keeps all of the background, so backgrounds are compared at a level of success that both
models reach: the smaller of their best success rates. Of each model's settings that reach it, the one with the least
background MSE stands for the model. It is chosen on the pairs it is measured on, which flatters both alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from unlatent.platform.edit_study.attempts import RECONSTRUCTED
from unlatent.platform.edit_study.study import Outcome
from unlatent.platform.intervals import Interval, ratio
from unlatent.platform.scenes import CLASSES

CHANCE = 1 / len(CLASSES)  # of a class, where nothing at all is drawn


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models' chosen edits in one way. Ratios are of sums over pairs, by resampling pairs, each with both."""

    first: Outcome
    second: Outcome
    level: float  # success rate that both reach, or more
    background: Interval  # MSE of the first as a share of the second's; nan where neither differs at all


def compare(first: Sequence[Outcome], second: Sequence[Outcome], way: str) -> Comparison | None:
    """None where one of them never succeeds more often than by chance: then there is no level to compare at."""
    mine, others = in_way(first, way), in_way(second, way)
    lower = min(best(mine), best(others), key=lambda outcome: outcome.findings.success.value)
    if not lower.findings.success.low > CHANCE:
        return None
    level = lower.findings.success.value
    chosen = [least_background(outcomes, level) for outcomes in (mine, others)]
    errors = [outcome.measured.background_errors for outcome in chosen]
    return Comparison(
        first=chosen[0],
        second=chosen[1],
        level=level,
        background=ratio(errors[0], errors[1], chosen[0].attempt.seed),
    )


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
