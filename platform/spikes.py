"""Steps that would spoil the weights: on a gradient that is not finite, or far larger than those before it.

Such a step is never taken, whatever is done about it afterwards. Whether one is such a step is decided on the device
(no step waits for it) and from the gradient of all workers, so that all of them decide alike.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ACTIONS = ("skip", "rollback", "stop")
MEMORY = 0.98  # what the typical norm keeps of itself in a step: it looks back over some 50 of them
SETTLED = 50  # steps before which no norm is typical


@dataclass(kw_only=True)
class SpikeConfig:
    action: str = "skip"  # the step; or rollback to the last checkpoint at a lower rate; or stop the run
    factor: float | None = None  # times the typical norm make a gradient a spike; None: only what is not finite is one
    limit: int = 10  # steps skipped, or rollbacks, after which a run stops
    lowered: float = 0.5  # what a rollback multiplies the learning rate by

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"train.spikes.action={self.action!r} is not one of {', '.join(ACTIONS)}")
        if self.factor is not None and not self.factor > 1:
            raise ValueError(f"train.spikes.factor={self.factor} is not above 1; 10 would do")
        if self.limit < 0:
            raise ValueError(f"train.spikes.limit={self.limit} is below 0")
        if not 0 < self.lowered <= 1:
            raise ValueError(f"train.spikes.lowered={self.lowered} is not above 0 and at most 1; 0.5 would do")


class NormGauge:
    """The typical gradient norm (a geometric running mean), and which norms are too far above it."""

    def __init__(self, factor: float | None, device: torch.device) -> None:
        self.factor = factor
        self.log_norm = torch.zeros((), device=device)
        self.steps = torch.zeros((), device=device)

    def refuse(self, norm: Tensor) -> Tensor:
        """1 for the norm of a step that must not be taken, and 0 for others, which it learns from."""
        refused = ~norm.isfinite()
        if self.factor is not None:
            refused |= (self.steps >= SETTLED) & (norm > self.factor * self.log_norm.exp())
        keep = torch.where(self.steps > 0, MEMORY, 0.0)
        learned = keep * self.log_norm + (1 - keep) * norm.clamp(min=1e-30).log()
        self.log_norm = torch.where(refused, self.log_norm, learned)
        self.steps = self.steps + (~refused).float()
        return refused.float()

    def state(self) -> dict[str, Tensor]:
        return {"log_norm": self.log_norm, "steps": self.steps}

    def load(self, state: dict[str, Tensor]) -> None:
        self.log_norm, self.steps = (state[name].to(self.steps.device) for name in ("log_norm", "steps"))


class RollBackError(Exception):
    """The run is to go on from its last checkpoint, at a lower rate."""


def act(config: SpikeConfig, refused: list[dict[str, Any]], skipped: int, rollbacks: int, total_images: int) -> None:
    """Does what is to be done about steps not taken: `refused` since the last time, `skipped` in the run so far.

    A run does not end well whose very last step could not be taken: its weights are in doubt.

    Raises RollBackError, or FloatingPointError for a run that is to stop.
    """
    if not refused:
        return
    last = refused[-1]
    what = f"the gradient norm was {last['grad_norm']:g} at {last['images_seen']:,} images"
    if config.action == "stop":
        raise FloatingPointError(f"{what}; train.spikes.action=skip or rollback would go on, and {REMEDY}")
    if config.action == "rollback" and rollbacks < config.limit:
        raise RollBackError
    if config.action == "rollback" or skipped > config.limit:
        raise FloatingPointError(
            f"{what}; {skipped} steps skipped and {rollbacks} rollbacks, of train.spikes.limit={config.limit}; {REMEDY}"
        )
    if last["images_seen"] >= total_images:
        raise FloatingPointError(f"{what}, in the last step of all; {REMEDY}")


REMEDY = "a lower train.learning_rate or train.clip_norm may help"
