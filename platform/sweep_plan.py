"""A sweep before it runs: its definition, its trials, and what is left out because it cannot work."""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from unlatent.platform import tables
from unlatent.platform.config import Config, UnknownSettingError, compose_config, load_sweep
from unlatent.platform.datasets import Dataset, open_dataset
from unlatent.platform.runs import Run, plan_run
from unlatent.platform.store import Store
from unlatent.platform.sweep_space import SweepConfig, as_overrides, choose, combinations


@dataclass(frozen=True)
class Trial:
    """One point of a sweep: the knobs that make it, and the run that it is."""

    knobs: dict[str, Any]
    run: Run

    @property
    def run_id(self) -> str:
        return self.run.run_id


@dataclass(frozen=True)
class Sweep:
    """A sweep as planned."""

    definition: SweepConfig
    config: Config  # of the sweep as a whole: store, cluster, evaluation
    dataset: Dataset
    trials: list[Trial]
    pruned: list[str]  # why each combination that was left out cannot work

    @property
    def store(self) -> Store:
        return Store(self.config.store)


def plan_sweep(name: str, overrides: Sequence[str]) -> Sweep:
    """The trials of a sweep.

    Raises ValueError for a definition that names an unknown key, has no combination that works, or turns a knob that
    makes its trials' metrics incomparable.
    """
    definition = load_sweep(name, overrides)
    for key in definition.knobs:
        if key.split(".")[0] not in {"model", "train"}:
            raise ValueError(f"sweep.knobs.{key}: trials are ranked, so only model and train settings may differ")
    shared = [*definition.overrides, *(text for text in overrides if not text.startswith("sweep."))]
    working, pruned = work_out(definition, shared)
    config = working[0][1]
    if config.cluster.workers > 1:
        raise ValueError(
            f"cluster.workers={config.cluster.workers}: a trial runs in one process; use cluster.workers=1"
        )
    if config.train.run is not None:
        raise ValueError(f"train.run={config.train.run!r} names one run; the trials of a sweep name themselves")
    dataset = open_dataset(config.data, Store(config.store))
    chosen = choose(definition, working)
    trials = [Trial(knobs, plan_run(each, dataset, definition.name)) for knobs, each in chosen]
    for trial, number in Counter(trial.run_id for trial in trials).items():
        if number > 1:
            raise ValueError(f"sweep {definition.name}: {number} combinations of its knobs are one trial, {trial}")
    return Sweep(definition, config, dataset, trials, pruned)


def work_out(definition: SweepConfig, shared: Sequence[str]) -> tuple[list[tuple[dict[str, Any], Config]], list[str]]:
    """The combinations of knobs that work, with the config of each, and why each of the others cannot."""
    working, pruned = [], []
    for knobs in combinations(definition):
        try:
            working.append((knobs, compose_config([*shared, *as_overrides(knobs)])))
        except UnknownSettingError:
            raise
        except ValueError as error:
            pruned.append(str(error))
    if not working:
        raise ValueError(f"sweep {definition.name}: no combination of its knobs works; the first: {pruned[0]}")
    return working, pruned


def describe(sweep: Sweep, waiting: int) -> str:
    done = len(sweep.trials) - waiting
    parts = [f"sweep {sweep.definition.name}: {len(sweep.trials)} trials"]
    if sweep.pruned:
        parts.append(f"{len(sweep.pruned)} combinations left out (the first: {sweep.pruned[0]})")
    if done:
        parts.append(f"{done} done before")
    return "; ".join(parts)


def definition_text(sweep: Sweep) -> str:
    """What decides a sweep's trials and their ranking."""
    decisive = asdict(sweep.definition) | {"max_concurrent": None}
    settings = {"evaluation": asdict(sweep.config.evaluation), "sampler": asdict(sweep.config.sampler)}
    trials = [trial.run_id for trial in sweep.trials]
    return yaml.safe_dump({"definition": decisive, **settings, "trials": trials}, sort_keys=False)


def refuse_changed_definition(sweep: Sweep) -> None:
    before = tables.row(sweep.store, "sweeps", sweep.definition.name)
    if before is None or before["definition"] == definition_text(sweep):
        return
    old, new = before["definition"].splitlines(), definition_text(sweep).splitlines()
    changes = [line for line in difflib.ndiff(old, new) if line[0] in "+-"]
    raise ValueError(
        f"sweep {sweep.definition.name!r} exists with another definition: {'; '.join(changes[:8])}; "
        "give sweep.name another name"
    )
