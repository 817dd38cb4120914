"""Points proposed by Optuna, one after another, from what the points before came to.

Optuna keeps nothing of its own: its study is put together from the tables, and what it draws follows from the search's
seed and the number of points so far. So a search that was cut off goes on as if it had not been.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from unlatent.platform.tuning.ranges import Range
from unlatent.platform.tuning.space import Point, SweepConfig

MOST_TRIES = 200  # at a new point, before the space is taken to hold no more


class Proposals:
    """A study of points. A point is open from when it is proposed until `tell` says what it came to."""

    def __init__(self, definition: SweepConfig) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        first = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}[definition.direction]
        directions = [first, StudyDirection.MINIMIZE] if definition.against else [first]
        self.definition = definition
        self.study = optuna.create_study(directions=directions)
        self.space = {path: distribution(values) for path, values in definition.values.items()}
        self.open: dict[str, optuna.Trial] = {}
        self.known: set[str] = set()

    def propose(self, works: Any) -> Point | None:
        """The next point, one for which `works` is true; None where no new one is found."""
        for attempt in range(MOST_TRIES):
            # of those that are running it assumes the worst, so as not to propose their neighbours
            self.study.sampler = TPESampler(seed=self.seed(attempt), constant_liar=True)
            trial = self.study.ask(self.space)
            point = {path: tidy(values, trial.params[path]) for path, values in self.definition.values.items()}
            if str(point) not in self.known and works(point):
                self.take(point, trial)
                return point
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def seed(self, attempt: int) -> int:
        text = f"{self.definition.seed} {len(self.known)} {attempt}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

    def resume(self, point: Point) -> None:
        """Takes up a point that was proposed before, and has not come to its end."""
        self.study.enqueue_trial(point)
        self.take(point, self.study.ask(self.space))

    def take(self, point: Point, trial: optuna.Trial) -> None:
        self.open[str(point)] = trial
        self.known.add(str(point))

    def tell(self, point: Point, objectives: Iterable[float] | None) -> None:
        """What an open point came to: its objectives, or nothing where none of its trials came to its end."""
        trial = self.open.pop(str(point))
        if objectives is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, list(objectives))

    def recall(self, point: Point, objectives: Iterable[float] | None) -> None:
        """What a point came to in an earlier execution."""
        self.known.add(str(point))
        if objectives is not None:
            self.study.add_trial(create_trial(params=point, distributions=self.space, values=list(objectives)))


def distribution(values: list[Any] | Range) -> BaseDistribution:
    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def tidy(values: list[Any] | Range, value: Any) -> Any:
    return values.tidy(value) if isinstance(values, Range) else value
