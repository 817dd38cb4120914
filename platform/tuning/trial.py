"""What runs in a trial's process: the training loop, measured where trials are compared.

One worker is the trial's process itself, which is used for trial after trial: 0.2 s each, where a Ray Train run in each
costs seconds and some GB. For several workers see `crew_trial`.
"""

import contextlib
from dataclasses import dataclass

from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.config import from_yaml, to_yaml
from unlatent.platform.datasets import open_dataset
from unlatent.platform.devices import forget_earlier_work, local_device
from unlatent.platform.evaluation import evaluate_checkpoint
from unlatent.platform.generation import load_model
from unlatent.platform.runs import Run, plan_run, require_identity
from unlatent.platform.store import Store
from unlatent.platform.training import PausedError, Worker, train
from unlatent.platform.tuning.budget import Budget
from unlatent.platform.tuning.exchange import Settings
from unlatent.platform.tuning.plan import Sweep, Trial


@dataclass(frozen=True)
class Task:
    """A trial as its processes see it."""

    run: Run
    store: Store
    budget: Budget
    metrics: list[str]  # the objective, and the second one where that is a metric
    until: float | None = None  # of the budget: there the trial is measured, and waits; None: it goes on

    def spent(self, checkpoint: Checkpoint | None) -> float | None:
        """What the trial has spent at a checkpoint at which trials are compared."""
        spent = self.budget.spent(self.run.config.train, checkpoint.images_seen) if checkpoint else None
        return spent if self.until is None or spent == self.until else None

    def pauses(self, checkpoint: Checkpoint | None) -> bool:
        """Whether the trial is to wait at a checkpoint."""
        return self.until is not None and self.until < self.budget.total and self.spent(checkpoint) is not None

    def measure(self, checkpoint: Checkpoint | None) -> dict[str, float] | None:
        """What Tune is told of a checkpoint at which trials are compared; out of the table if it is there already."""
        spent = self.spent(checkpoint)
        if checkpoint is None or spent is None:
            return None
        config = self.run.config
        model = load_model(self.store, checkpoint.path, config.evaluation.weights, local_device())
        rows = evaluate_checkpoint(self.store, model, self.run.dataset, config.evaluation, config.sampler)
        values = {row["metric"]: row["value"] for row in rows}
        if missing := [name for name in self.metrics if name not in values]:
            raise FloatingPointError(f"{missing[0]} of {checkpoint.path} is no number: nor are all that it draws")
        return {"spent": spent} | {name: values[name] for name in self.metrics}


def settings_of(sweep: Sweep, trial: Trial) -> Settings:
    """A trial's settings, of plain values."""
    definition, budget = sweep.definition, sweep.budget
    return {
        "run_id": trial.run_id,
        "config": to_yaml(trial.run.config),
        "identity": trial.run.identity,
        "sweep": definition.name,
        "variant": trial.run.variant,
        "budget": {"unit": budget.unit, "total": budget.total, "rungs": budget.rungs},
        "metrics": sweep.metrics,
        "until": trial.until,
    }


def task_of(given: Settings) -> Task:
    """Raises ValueError where it is another run here than was planned: the data set has changed, say."""
    config = from_yaml(given["config"])
    store = Store(config.store)
    run = plan_run(config, open_dataset(config.data, store), given["sweep"], given["variant"])
    require_identity(run, given["identity"])
    return Task(run, store, Budget(**given["budget"]), given["metrics"], given["until"])


def run_trial(settings: dict[str, Settings]) -> None:
    """What Ray Tune runs: a trial of one worker, to its end or until it is stopped or is to wait."""
    from ray import tune

    forget_earlier_work()
    task = task_of(settings["trial"])

    def report(checkpoint: Checkpoint | None) -> None:
        if measured := task.measure(checkpoint):
            tune.report(measured)
        if task.pauses(checkpoint):
            raise PausedError

    with contextlib.suppress(FloatingPointError, PausedError):  # its row says so
        train(task.run, task.store, Worker(report=report, reports_at_once=True))
