"""Population-based training (arXiv:1711.09846): a population trains side by side, and settings change on the way.

At every rung all members wait for each other. Those of the worst quarter, and those that failed, end there; in the
place of each comes a fork of one of the best quarter, under settings near that one's. A fork is a run of its own, so
that the settings of a run never change, and `runs.forked_from` tells the way of every network.

What a population has become follows from the definition and from what its members were measured at. So it keeps nothing
of its own, and one that was cut off goes on as if it had not been.
"""

import math
import random
from dataclasses import replace
from typing import Any

from unlatent.platform import checkpoints, runs, tables
from unlatent.platform.provenance import now
from unlatent.platform.refusals import UnknownSettingError
from unlatent.platform.tuning.budget import require_rungs
from unlatent.platform.tuning.plan import Candidate, Sweep, Trial
from unlatent.platform.tuning.ranges import Range
from unlatent.platform.tuning.results import Results
from unlatent.platform.tuning.space import Point, SweepConfig, described, replaced

RESAMPLED = 0.25  # probability that a setting is drawn anew, and not changed by one of
FACTORS = (0.8, 1.25)
MOST_TRIES = 20  # at settings that work together


class Population:
    """The members of a sweep, each in its place."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.results, self.generation = sweep, Results(sweep), 0
        self.members = [self.member(place, each) for place, each in enumerate(sweep.candidates)]
        self.came_to: dict[str, float | None] = {}  # run_id -> objective at the next rung; None: it failed before
        if not replaced(len(self.members)):
            raise ValueError(
                f"sweep {sweep.definition.name}: sweep.scheduler=pbt needs 4 points or more, for its worst quarter "
                f"goes on from its best; there are {len(self.members)}"
            )
        require_rungs(sweep.budget, self.members[0].run.config.train)
        self.fork(0, self.members[0], random.Random(0))  # raises ValueError where none could be
        sweep.trials.extend(self.members)

    @property
    def until(self) -> float:
        """What members have spent where they wait for each other next; at last, the whole budget."""
        budget = self.sweep.budget
        return [*budget.rungs, budget.total][self.generation]

    @property
    def left(self) -> int:
        """How often members are yet to be started, besides those of this generation."""
        return len(self.members) * (len(self.sweep.budget.rungs) - self.generation)

    def recall(self, results: Results, retry_failed: bool) -> None:
        """Comes as far as earlier executions had."""
        self.results = results
        self.look_up()
        while self.left and not self.waits() and self.standing():
            self.renew()
            self.look_up()
        if retry_failed and not (self.left and self.standing()):  # others that failed have been replaced
            self.came_to = {run_id: value for run_id, value in self.came_to.items() if value is not None}

    def look_up(self) -> None:
        """Takes in what members came to at the next rung, as the tables have it."""
        self.results.recall()
        at_rung = {each.run_id: each.value for each in self.results.heard if each.spent == self.until}
        for member in self.members:
            if self.has_come(member, member.run_id in at_rung):
                self.take(member, at_rung.get(member.run_id))

    def has_come(self, member: Trial, is_measured: bool) -> bool:
        """Whether a member is not to be run on to the next rung. At the last one, its process has to say so itself."""
        status = self.results.status(member)
        return status == "failed" or (is_measured and (self.left > 0 or status == "succeeded"))

    def waiting(self) -> list[Trial]:
        """The members that are still to come to the next rung."""
        return [replace(each, until=self.until) for each in self.members if each.run_id not in self.came_to]

    def waits(self) -> bool:
        return any(member.run_id not in self.came_to for member in self.members)

    def next_trials(self) -> list[Trial] | None:
        """The members that start next; None as long as others run, none at the end."""
        if self.waits():
            return None
        self.look_up()  # what was measured before its process died counts, now as after a kill of this one
        if not self.left or not self.standing():
            return []
        self.renew()
        return self.waiting()

    def hear(self, trial: Trial, result: dict[str, Any] | None) -> None:
        """What a member came to."""
        came = result is not None and result.get("spent") == trial.until
        self.take(trial, result[self.sweep.definition.metric] if result and came else None)

    def take(self, member: Trial, value: float | None) -> None:
        self.came_to[member.run_id] = value if value is not None and math.isfinite(value) else None

    def standing(self) -> list[tuple[float, Trial]]:
        """The members that came to the rung, with what they came to, the best first."""
        values = [(self.came_to[member.run_id], member) for member in self.members]
        came = [(value, member) for value, member in values if value is not None]
        return sorted(came, key=lambda each: each[0], reverse=self.sweep.definition.direction == "max")

    def renew(self) -> None:
        """Replaces members, and goes on to the next rung."""
        standing, quarter = self.standing(), replaced(len(self.members))
        failed = len(self.members) - len(standing)
        worst = {member.run_id: value for value, member in standing[len(standing) - max(0, quarter - failed) :]}
        for place, member in enumerate(self.members):
            if member.run_id in worst or self.came_to[member.run_id] is None:
                generator = random.Random(f"{self.sweep.definition.seed} {self.generation} {place}")
                value, source = generator.choice(standing[:quarter])
                self.members[place] = self.fork(place, source, generator)
                self.sweep.trials.append(self.members[place])
                if member.run_id in worst:
                    self.stop(member, worst[member.run_id], self.members[place], source, value)
        self.generation, self.came_to = self.generation + 1, {}

    def stop(self, member: Trial, value: float, fork: Trial, source: Trial, better: float) -> None:
        """Puts on record that a member ends, and what goes on in its place."""
        row = tables.row(self.sweep.store, "runs", member.run_id)
        if row is None or row["stopped_because"]:
            return  # on record already
        metric, rung = self.sweep.definition.metric, self.sweep.budget.said(self.until)
        reason = f"{metric} {value:.4g} at {rung}, of the worst quarter; in its place {fork.run_id} goes on from"
        reason = f"{reason} {source.run_id}, which had {better:.4g}, with {described(fork.knobs)}"
        runs.update(self.sweep.store, row, {"status": "stopped_early", "stopped_because": reason, "ended_at": now()})

    def member(self, place: int, candidate: Candidate, fork: str | None = None) -> Trial:
        """A new member, or the fork of one. Places differ in train.seed too."""
        train = candidate.config.train
        train = replace(train, seed=train.seed + place)
        train = replace(train, start=None, fork=fork) if fork else train
        return self.sweep.trial(candidate.knobs, replace(candidate.config, train=train))

    def fork(self, place: int, source: Trial, generator: random.Random) -> Trial:
        """A member that goes on from where another waits, under settings near its own."""
        parent = source.run.config.train
        path = checkpoints.path_of(source.run_id, self.sweep.budget.images(parent, self.until))
        return self.member(place, self.explored(source.knobs, generator), path)

    def explored(self, knobs: Point, generator: random.Random) -> Candidate:
        """Settings near those of a point; the point itself where none are found that work together."""
        for _ in range(MOST_TRIES):
            try:
                return self.sweep.candidate(near(self.sweep.definition, knobs, generator))
            except UnknownSettingError:
                raise
            except ValueError:
                continue
        return self.sweep.candidate(knobs)


def near(definition: SweepConfig, knobs: Point, generator: random.Random) -> Point:
    """A point with every setting drawn anew or changed a little: by a factor, or to the next value of a list."""
    return {path: changed(values, knobs[path], generator) for path, values in definition.values.items()}


def changed(values: list[Any] | Range, value: Any, generator: random.Random) -> Any:
    resampled, up = generator.random() < RESAMPLED, generator.random() < 0.5
    if isinstance(values, Range):
        return values.draw(generator) if resampled else values.tidy(value * FACTORS[up])
    place = generator.randrange(len(values)) if resampled else values.index(value) + (1 if up else -1)
    return values[min(max(place, 0), len(values) - 1)]
