"""Where the trials of a sweep come from: a list, a study that proposes points, a population."""

from typing import Any, Protocol

from unlatent.platform.tuning.plan import Sweep, Trial
from unlatent.platform.tuning.results import Results


class Source(Protocol):
    """What is known of a sweep's trials is known to its tables: `recall` is all that a new process needs."""

    def recall(self, results: Results, retry_failed: bool) -> None:
        """Takes in what came of earlier executions, and adds their trials to the sweep's."""

    def waiting(self) -> list[Trial]:
        """Those of the sweep's trials that are to be run now."""

    @property
    def left(self) -> int:
        """How many trials may come after those."""

    def next_trials(self) -> list[Trial] | None:
        """What comes after those: nothing at the end, None where that depends on trials that run."""

    def hear(self, trial: Trial, result: dict[str, Any] | None) -> None:
        """What a trial came to: what it reported last; None where it failed."""


class Listed:
    """Trials that are known beforehand."""

    left = 0

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def recall(self, results: Results, retry_failed: bool) -> None:
        results.recall()
        self.results, self.retry_failed = results, retry_failed

    def waiting(self) -> list[Trial]:
        return unended(self.sweep, self.results, self.retry_failed)

    def next_trials(self) -> list[Trial]:
        return []

    def hear(self, trial: Trial, result: dict[str, Any] | None) -> None:
        """Nothing follows from it."""


def unended(sweep: Sweep, results: Results, retry_failed: bool) -> list[Trial]:
    """The trials that are not at their end, or are to be tried again."""
    return [trial for trial in sweep.trials if not results.has_ended(trial, retry_failed)]
