"""One go at a pipeline: the config of each step, the keys that follow from it, and what is done so far."""

import difflib
import functools
import json
import threading
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from unlatent.pipelines.attempts import Attempt
from unlatent.pipelines.basis import Basis, share
from unlatent.pipelines.definition import Pipeline, Step
from unlatent.pipelines.records import Record
from unlatent.pipelines.steps import ACTIONS, Context
from unlatent.platform.config import Config, compose_config, load_sweep
from unlatent.platform.datasets import listing
from unlatent.platform.provenance import code_version
from unlatent.platform.runs import flatten
from unlatent.platform.store import Store

WHERE = {"cluster", "store", "serve"}  # where a step runs, not what it makes
BESIDE = {"data.workers"}  # the same of single settings


class ConfigShare:
    """What a step may see of a config: the parts that its key tells of, and where it runs."""

    def __init__(self, config: Config, reads: tuple[str, ...]) -> None:
        self._config, self._parts = config, {part.partition(".")[0] for part in reads} | WHERE

    def __getattr__(self, part: str) -> Any:
        if part not in self._parts:
            raise AssertionError(f"a step reads {part} of the config, and its action's `reads` does not say so")
        return getattr(self._config, part)


@dataclass
class Execution:
    """Raises ValueError, one line, for what cannot work: a config, a sweep's definition, a step that is not there."""

    pipeline: Pipeline
    overrides: tuple[str, ...] = ()  # given with the command; they win over a step's, and these over the pipeline's
    forced: tuple[str, ...] = ()  # steps that run whether or not they have to
    configs: dict[str, Config] = field(init=False)
    done: dict[str, Record] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)  # of each step so far, as in `pipeline_steps.action`
    failures: list[str] = field(default_factory=list)
    attempts: dict[str, Attempt] = field(default_factory=dict)  # under way
    stopping: threading.Event = field(default_factory=threading.Event)
    listings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = self.pipeline.steps
        for name in self.forced:
            if name not in steps:
                close = difflib.get_close_matches(name, steps, n=1)
                known = f"did you mean {close[0]}?" if close else f"the steps are {', '.join(self.pipeline.order())}"
                raise ValueError(f"--force {name}: no step of {self.pipeline.name} is called so; {known}")
        if not any(step.sweep for step in steps.values()):
            for text in self.overrides_for_sweeps(self.overrides):
                raise ValueError(f"{text}: {self.pipeline.name} has no step that runs a sweep")
        compose = functools.cache(compose_config)  # most steps have the same settings
        self.configs = {name: compose(tuple(self.settings_of(step))) for name, step in steps.items()}
        for step in steps.values():
            self.sweep_of(step)
            ACTIONS[step.run].require(self.configs[step.name])

    @staticmethod
    def overrides_for_sweeps(overrides: tuple[str, ...]) -> list[str]:
        return [text for text in overrides if text.startswith("sweep.")]

    @property
    def store(self) -> Store:
        return Store(next(iter(self.configs.values())).store)

    def overrides_of(self, step: Step) -> list[str]:
        return [*self.pipeline.overrides, *step.overrides, *self.overrides]

    def settings_of(self, step: Step) -> list[str]:
        """The overrides but those of a sweep's own definition, which only a step that runs one can use."""
        return [text for text in self.overrides_of(step) if not text.startswith("sweep.")]

    def sweep_of(self, step: Step) -> dict[str, Any]:
        return asdict(load_sweep(step.sweep, self.overrides_of(step))) if step.sweep else {}

    def inputs_of(self, step: Step) -> dict[str, dict[str, str]]:
        return {need: self.done[need].values for need in step.needs}

    def with_inputs(self, step: Step) -> list[str]:
        """A step's settings, once what it needs is done."""
        return ACTIONS[step.run].settings(self.settings_of(step), self.inputs_of(step))

    def config_of(self, step: Step) -> Config:
        """A step's config: its own, and once what it needs is done, what its inputs make of that."""
        if all(need in self.done for need in step.needs) and self.with_inputs(step) != self.settings_of(step):
            return compose_config(self.with_inputs(step))
        return self.configs[step.name]

    def basis(self, step: Step, before: Basis | None = None) -> Basis:
        """All that decides a step's outputs. What it needs is done, or is taken to hand on what it did `before`."""
        reads, config = ACTIONS[step.run].reads, self.config_of(step)
        read = share(asdict(config) | {"about": self.pipeline.about}, reads)
        parts: dict[str, Any] = {
            "config": {key: value for key, value in read.items() if key not in BESIDE},
            "sweep": flatten(self.sweep_of(step)),
        }
        return Basis(
            action=step.run,
            data=self.listing(config) if "data" in reads else None,
            inputs={need: self.identity(need, before) for need in step.needs},
            code=code_version(),
            **json.loads(json.dumps(parts)),  # as it is read again
        )

    def listing(self, config: Config) -> str:
        """Hash of the files that a config's images lie in, looked at once."""
        name = str(config.data)
        if name not in self.listings:
            self.listings[name] = listing(config.data)
        return self.listings[name]

    def identity(self, name: str, before: Basis | None = None) -> str:
        """What a done step means to those that need it: its outputs, or, where they do not last, its own key."""
        if before and name not in self.done:
            return before.inputs.get(name, "")
        passing = ACTIONS[self.pipeline.steps[name].run].passing
        return self.done[name].key if passing else self.done[name].digest

    def context(self, step: Step) -> Context:
        return Context(
            pipeline=self.pipeline.name,
            about=self.pipeline.about,
            step=step.name,
            config=cast(Config, ConfigShare(self.config_of(step), ACTIONS[step.run].reads)),
            overrides=self.overrides_of(step) if step.sweep else self.with_inputs(step),
            sweep=step.sweep,
            inputs=self.inputs_of(step),
        )

    def stop(self) -> None:
        """Has what is under way count as stopped, and what waits to be tried again not tried."""
        self.stopping.set()
        for attempt in list(self.attempts.values()):
            attempt.stop()
