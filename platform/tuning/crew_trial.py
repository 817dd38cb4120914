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

from unlatent.platform import placement
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
        except SystemExit as stop:  # how Tune ends a trial; it waits until this function has returned
            stopped = stop
        ray.get(exchange.answer.remote(run_id, news.told, stopped is None))
    if stopped:
        raise stopped
    if news.error:
        raise RuntimeError(news.error)


def wait_for_news(exchange: Any, run_id: str) -> News:
    import ray

    while True:
        news: News | None = ray.get(exchange.news.remote(run_id))
        if news:
            return news


@contextlib.contextmanager
def crews(sweep: Sweep, at_once: int, trials: int) -> Iterator[Any]:
    """So many crews, and the exchange where they find their trials. At the end they end; what they held is free.

    Raises RuntimeError where the crews were lost, not the trials.
    """
    import ray

    options = sweep.config.cluster
    names = [f"{sweep.definition.name}-crew-{each}" for each in range(at_once)]
    exchange = exchange_for(names, options)
    failures = trials * (1 + options.max_failures)  # of a crew: workers that die with every trial are started anew
    threads = {}
    for name in names:
        threads[name] = threading.Thread(
            target=crew, args=(name, options, sweep.store, exchange, failures), daemon=True
        )
        threads[name].start()
    try:
        yield exchange
        why = ray.get(exchange.why_lost.remote())
    finally:
        begun = exchange.close.remote()
    for name in ray.get(begun):  # one that never found room waits for it still, and ends with this process
        threads[name].join()
    if why:
        raise RuntimeError(f"sweep {sweep.definition.name}: no workers are left: {why}; the same command goes on")


def exchange_for(crews: list[str], options: ClusterConfig) -> Any:
    """An exchange, on this node: it goes when the sweep goes."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Exchange).remote(crews, options.max_failures)


def crew(name: str, options: ClusterConfig, store: Store, exchange: Any, failures: int) -> None:
    """A Ray Train run that trains trials, in a thread of the sweep's process."""
    import ray

    told = {"crew": name, "exchange": exchange}
    try:
        launch(name, options, store, placement.trial_need(options), train_trials, told, failures)
    except Exception as error:  # whatever it is, trials wait for this crew
        with contextlib.suppress(ray.exceptions.RayError):  # of a sweep that has ended
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
            try:
                train_trial(given, worker, exchange)
            except Exception as error:
                told = exchange.fail if isinstance(error, RuntimeError) else exchange.end  # torch's, of a lost worker
                ray.get(told.remote(crew, f"{type(error).__name__}: {error}"))
                raise
            worker.crew.led(lambda: ray.get(exchange.end.remote(crew)))


def train_trial(given: Settings, worker: Worker, exchange: Any) -> None:
    """One trial, in each worker of a crew."""
    import ray

    task = task_of(given)
    run_id = task.run.run_id

    def goes_on(told: Told) -> bool:
        while True:
            verdict: bool | None = ray.get(exchange.ask.remote(run_id, told))
            if verdict is not None:
                return verdict

    def ask(checkpoint: Checkpoint | None) -> type[BaseException] | None:
        """How the workers are to end, if they are."""
        ray.get(exchange.require_open.remote(run_id))
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
