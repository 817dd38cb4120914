"""What the tables have of a run between two positions, as points of curves."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from unlatent.platform.schemas import REAL, STEPS, WHOLE

Row = dict[str, Any]
CURVES = [name for name, (kind, _) in STEPS.items() if kind in (REAL, WHOLE) and name != "images_seen"]


@dataclass(frozen=True)
class Point:
    images_seen: int
    logged_at: datetime
    values: dict[str, float]


@dataclass(frozen=True)
class Interval:
    """The rows of a run with start < images_seen <= end, and the grid of samples that was drawn at the end."""

    start: int
    end: int
    steps: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    grid: bytes | None = None  # PNG

    def beyond(self, images_seen: int) -> "Interval":
        """The part after a position."""
        steps, events = (
            [row for row in rows if row["images_seen"] > images_seen] for rows in (self.steps, self.events)
        )
        return replace(self, start=max(self.start, images_seen), steps=steps, events=events)

    def points(self) -> list[Point]:
        """In order: `train/COLUMN` for what a row of `steps` has, `events/EVENT` with the norm that it is about."""
        found = [point(row, {f"train/{name}": row[name] for name in CURVES}) for row in self.steps]
        found += [point(row, {f"events/{row['event']}": row["grad_norm"]}) for row in self.events]
        return sorted(found, key=lambda each: each.images_seen)


def point(row: Row, values: dict[str, float | None]) -> Point:
    present = {name: float(value) for name, value in values.items() if value is not None}
    return Point(row["images_seen"], row["logged_at"], present)
