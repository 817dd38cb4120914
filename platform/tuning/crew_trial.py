"""A trial of several workers: a Ray Train run, held by the trial's process.

Tune ends a trial by killing its process, and what a Ray Train run inside it had placed on the cluster would stay there.
So the workers ask, where trials are compared, whether to go on: a trial that is stopped ends its Ray Train run first,
and what it held is free before the next trial asks for it.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from unlatent.platform import placement, runs
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.ray_training import TrainingFailedError, fit, this_worker
from unlatent.platform.training import PausedError, train
from unlatent.platform.tuning.trial import Settings, task_of

POLL_S = 0.1

Told = dict[str, float]  # what a trial was measured at


class Referee:
    """An actor between a trial's first worker, which asks whether to go on, and its process, which knows from Tune."""

    def __init__(self) -> None:
        self.asked: list[Told] = []
        self.verdicts: dict[str, asyncio.Future[bool]] = {}

    async def ask(self, run_id: str, told: Told) -> bool:
        """Whether to go on. Asked again, by workers that were started anew, it says the same."""
        key = f"{run_id} {told['spent']}"
        if key not in self.verdicts:
            self.verdicts[key] = asyncio.get_running_loop().create_future()
            self.asked.append(told)
        return await asyncio.shield(self.verdicts[key])

    async def take(self) -> list[Told]:
        """What has been asked and not been taken yet."""
        asked, self.asked = self.asked, []
        return asked

    async def answer(self, run_id: str, told: Told, goes_on: bool) -> None:
        self.verdicts[f"{run_id} {told['spent']}"].set_result(goes_on)


@functools.cache
def referee() -> Any:
    """The one of this process, for all its trials."""
    import ray

    return ray.remote(num_cpus=0)(Referee).remote()


def run_crew_trial(settings: dict[str, Settings]) -> None:
    """What Ray Tune runs: a trial of several workers, to its end or until it is stopped or is to wait."""
    import ray
    from ray import tune

    given = settings["trial"]
    task, judge, stopped = task_of(given), referee(), None
    need = placement.trial_need(task.run.config.cluster)
    worker = {**given, "identity": task.run.identity, "referee": judge}
    with ThreadPoolExecutor(1) as thread:
        fitting = thread.submit(fit, task.run, task.store, need, train_in_crew, worker)
        for told in questions(judge, fitting):
            try:
                tune.report(told)
            except SystemExit as stop:  # how Tune ends a trial; its process is killed once this function has returned
                stopped = stop
            ray.get(judge.answer.remote(task.run.run_id, told, stopped is None))
        with contextlib.suppress(TrainingFailedError):  # its row says so
            fitting.result()
    if stopped:
        raise stopped


def questions(judge: Any, fitting: "Future[None]") -> Iterator[Told]:
    """What the workers ask, until they have ended."""
    import ray

    while True:
        ended = fitting.done()
        yield from ray.get(judge.take.remote())
        if ended:
            return
        time.sleep(POLL_S)


def train_in_crew(settings: Settings) -> None:
    """What each worker of such a trial runs."""
    import ray

    task, worker = task_of(settings), this_worker()
    runs.require_identity(task.run, settings["identity"])

    def ask(checkpoint: Checkpoint | None) -> type[BaseException] | None:
        """How the workers are to end, if they are."""
        told = task.measure(checkpoint)
        if told is not None and not ray.get(settings["referee"].ask.remote(task.run.run_id, told)):
            return SystemExit
        return PausedError if task.pauses(checkpoint) else None

    def report(checkpoint: Checkpoint | None) -> None:
        if ending := worker.crew.led(lambda: ask(checkpoint)):
            raise ending

    asks_at_once = bool(task.budget.rungs)
    with contextlib.suppress(FloatingPointError, PausedError, SystemExit):  # its row says so
        train(task.run, task.store, replace(worker, report=report, reports_at_once=asks_at_once))
