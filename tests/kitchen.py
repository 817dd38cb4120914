"""Pipelines whose steps take no time: they only count, write, fail, wait for one another, or are killed."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd

from unlatent.pipelines import attempts, records
from unlatent.pipelines.__main__ import run_command
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.planning import Planned, plan_pipeline
from unlatent.pipelines.records import Outputs, Rows
from unlatent.pipelines.runner import run_pipeline
from unlatent.pipelines.steps import ACTIONS, Action, Context
from unlatent.platform import tables
from unlatent.platform.config import Config
from unlatent.platform.display import say
from unlatent.platform.schemas import RATES
from unlatent.platform.store import Store

DIAMOND = """
steps:
  first: {run: note}
  left: {run: note, needs: [first]}
  right: {run: note, needs: [first]}
  last: {run: note, needs: [left, right]}
"""


class Kitchen:
    """A store, a definition, and what the steps did."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(folder / "store")
        self.calls: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.meeting = threading.Barrier(2, timeout=60)
        self.actions = {
            "note": Action(call=self.writing(lambda config: config.train.seed), reads=("model", "train")),
            "draw": Action(call=self.writing(lambda config: config.sampler.steps), reads=("sampler",)),
            "hold": Action(call=self.writing(lambda config: config.sampler.steps), reads=("sampler",), passing=True),
            "look": Action(call=self.writing(lambda config: config.data.kind), reads=("data",)),
            "pry": Action(call=self.writing(lambda config: config.sampler.steps), reads=("train",)),
            "meet": Action(call=self.meet, reads=("train",)),
            "measure": Action(call=self.measure, reads=("train",)),
            "rest": Action(call=self.rest),
        }

    def writing(self, shown: Callable[[Config], object]) -> Callable[[Context], Outputs]:
        """An action that writes a setting and the names of its inputs into a file."""

        def write(context: Context) -> Outputs:
            self.calls.append(context.step)
            if context.step in self.failing:
                raise self.failing[context.step]
            path, value = f"{context.folder}/file", str(shown(context.config))
            context.store.write_bytes(path, f"{value} {sorted(context.inputs)}".encode())
            return Outputs({"value": value}, (path,), message=f"{context.step} says so")

        return write

    def meet(self, context: Context) -> Outputs:
        """Returns only if another step is in here at the same time."""
        self.meeting.wait()
        say("met\nand parted")
        return self.actions["note"].call(context)

    def measure(self, context: Context) -> Outputs:
        """Leaves a row of a results table and no file."""
        self.calls.append(context.step)
        row = dict.fromkeys(RATES) | {"work": context.step, "gflops_per_s": float(context.config.train.seed)}
        tables.append(context.store, "rates", [row], name=context.step)
        return Outputs(rows=(Rows("rates", "work", context.step, ("gflops_per_s",)),))

    def rest(self, context: Context) -> Outputs:
        """Takes long, and writes that it has begun."""
        context.store.write_bytes(f"{context.folder}/begun", b"")
        time.sleep(120)
        return Outputs()

    def write(self, text: str) -> str:
        path = self.folder / "dinner.yaml"
        path.write_text(text)
        return str(path)

    def run(
        self, text: str, *overrides: str, forced: tuple[str, ...] = (), at_once: int | None = 2, store: str = ""
    ) -> list[str]:
        """Runs a definition. Returns the steps that ran."""
        self.calls.clear()
        given = [f"store={store or self.store.root}", *overrides]
        run_pipeline(load_pipeline(self.write(text)), given, forced, at_once)
        return self.calls

    def plan(self, text: str, *overrides: str, forced: tuple[str, ...] = ()) -> list[Planned]:
        given = (f"store={self.store.root}", *overrides)
        return plan_pipeline(Execution(load_pipeline(self.write(text)), given, forced))

    def rows(self) -> pd.DataFrame:
        return tables.read(self.store, "pipeline_steps").sort_values("started_at", kind="stable")

    def reasons(self, action: str) -> dict[str, str]:
        """The latest reason of each step that has had an outcome."""
        rows = self.rows()
        return dict(rows[rows["action"] == action][["step", "reason"]].itertuples(index=False, name=None))

    def file(self, step: str) -> str:
        return f"artifacts/pipelines/dinner/{step}/file"

    def left(self) -> dict[str, object]:
        """All that is in the store of lasting meaning: what steps have left, under which keys."""
        folder = "artifacts/pipelines/dinner"
        left: dict[str, object] = {each.path: self.store.read_bytes(each.path) for each in self.store.walk(folder)}
        for name in [name for name in self.store.list(folder) if name.endswith(".json")]:
            record = records.read(self.store, "dinner", name.removesuffix(".json"))
            left[f"{folder}/{name}"] = record and (record.key, record.values, record.sha256)
        return left


def installed(kitchen: Kitchen) -> Kitchen:
    ACTIONS.update(kitchen.actions)
    return kitchen


@contextlib.contextmanager
def in_process(folder: Path, text: str, kill: tuple[str, str] | None = None) -> Iterator[BaseProcess]:
    """`unlatent run` of a definition in a process of its own, which is forked from one that has imported all."""
    path = Kitchen(folder).write(text)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.kitchen", "sklearn.datasets"])
    process = context.Process(target=drive, args=(folder, path, kill))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def drive(folder: Path, path: str, kill: tuple[str, str] | None) -> None:
    """What such a process does; it is killed, as by `kill -9`, at a point of a step."""
    installed(Kitchen(folder))
    if kill:
        place(*kill)
    sys.stdout = sys.stderr = (folder / "said").open("a", buffering=1)
    from unlatent.platform import display

    display.console.file = sys.stdout
    sys.argv = ["unlatent", "run", path, f"store={folder / 'store'}", "--at-once", "2"]
    os._exit(run_command())


def place(step: str, point: str) -> None:
    """Puts an end to this process before the step's action, after it, after its record, or after its row."""
    modules = {"action": (records, "write"), "record": (attempts, "add"), "row": (attempts, "add")}
    if point == "start":
        ACTIONS["note"] = Action(call=killing(ACTIONS["note"].call, step, before=True), reads=ACTIONS["note"].reads)
        return
    module, name = modules[point]
    setattr(module, name, killing(getattr(module, name), step, before=point != "row"))


def killing(call: Callable, step: str, before: bool) -> Callable:
    def wrapped(*given: object) -> object:
        meant = any(
            each == step or getattr(each, "step", None) == step or (isinstance(each, dict) and each["step"] == step)
            for each in given
        )
        if meant and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*given)
        if meant:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped
