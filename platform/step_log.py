"""What a training run measures as it goes: rows of `steps`, one for each logged interval."""

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unlatent.platform.devices import memory_bytes
from unlatent.platform.learner import Losses
from unlatent.platform.provenance import now


class StepLog:
    """Gathers losses on the device and reads them once an interval, so that no step waits for the device."""

    def __init__(self, run_id: str, images_seen: int, device: torch.device) -> None:
        self.run_id, self.device = run_id, device
        self.saved_at = images_seen  # where the rows not yet saved begin
        self.rows: list[dict[str, Any]] = []
        self.training_s = 0.0  # that those rows took
        self.begin_interval(images_seen)

    def begin_interval(self, images_seen: int) -> None:
        self.began_at, self.waited_s, self.started = images_seen, 0.0, time.perf_counter()
        self.losses: list[Losses] = []

    def timed(self, source: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The same batches; the time spent waiting for each is counted."""
        while True:
            started = time.perf_counter()
            batch = next(source, None)
            self.waited_s += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def add(self, losses: Losses) -> None:
        self.losses.append(losses)

    def end_interval(self, images_seen: int, step: int, learning_rate: float) -> dict[str, Any]:
        """The interval as a row of `steps`; the next one begins.

        Raises FloatingPointError for a loss or a gradient that is not finite.
        """
        loss, grad_norm = mean([each.flow for each in self.losses]), mean([each.grad_norm for each in self.losses])
        alignments = [each.alignment for each in self.losses if each.alignment is not None]
        for name, value in (("loss", loss), ("gradient norm", grad_norm)):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the {name} is {value} at {images_seen:,} images; "
                    f"a train.learning_rate below {learning_rate:g}, or a lower train.clip_norm, may help"
                )
        elapsed_s = time.perf_counter() - self.started
        row = {
            "run_id": self.run_id,
            "images_seen": images_seen,
            "step": step,
            "loss": loss,
            "alignment_loss": mean(alignments) if alignments else None,
            "grad_norm": grad_norm,
            "learning_rate": learning_rate,
            "images_per_s": (images_seen - self.began_at) / elapsed_s,
            "data_wait_share": self.waited_s / elapsed_s,
            "memory_bytes": memory_bytes(self.device),
            "logged_at": now(),
        }
        self.rows.append(row)
        self.training_s += elapsed_s
        self.begin_interval(images_seen)
        return row

    def mark_saved(self, images_seen: int) -> None:
        """Forgets the rows, now in the table; saving and reporting are no part of the next interval."""
        self.saved_at, self.rows, self.training_s = images_seen, [], 0.0
        self.begin_interval(images_seen)


def mean(values: list[Tensor]) -> float:
    return torch.stack(values).mean().item()
