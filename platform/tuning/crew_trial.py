"""A trial of several workers, which a crew of Ray Train's workers trains.

Crews stay for the whole sweep, and train trial after trial: a Ray Train run of its own would cost each trial some ten
seconds. It would also be killed with a trial that is stopped, and what it had placed on the cluster would stay there.
So a trial's process holds no workers: it tells Ray Tune what the crew has measured, and the crew what Tune decides.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from unlatent.platform import placement, runs, tables
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.devices import forget_earlier_work
from unlatent.platform.ray_training import last_line, launch, this_worker
from unlatent.platform.store import Store
from unlatent.platform.training import PausedError, Worker, train
from unlatent.platform.tuning.exchange import Exchange, News, Settings, Told
from unlatent.platform.tuning.plan import Sweep
from unlatent.platform.tuning.trial import task_of


def run_crew_trial(settings: dict[str, Settings], exchange: Any) -> None:
    """What Ray Tune runs: a trial of several workers, to its end or until it is stopped or is to wait.

    Raises RuntimeError where its workers failed.
    """
    import ray
    from ray import tune

    given, stopped = settings["trial"], None
    run_id = given["run_id"]
    ray.get(exchange.put.remote(run_id, given))
    while not (news := wait_for_news(exchange, run_id)).ended:
        try:
            tune.report(news.told)
        except SystemExit as stop:  # how Tune ends a trial; its process is killed once this function has returned
            stopped = stop
        ray.get(exchange.answer.remote(run_id, news.told, stopped is None))
    if stopped:
        raise stopped
    if news.error:
        row = tables.row(task_of(given).store, "runs", run_id)
        raise RuntimeError(row["error"] if row and row["status"] == "failed" else news.error)


def wait_for_news(exchange: Any, run_id: str) -> News:
    import ray

    while True:
        news: News | None = ray.get(exchange.news.remote(run_id))
        if news:
            return news


@contextlib.contextmanager
def crews(sweep: Sweep, number: int) -> Iterator[Any]:
    """So many crews, and the exchange where they find their trials. At the end they end; what they held is free."""
    import ray

    options, store = sweep.config.cluster, sweep.store
    names = [f"{sweep.definition.name}-crew-{each}" for each in range(number)]
    exchange = ray.remote(num_cpus=0)(Exchange).remote(names)
    threads = [threading.Thread(target=crew, args=(each, options, store, exchange), daemon=True) for each in names]
    for thread in threads:
        thread.start()
    try:
        yield exchange
    finally:
        exchange.close.remote()
    for thread in threads:
        thread.join()
    ray.kill(exchange)


def crew(name: str, options: ClusterConfig, store: Store, exchange: Any) -> None:
    """A Ray Train run that trains trials. Tune says how often a trial is tried, so workers are always started anew."""
    import ray
    import ray.train

    told = {"crew": name, "exchange": exchange}
    try:
        launch(name, options, store, placement.trial_need(options), train_trials, told, max_failures=-1)
    except ray.train.TrainingFailedError as error:
        ray.get(exchange.lose.remote(name, last_line(error)))


def train_trials(settings: Settings) -> None:
    """What each worker of a crew runs."""
    import ray

    worker, exchange, crew = this_worker(), settings["exchange"], settings["crew"]
    while True:
        given = worker.crew.led(lambda: ray.get(exchange.next.remote(crew)))
        if given is None:
            return
        if given:
            forget_earlier_work()
            train_trial(given, worker, exchange)
            worker.crew.led(lambda: ray.get(exchange.end.remote(crew)))


def train_trial(given: Settings, worker: Worker, exchange: Any) -> None:
    """One trial, in each worker of a crew."""
    import ray

    task = task_of(given)
    runs.require_identity(task.run, given["identity"])

    def goes_on(told: Told) -> bool:
        while True:
            verdict: bool | None = ray.get(exchange.ask.remote(task.run.run_id, told))
            if verdict is not None:
                return verdict

    def ask(checkpoint: Checkpoint | None) -> type[BaseException] | None:
        """How the workers are to end, if they are."""
        told = task.measure(checkpoint)
        if told is not None and not goes_on(told):
            return SystemExit
        return PausedError if task.pauses(checkpoint) else None

    def report(checkpoint: Checkpoint | None) -> None:
        if ending := worker.crew.led(partial(ask, checkpoint)):
            raise ending

    asks_at_once = bool(task.budget.rungs)
    with contextlib.suppress(FloatingPointError, PausedError, SystemExit):  # its row says so
        train(task.run, task.store, replace(worker, report=report, reports_at_once=asks_at_once))
