"""What a scheduler decided about trials at their rungs, kept in the table `events` before anything follows from it.

Which of two trials was heard first may decide between them. Their rows do not say it: they are measured in processes,
and on machines, of their own.
"""

from dataclasses import dataclass

import pyarrow.compute as pc

from unlatent.platform import tables
from unlatent.platform.provenance import now
from unlatent.platform.schemas import EVENTS
from unlatent.platform.tuning.budget import Measured
from unlatent.platform.tuning.plan import Sweep

STOPPED, WENT_ON = "stopped", "went_on"


@dataclass(frozen=True)
class Decision:
    stops: bool
    reason: str


class Decisions:
    """Those of a sweep, by run and images seen."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        found = tables.read(sweep.store, "events", pc.field("event").isin([STOPPED, WENT_ON]))
        self.known = {
            (row["run_id"], row["images_seen"]): Decision(row["event"] == STOPPED, row["reason"])
            for row in found.to_dict("records")
        }

    def of(self, measured: Measured) -> Decision | None:
        return self.known.get((measured.run_id, self.images_seen(measured)))

    def keep(self, measured: Measured, decision: Decision) -> None:
        row = dict.fromkeys(EVENTS) | {
            "run_id": measured.run_id,
            "images_seen": self.images_seen(measured),
            "event": STOPPED if decision.stops else WENT_ON,
            "reason": decision.reason,
            "logged_at": now(),
        }
        tables.append(self.sweep.store, "events", [row])

    def images_seen(self, measured: Measured) -> int:
        """Of the checkpoint that was measured."""
        [train] = [trial.run.config.train for trial in self.sweep.trials if trial.run_id == measured.run_id]
        return self.sweep.budget.images(train, measured.spent)
