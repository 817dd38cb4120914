"""What a training run measures as it goes: rows of `steps`, one for each logged interval, and of `events`."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unlatent.models.condition import Condition
from unlatent.platform.crew import ALONE, Crew
from unlatent.platform.devices import memory_bytes
from unlatent.platform.learner import Losses
from unlatent.platform.provenance import now


@dataclass(frozen=True)
class Logged:
    """What was logged between two checkpoints."""

    saved_at: int  # images seen at the first
    rows: list[dict[str, Any]]
    events: list[dict[str, Any]]
    training_s: float


class StepLog:
    """Gathers losses on the device and reads them once an interval, so that no step waits for the device."""

    def __init__(
        self, run_id: str, images_seen: int, device: torch.device, top_images_per_s: float, crew: Crew = ALONE
    ) -> None:
        self.run_id, self.device, self.crew = run_id, device, crew
        self.top_images_per_s = top_images_per_s  # if the devices did nothing but multiply, as fast as they can
        self.saved_at = images_seen  # where the rows not yet saved begin
        self.rows: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.training_s = 0.0  # that those rows took
        self.begin_interval(images_seen)

    def begin_interval(self, images_seen: int) -> None:
        self.began_at, self.waited_s, self.started = images_seen, 0.0, time.perf_counter()
        self.losses: list[Losses] = []

    def timed(self, source: Iterator[tuple[Tensor, Condition]]) -> Iterator[tuple[Tensor, Condition]]:
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

    def end_interval(self, images_seen: int, step: int, learning_rate: float) -> list[dict[str, Any]]:
        """Adds the interval as a row of `steps`, and each step in it that was not taken as a row of `events`.

        Returns those events; the next interval begins. Means are over the steps that were taken, and null for none.
        """
        refused = [bool(each) for each in torch.stack([each.refused for each in self.losses]).tolist()]
        taken = [each for each, left in zip(self.losses, refused, strict=True) if not left]
        loss, alignment, waited_s = self.over_workers(
            mean([each.flow for each in taken]),
            mean([each.alignment for each in taken if each.alignment is not None]),
        )
        elapsed_s = time.perf_counter() - self.started
        images_per_s = (images_seen - self.began_at) / elapsed_s
        events = self.events_of(refused, images_seen, step)
        self.rows.append(
            {
                "run_id": self.run_id,
                "images_seen": images_seen,
                "step": step,
                "loss": loss,
                "alignment_loss": alignment,
                "grad_norm": mean([each.grad_norm for each in taken]),
                "learning_rate": learning_rate,
                "skipped": len(events),
                "images_per_s": images_per_s,
                "data_wait_share": waited_s / elapsed_s,
                "memory_bytes": memory_bytes(self.device),
                "mfu": images_per_s / self.top_images_per_s,
                "logged_at": now(),
            }
        )
        self.events += events
        self.training_s += elapsed_s
        self.begin_interval(images_seen)
        return events

    def over_workers(self, loss: float | None, alignment: float | None) -> tuple[float | None, float | None, float]:
        """Means of both over the workers, whose parts of a batch are equal, and the longest wait for data."""
        losses, alignments, waits = zip(*self.crew.gather((loss, alignment, self.waited_s)), strict=True)
        return mean_of(losses), mean_of(alignments), max(waits)

    def events_of(self, refused: list[bool], images_seen: int, step: int) -> list[dict[str, Any]]:
        batch_size = (images_seen - self.began_at) // len(refused)
        events: list[dict[str, Any]] = []
        for back, (losses, left) in enumerate(reversed(list(zip(self.losses, refused, strict=True)))):
            if left:
                norm = losses.grad_norm.item()
                event = {
                    "run_id": self.run_id,
                    "images_seen": images_seen - back * batch_size,
                    "step": step - back,
                    "event": "step_skipped",
                    "reason": "spike" if math.isfinite(norm) else "non_finite",
                    "grad_norm": norm,
                    "logged_at": now(),
                }
                events.insert(0, event)
        return events

    def take(self) -> Logged:
        """What was logged since the last checkpoint; it stays here until `mark_saved`."""
        return Logged(self.saved_at, self.rows, self.events, self.training_s)

    def mark_saved(self, images_seen: int) -> None:
        """Begins anew, with rows of its own; saving and reporting are no part of the next interval."""
        self.saved_at, self.rows, self.events, self.training_s = images_seen, [], [], 0.0
        self.begin_interval(images_seen)


def mean(values: list[Tensor]) -> float | None:
    return torch.stack(values).mean().item() if values else None


def mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
