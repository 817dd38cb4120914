"""Which trial comes next, as Ray Tune asks for it."""

from collections import Counter
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
    """Hands out the trials that wait, after them those that their source comes up with, and those that come back."""

    def __init__(self, sweep: Sweep, waiting: list[Trial], source: Source) -> None:
        super().__init__()
        self.sweep, self.waiting, self.source = sweep, list(waiting), source
        self.trials: dict[str, Trial] = {}  # Tune's id -> the trial, until its end
        self.source_is_dry = False
        self.came_back = Counter[str]()  # run_id -> how often

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        if not self.waiting and not self.source_is_dry:
            proposed = self.source.next_trials()
            if proposed is None:
                return None  # not now: Tune asks again
            self.waiting, self.source_is_dry = proposed, not proposed
        if not self.waiting:
            return None if self.trials else Searcher.FINISHED  # one of those that run may come back
        self.trials[trial_id] = self.waiting.pop(0)
        return {"trial": settings_of(self.sweep, self.trials[trial_id])}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if not error:  # of a trial that it gives up, Tune tells the listener more
            self.source.hear(self.trials.pop(trial_id), result)

    def give_up(self, trial_id: str) -> None:
        self.source.hear(self.trials.pop(trial_id), None)

    def take_back(self, trial_id: str) -> bool:
        """Hands a trial out again. False where it has come back as often as a trial may fail."""
        run_id = self.trials[trial_id].run_id
        if self.came_back[run_id] >= self.sweep.config.cluster.max_failures:
            return False
        self.came_back[run_id] += 1
        self.waiting.insert(0, self.trials.pop(trial_id))
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing: all that it knows is in the tables."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as of `save`."""


class Listener(tune.Callback):
    """Keeps what is known of the trials up to date while they run."""

    def __init__(self, results: Results, search: Search) -> None:
        self.results, self.search = results, search
        self.running: set[str] = set()
        self.recovered: dict[str, int] = {}  # Tune's id -> the last step of Tune's in which it began the trial again
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

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.recovered[trial.trial_id] = iteration

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Puts on record, before anything follows from it, that Tune has given a trial up.

        Where a process dies that has ended one trial and not yet begun the next, Tune hears of that twice in one step:
        it is to begin the trial again, and gives it up. Such a trial is handed out again.
        """
        if self.recovered.get(trial.trial_id) == iteration and self.search.take_back(trial.trial_id):
            return
        self.search.give_up(trial.trial_id)
        run_id = run_of(trial)
        if self.exchange is not None:
            self.exchange.withdraw.remote(run_id)
            if ray.get(self.exchange.why_lost.remote()):
                return  # it is not the trial that failed
        why = trial.get_pickled_error() or trial.get_error()
        self.errors[run_id] = last_line(why) if why else "its process died"
        [ours] = [each for each in self.results.sweep.trials if each.run_id == run_id]
        settle_trial(self.results, ours, self.errors[run_id], None)
