"""A sweep before it runs: its trials, and what is left out because it cannot work."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from unlatent.platform.config import Config, compose_config, load_sweep
from unlatent.platform.datasets import Dataset, open_dataset
from unlatent.platform.refusals import UnknownSettingError
from unlatent.platform.runs import Run, fitted, plan_run
from unlatent.platform.store import Store
from unlatent.platform.tuning.budget import Budget, budget_of, within
from unlatent.platform.tuning.ranges import Range
from unlatent.platform.tuning.space import (
    COSTS,
    VARIANT,
    Point,
    SweepConfig,
    broken_condition,
    combinations,
    overrides_of,
    replaced,
)

MOST_DRAWS = 100  # for each point of a random search, before it is said that there are no more

# What trials may not differ in, though it is a setting of training, and why.
NO_KNOBS = {
    "train": "a named choice says how long trials are; name the settings that matter",
    "train.run": "trials name themselves",
    "train.seed": "sweep.seeds=3 gives each point three seeds",
    "train.total_images": "trials are compared at equal budgets; set it, or sweep.total_gflops, for all of them",
    "train.fork": "a fork begins further on than others; give train.fork to all of them",
    "train.checkpoint_images": "it says where trials are looked at; set it for all of them",
}


@dataclass(frozen=True)
class Candidate:
    """A point whose settings work together, and the config that they make; not fitted to its data yet."""

    knobs: Point
    config: Config


@dataclass(frozen=True)
class Trial:
    """One point of a sweep under one seed: the knobs that make it, and the run that it is."""

    knobs: Point
    run: Run
    until: float | None = None  # of its budget: there it waits to be started again. None: it goes on to the end

    @property
    def run_id(self) -> str:
        return self.run.run_id


@dataclass(frozen=True)
class Sweep:
    """A sweep as planned."""

    definition: SweepConfig
    shared: list[str]  # overrides that all trials have
    dataset: Dataset
    candidates: list[Candidate]  # that are to be tried, or, by an Optuna search, may be; of a range one, as an example
    trials: list[Trial]  # of all candidates; an Optuna search and a population add them as they go
    pruned: list[str]  # why each combination that was left out cannot work
    working: int  # how many combinations can, of which a random search takes some

    @property
    def config(self) -> Config:
        """Of the sweep as a whole: store, cluster, evaluation."""
        return self.candidates[0].config

    @property
    def store(self) -> Store:
        return Store(self.config.store)

    @property
    def budget(self) -> Budget:
        return budget_of(self.definition, self.config)

    @property
    def planned(self) -> int:
        """How many trials there are to be; of a population, if none fails."""
        points = planned_points(self.definition, self.working)
        forks = replaced(points) * len(self.budget.rungs) if self.is_population else 0
        return points * self.definition.seeds + forks

    @property
    def is_population(self) -> bool:
        return self.definition.scheduler == "pbt"

    @property
    def metrics(self) -> list[str]:
        """What trials are measured for: the objective, and the second one where that is a metric."""
        second = self.definition.against
        return [self.definition.metric, *([second] if second and second not in COSTS else [])]

    def trials_of(self, candidate: Candidate) -> list[Trial]:
        """A trial for each seed."""
        return [self.trial(candidate.knobs, config) for config in sown(self.definition, candidate.config)]

    def trial(self, knobs: Point, config: Config) -> Trial:
        """The trial of a config that the knobs make."""
        limited = within(self.definition, fitted(config, self.dataset))
        return Trial(knobs, plan_run(limited, self.dataset, self.definition.name, knobs.get(VARIANT)))

    def candidate(self, knobs: Point) -> Candidate:
        """Raises ValueError for a point that cannot work."""
        return candidate_at(self.definition, self.shared, knobs)


def plan_sweep(name: str, overrides: Sequence[str]) -> Sweep:
    """A sweep with the trials that are known beforehand.

    Raises ValueError for a definition that names an unknown key, has no combination that works, has rungs at which no
    trial has a checkpoint, or turns a knob that makes its trials' metrics incomparable.
    """
    definition = load_sweep(name, overrides)
    refuse_incomparable(definition)
    shared = shared_overrides(definition, overrides)
    working, pruned = candidates(definition, shared)
    config = working[0].config
    if config.train.run is not None:
        raise ValueError(f"train.run={config.train.run!r} names one run; the trials of a sweep name themselves")
    budget_of(definition, config)
    dataset = open_dataset(config.data, Store(config.store))
    sweep = Sweep(definition, shared, dataset, chosen(definition, working), [], pruned, len(working))
    if definition.search != "optuna" and not sweep.is_population:
        for candidate in sweep.candidates:
            sweep.trials.extend(sweep.trials_of(candidate))
    refuse_twins(sweep)
    return sweep


def planned_configs(name: str, overrides: Sequence[str]) -> list[Config]:
    """The configs of the trials that a sweep would run, not fitted to their data; by an Optuna search, such ones."""
    definition = load_sweep(name, overrides)
    working, _ = candidates(definition, shared_overrides(definition, overrides))
    points = chosen(definition, working)
    number = planned_points(definition, len(working))
    points = (points * number)[:number]
    return [within(definition, config) for point in points for config in sown(definition, point.config)]


def planned_points(definition: SweepConfig, working: int) -> int:
    if definition.search == "grid":
        return working
    return min(definition.samples, working) if definition.is_finite else definition.samples


def refuse_incomparable(definition: SweepConfig) -> None:
    """Raises ValueError for knobs that change what a metric is measured on or with."""
    for path in definition.turned:
        if path.split(".")[0] not in {"model", "train"}:
            raise ValueError(f"sweep.knobs.{path}: trials are ranked, so only model and train settings may differ")
        if path in NO_KNOBS:
            raise ValueError(f"sweep.knobs.{path}: {NO_KNOBS[path]}")


def refuse_twins(sweep: Sweep) -> None:
    for trial, number in Counter(trial.run_id for trial in sweep.trials).items():
        if number > 1:
            raise ValueError(
                f"sweep {sweep.definition.name}: {number} combinations of its knobs are one trial, {trial}"
            )


def shared_overrides(definition: SweepConfig, overrides: Sequence[str]) -> list[str]:
    """What all trials of a sweep are told."""
    return [*definition.overrides, *(text for text in overrides if not text.startswith("sweep."))]


def candidate_at(definition: SweepConfig, shared: Sequence[str], knobs: Point) -> Candidate:
    """Raises ValueError for a point that does not meet a condition, or whose settings do not work together."""
    if broken := broken_condition(definition, knobs):
        raise ValueError(f"it does not meet the condition {broken!r}")
    config = compose_config([*shared, *overrides_of(definition, knobs)])
    within(definition, config)
    return Candidate(knobs, config)


def sown(definition: SweepConfig, config: Config) -> list[Config]:
    """The config under each of a point's seeds."""
    seeds = range(config.train.seed, config.train.seed + definition.seeds)
    return [replace(config, train=replace(config.train, seed=seed)) for seed in seeds]


