"""Asynchronous successive halving (ASHA, arXiv:1810.05934) by Ray Tune, with a memory that outlives its process."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from unlatent.platform.tuning.budget import Budget, Measured
from unlatent.platform.tuning.decisions import Decision, Decisions
from unlatent.platform.tuning.space import SweepConfig


class Halving(AsyncHyperBandScheduler):
    """ASHA over trials that are known by their runs' ids, and not by those that Tune draws for each of its executions.

    Its state is what it was told, and what it decided: both are in the tables, and `recall` tells it again.
    """

    def __init__(self, definition: SweepConfig, budget: Budget, decisions: Decisions) -> None:
        super().__init__(
            time_attr="spent",
            metric=definition.metric,
            mode=definition.direction,
            max_t=budget.total,
            grace_period=budget.rungs[0],
            reduction_factor=definition.reduction,
        )
        self.definition, self.budget, self.decisions = definition, budget, decisions
        self.heard: list[Measured] = []
        self.stopped: dict[str, str] = {}  # run_id -> why

    def recall(self, measured: Measured) -> None:
        """Takes in what a trial was measured at in an earlier execution, and decides on it as it did then."""
        trial = SimpleNamespace(trial_id=measured.run_id)
        if measured.run_id not in self._trial_info:
            super().on_trial_add(None, trial)
        self.decide(None, trial, measured)

    def decide(self, controller: Any, trial: Any, measured: Measured) -> str:
        """What becomes of a trial; told the same twice, it says the same again."""
        if measured not in self.heard:
            before, reason = self.decisions.of(measured), self.reason(measured)
            told = {"spent": measured.spent, self.definition.metric: measured.value}
            worse = super().on_trial_result(controller, trial, told) == TrialScheduler.STOP
            decision = before or Decision(worse, reason)
            if measured.spent < self.budget.total:
                self.settle(measured, decision, known=before is not None)
            self.heard.append(measured)
        return TrialScheduler.STOP if measured.run_id in self.stopped else TrialScheduler.CONTINUE

    def settle(self, measured: Measured, decision: Decision, known: bool) -> None:
        """At its end a trial is not stopped: it ends by itself."""
        if not known:
            self.decisions.keep(measured, decision)
        if decision.stops:
            self.stopped[measured.run_id] = decision.reason

    def reason(self, measured: Measured) -> str:
        """Why a trial would be stopped: its value, and the one that it was to reach."""
        values = [each.value for each in self.heard if each.spent == measured.spent]
        if not values:
            return "the first to come there goes on"
        share, sign = 1 / self.definition.reduction, 1 if self.definition.direction == "min" else -1
        limit = sign * float(np.nanpercentile([sign * value for value in values], 100 * share))
        best = (
            f"the best 1 in {self.definition.reduction} of the {len(values)} trials" if len(values) > 1 else "the one"
        )
        return (
            f"{self.definition.metric} {measured.value:.4g} at {self.budget.said(measured.spent)}, where {best} before "
            f"it had {limit:.4g} or better"
        )

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        if run_of(trial) not in self._trial_info:
            super().on_trial_add(controller, SimpleNamespace(trial_id=run_of(trial)))

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        named = SimpleNamespace(trial_id=run_of(trial))
        return self.decide(controller, named, Measured(run_of(trial), result["spent"], result[self.definition.metric]))

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._trial_info.pop(run_of(trial), None)  # it has heard all: each trial reports its end

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        self._trial_info.pop(run_of(trial), None)


def run_of(trial: Any) -> str:
    """The id of the run that a trial of Tune's is."""
    run_id: str = trial.config["trial"]["run_id"]
    return run_id
