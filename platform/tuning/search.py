"""Which trial comes next, as Ray Tune asks for it."""

from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from unlatent.platform import runs
from unlatent.platform.ray_training import last_line
from unlatent.platform.tuning.budget import Measured
from unlatent.platform.tuning.halving import run_of
from unlatent.platform.tuning.plan import Sweep, Trial
from unlatent.platform.tuning.results import Results
from unlatent.platform.tuning.rows import settle_trial, trial_rows
from unlatent.platform.tuning.source import Source
from unlatent.platform.tuning.trial import settings_of


class Search(Searcher):
    """Hands out the trials that wait, and after them those that their source comes up with."""

    def __init__(self, sweep: Sweep, waiting: list[Trial], source: Source) -> None:
        super().__init__()
        self.sweep, self.waiting, self.source = sweep, list(waiting), source
        self.trials: dict[str, Trial] = {}  # Tune's id -> the trial

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        if not self.waiting:
            proposed = self.source.next_trials()
            if proposed is None:
                return None  # not now: Tune asks again
            self.waiting = proposed
        if not self.waiting:
            return Searcher.FINISHED
        self.trials[trial_id] = self.waiting.pop(0)
        return {"trial": settings_of(self.sweep, self.trials[trial_id])}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.source.hear(self.trials.pop(trial_id), None if error else result)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: all that it knows is in the tables."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as of `save`."""


class Listener(tune.Callback):
    """Keeps what is known of the trials up to date while they run."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.running: set[str] = set()
        self.errors: dict[str, str] = {}  # run_id -> why Tune has given it up
        self.exchange: Any = None  # where trials of several workers are trained

    def rows(self) -> list[dict[str, str]]:
        for run_id in tuple(self.running):
            self.results.refresh(run_id)
            if self.results.rows.get(run_id, {}).get("status") in runs.DONE:  # one that failed may be tried again
                self.running.discard(run_id)  # or each look at many trials would read the files of all
        return trial_rows(self.results)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.running.add(run_of(trial))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **i: Any) -> None:
        value = result[self.results.sweep.definition.metric]
        self.results.hear(Measured(run_of(trial), result["spent"], value))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Puts on record, before anything follows from it, that Tune has given a trial up."""
        run_id = run_of(trial)
        if self.exchange is not None:
            self.exchange.withdraw.remote(run_id)
            if ray.get(self.exchange.why_lost.remote()):
                return  # it is not the trial that failed
        why = trial.get_pickled_error() or trial.get_error()
        self.errors[run_id] = last_line(why) if why else "its process died"
        [ours] = [each for each in self.results.sweep.trials if each.run_id == run_id]
        settle_trial(self.results, ours, self.errors[run_id], None)