def candidates(definition: SweepConfig, shared: Sequence[str]) -> tuple[list[Candidate], list[str]]:
    """The points that can work, and why each of the others cannot.

    Where a knob is a range: as many as a random search takes, and one for an Optuna search, as an example.
    """
    if not definition.is_finite:
        number = 1 if definition.search == "optuna" else definition.samples
        return drawn(definition, shared, number), []
    working, pruned = [], []
    for knobs in combinations(definition):
        try:
            working.append(candidate_at(definition, shared, knobs))
        except UnknownSettingError:
            raise
        except ValueError as error:
            pruned.append(str(error))
    if not working:
        raise ValueError(f"sweep {definition.name}: no combination of its knobs works; the first: {pruned[0]}")
    return working, pruned


def chosen(definition: SweepConfig, working: list[Candidate]) -> list[Candidate]:
    """Those to be tried: of a random search as many as `samples`, drawn without repetition from its seed."""
    if definition.search != "random" or definition.samples >= len(working):
        return working
    return random.Random(definition.seed).sample(working, definition.samples)


def drawn(definition: SweepConfig, shared: Sequence[str], number: int) -> list[Candidate]:
    """Points drawn from the search's seed, without repetition.

    Raises ValueError where so many that work are not found.
    """
    found: list[Candidate] = []
    tried: set[str] = set()
    why = "they repeat each other"
    for knobs in draws(definition, number):
        if str(knobs) in tried:
            continue
        tried.add(str(knobs))
        try:
            found.append(candidate_at(definition, shared, knobs))
        except UnknownSettingError:
            raise
        except ValueError as error:
            why = str(error)
        if len(found) == number:
            return found
    raise ValueError(
        f"sweep.samples={number}: {number * MOST_DRAWS} draws found only {len(found)} points that work; {why}"
    )


def draws(definition: SweepConfig, number: int) -> Iterator[Point]:
    generator = random.Random(definition.seed)
    for _ in range(number * MOST_DRAWS):
        yield {
            path: values.draw(generator) if isinstance(values, Range) else generator.choice(values)
            for path, values in definition.values.items()
        }
