"""A search by Optuna, joined to the trials of its sweep."""

import functools
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from unlatent.models import cost
from unlatent.platform.config import Config, from_yaml
from unlatent.platform.refusals import UnknownSettingError
from unlatent.platform.tuning.plan import Candidate, Sweep, Trial
from unlatent.platform.tuning.proposals import Proposals
from unlatent.platform.tuning.results import Results, Row
from unlatent.platform.tuning.source import unended
from unlatent.platform.tuning.space import VARIANT, Point

COST_OF: dict[str, Callable[[Config], float]] = {
    "forward_gflops": lambda config: cost.forward_gflops(config.model),
    "parameters": lambda config: cost.parameters(config.model),
    "activation_bytes": lambda config: cost.activation_bytes(config.model, config.train.recompute or "none"),
}

Objectives = list[float] | None  # None where there are none: the trial did not come to its end


class Study:
    """Proposes points, as many as the definition asks for, and tells Optuna what their trials came to."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.definition = sweep, sweep.definition
        self.proposals = Proposals(sweep.definition)
        self.candidates: dict[str, Candidate | None] = {str(each.knobs): each for each in sweep.candidates}
        self.heard: dict[str, dict[str, Objectives]] = {}  # point -> run_id -> what its trial came to

    def recall(self, results: Results, retry_failed: bool) -> None:
        """Takes in the points of earlier executions and adds their trials to the sweep, those first proposed first."""
        self.results, self.retry_failed = results, retry_failed
        candidates: dict[str, Candidate] = {}
        for row in sorted(results.rows.values(), key=lambda row: (row["started_at"], row["run_id"])):
            if candidate := self.candidate_of(row):
                candidates.setdefault(str(candidate.knobs), candidate)
        for candidate in candidates.values():
            self.sweep.trials.extend(self.sweep.trials_of(candidate))
        results.recall()
        values = {name: results.final(name) for name in self.sweep.metrics}
        for candidate in candidates.values():
            trials = self.sweep.trials_of(candidate)
            ended = [trial for trial in trials if results.has_ended(trial, retry_failed)]
            told = {trial.run_id: self.objectives(trial, values) for trial in ended}
            if len(ended) == len(trials):
                self.proposals.recall(candidate.knobs, mean_of(told))
            else:
                self.proposals.resume(candidate.knobs)
                self.heard[str(candidate.knobs)] = told

    def objectives(self, trial: Trial, values: dict[str, dict[str, float]]) -> Objectives:
        """A trial's objectives out of its metrics: name -> run_id -> value."""
        if any(trial.run_id not in values[name] for name in self.sweep.metrics):
            return None
        measured = [values[name][trial.run_id] for name in self.sweep.metrics]
        second = self.definition.against
        return [*measured, COST_OF[second](trial.run.config)] if second in COST_OF else measured

    def candidate_of(self, row: Row) -> Candidate | None:
        """The point that a run was a trial of; None where it can be none of this definition."""
        config = from_yaml(row["config"])
        for knobs in points_that_may_be(self.definition.values, config):
            candidate = self.candidate(knobs)
            if candidate and any(trial.run_id == row["run_id"] for trial in self.sweep.trials_of(candidate)):
                return candidate
        return None

    def waiting(self) -> list[Trial]:
        return unended(self.sweep, self.results, self.retry_failed)

    @property
    def left(self) -> int:
        """How many trials are yet to be proposed."""
        return self.sweep.planned - len(self.sweep.trials)

    def next_trials(self) -> list[Trial]:
        """The trials of a new point; none where there are points enough, or no new one is found."""
        if len(self.proposals.known) >= self.definition.samples:
            return []
        knobs = self.proposals.propose(lambda point: self.candidate(point) is not None)
        candidate = None if knobs is None else self.candidate(knobs)
        if candidate is None:
            return []
        trials = self.sweep.trials_of(candidate)
        self.sweep.trials.extend(trials)
        return trials

    def candidate(self, knobs: Point) -> Candidate | None:
        """None for a point that cannot work. It takes some milliseconds to say so, so it is said once."""
        if str(knobs) not in self.candidates:
            try:
                self.candidates[str(knobs)] = self.sweep.candidate(knobs)
            except UnknownSettingError:
                raise
            except ValueError:
                self.candidates[str(knobs)] = None
        return self.candidates[str(knobs)]

    def hear(self, trial: Trial, result: dict[str, Any] | None) -> None:
        """What a trial came to; Optuna is told of a point once all of its seeds have ended."""
        told: Objectives = None
        if result and result.get("spent") == self.sweep.budget.total:
            told = self.objectives(trial, {name: {trial.run_id: result[name]} for name in self.sweep.metrics})
        of_point = self.heard.setdefault(str(trial.knobs), {})
        of_point[trial.run_id] = told
        if len(of_point) == self.definition.seeds:
            self.proposals.tell(trial.knobs, mean_of(of_point))


def mean_of(told: dict[str, Objectives]) -> Objectives:
    """The mean of each objective over the trials that have any."""
    ended = [objectives for objectives in told.values() if objectives is not None]
    return [statistics.fmean(each) for each in zip(*ended, strict=True)] or None


def points_that_may_be(values: dict[str, Any], config: Config) -> Iterator[Point]:
    """The points that could have made a config: of a setting its value, of a named choice each that there is."""

    def may_be(path: str) -> list[Any]:
        if path == VARIANT or "." not in path:
            return list(values[path])
        return [functools.reduce(getattr, path.split("."), config)]

    for each in itertools.product(*map(may_be, values)):
        yield dict(zip(values, each, strict=True))
