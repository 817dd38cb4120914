"""What every trial of a sweep has as much of: images, or training GFLOPs. Trials are compared where both are equal."""

import math
from dataclasses import dataclass, replace

from unlatent.models import cost
from unlatent.platform.config import Config
from unlatent.platform.optimization import TrainConfig
from unlatent.platform.tuning.space import SweepConfig


@dataclass(frozen=True)
class Budget:
    """The amounts at which trials are compared: at rungs, where the scheduler has any, and at the end."""

    unit: str  # images or training_gflops
    total: float
    rungs: tuple[float, ...] = ()  # below the total, rising

    def spent(self, train: TrainConfig, images_seen: int) -> float | None:
        """What a trial has spent at a checkpoint at which trials are compared; None at any other."""
        if images_seen >= train.total_images:
            return self.total
        if not self.rungs:
            return None
        every = self.rungs[0] if self.unit == "training_gflops" else train.checkpoint_images
        amount = images_seen // train.checkpoint_images * every
        return amount if amount in self.rungs else None

    def images(self, train: TrainConfig, amount: float) -> int:
        """The images that a trial has seen at a rung: at the first step at which it has spent that."""
        steps = amount / self.rungs[0] * train.checkpoint_images if self.unit == "training_gflops" else amount
        return math.ceil(round(steps) / train.batch_size) * train.batch_size

    def said(self, amount: float) -> str:
        return f"{amount:,.0f} images" if self.unit == "images" else f"{amount:,.4g} training GFLOPs"


@dataclass(frozen=True)
class Measured:
    """The objective of a trial where it had spent so much of its budget."""

    run_id: str
    spent: float
    value: float


def budget_of(definition: SweepConfig, config: Config) -> Budget:
    """The budget of each trial.

    Raises ValueError for rungs that no checkpoint would be at.
    """
    total = definition.total_gflops or config.train.total_images
    if definition.scheduler == "fixed":
        return Budget(definition.budget, total)
    rungs = [first_rung(definition, config.train)]
    if definition.scheduler == "pbt":
        require_sources(definition, config.train, rungs[0])
    while (following := after(rungs, definition)) < total:
        rungs.append(following)
    return Budget(definition.budget, total, tuple(rungs))


def after(rungs: list[float], definition: SweepConfig) -> float:
    """The rung after others: as far again as the first for a population, else so many times as far."""
    return rungs[-1] + rungs[0] if definition.scheduler == "pbt" else rungs[-1] * definition.reduction


def require_sources(definition: SweepConfig, train: TrainConfig, first: float) -> None:
    """Raises ValueError where a population would not find the checkpoints that its members are to go on from."""
    total = definition.total_gflops or train.total_images
    if first >= total:
        raise ValueError(f"sweep.scheduler=pbt: its first rung, {first:,}, is not below the whole, {total:,}")
    between = 1 if definition.total_gflops else int(first) // train.checkpoint_images
    if between >= train.keep_checkpoints:
        raise ValueError(
            f"train.keep_checkpoints={train.keep_checkpoints}: the last rung's would be gone by the next one, which is "
            f"{between} on; {between + 1} would do"
        )


def require_rungs(budget: Budget, train: TrainConfig) -> None:
    """Raises ValueError for a rung at which no checkpoint is, for no batch ends there."""
    for rung in budget.rungs:
        images = budget.images(train, rung)
        if budget.spent(train, images) != rung:
            raise ValueError(
                f"the rung at {budget.said(rung)} cannot be told from the next: after the batch that reaches it, "
                f"{images:,} of {train.total_images:,} images have been seen; rungs of whole batches would do "
                f"(train.batch_size={train.batch_size})"
            )


def first_rung(definition: SweepConfig, train: TrainConfig) -> float:
    if definition.total_gflops:
        if definition.rung_gflops is None:
            raise ValueError(f"sweep.scheduler={definition.scheduler} with sweep.total_gflops needs sweep.rung_gflops")
        return definition.rung_gflops
    images, every = definition.rung_images or train.checkpoint_images, train.checkpoint_images
    if images % every:
        raise ValueError(f"sweep.rung_images={images} is not a multiple of train.checkpoint_images={every}")
    if images > train.total_images:
        raise ValueError(f"sweep.rung_images={images} is above train.total_images={train.total_images}")
    return images


def within(definition: SweepConfig, config: Config) -> Config:
    """The config with as many images as the budget in training GFLOPs allows; it is of a network fitted to its data.

    Checkpoints are at rungs, where there are any, and else at the same shares of the way as before.

    Raises ValueError for a budget below one batch.
    """
    if not definition.total_gflops:
        return config
    train, each = config.train, cost.training_gflops(config.model)

    def images(gflops: float) -> int:
        return int(gflops / each) // train.batch_size * train.batch_size

    share = min(1.0, train.checkpoint_images / train.total_images)
    first = definition.rung_gflops if definition.rung_gflops else definition.total_gflops * share
    if not images(min(first, definition.total_gflops)):
        name = "rung_gflops" if definition.rung_gflops else "total_gflops"
        batch = f"a batch of {train.batch_size} images × {each:.3g} training GFLOPs"
        raise ValueError(f"sweep.{name}={getattr(definition, name):g} does not allow for {batch}")
    return replace(
        config, train=replace(train, total_images=images(definition.total_gflops), checkpoint_images=images(first))
    )
