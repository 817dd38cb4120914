"""What an image costs, in the ways that quality is set against."""

from dataclasses import dataclass

import pandas as pd

from unlatent.platform.report.findings import SweepFindings
from unlatent.platform.report.points import Row, deviation_of
from unlatent.platform.report.wording import listed, metric_in_words, metric_title, number, plural


@dataclass(frozen=True)
class Cost:
    """A column of points, and how it is spoken of."""

    column: str
    name: str  # in a file's name
    title: str  # of a figure
    axis: str
    unit: str  # after a number
    says: str  # what the number is, and what it is not
    divisor: float = 1.0  # of the column's values, for that unit

    def of(self, points: pd.DataFrame) -> pd.Series:
        return points[self.column] / self.divisor

    def deviation(self, points: pd.DataFrame) -> pd.Series:
        """Over the seeds; null where the cost follows from the network alone."""
        column = deviation_of(self.column)
        return points[column] / self.divisor if column in points else pd.Series(float("nan"), points.index)

    def in_words(self, point: Row) -> str:
        return f"{number(point[self.column] / self.divisor)} {self.unit}"


COMPUTE = Cost(
    "forward_gflops",
    "gflops",
    "Computation",
    "GFLOPs per image, forward",
    "GFLOPs an image",
    "Counted from the network: one image, one forward pass.",
)
TIME = Cost(
    "seconds_per_image",
    "seconds",
    "Time",
    "seconds per image drawn",
    "s an image",
    "Measured as the images of the evaluation were drawn, all steps of the sampler; trials that ran at once shared the "
    "machine.",
)
MEMORY = Cost(
    "activation_bytes",
    "memory",
    "Memory",
    "activations per image in training, MB",
    "MB of activations an image",
    "Counted from the network: what one image keeps for the backward pass, in float32. What a process was seen to hold "
    "says less of one network: it has libraries, data and earlier trials in it.",
    divisor=1e6,
)
COSTS = (COMPUTE, TIME, MEMORY)


def costs_of(sweep: SweepFindings) -> list[Cost]:
    """What the sweep's points are set against: first the second objective, where it has one."""
    against = (sweep.row or {}).get("against")
    known = {cost.column: cost for cost in COSTS}
    if not against or against not in sweep.points:
        return list(COSTS)
    title = metric_title(against)
    first = known.pop(against, None) or Cost(against, against, title, title, metric_in_words(against), "")
    return [first, *known.values()]


def costed(sweep: SweepFindings, cost: Cost) -> pd.DataFrame:
    """The ranked points whose cost is known."""
    points = sweep.ranked
    return points[points[cost.column].notna()] if cost.column in points else points.iloc[:0]


def restrictions(sweep: SweepFindings, cost: Cost) -> str:
    """What the figure leaves out, and on what it was measured."""
    shown = costed(sweep, cost)
    said = ["The sweep's second objective."] if cost.column == (sweep.row or {}).get("against") else []
    if cost is TIME:
        said.append(f"Drawn on {sweep.drawn_on}.")
    if left_out := len(sweep.ranked) - len(shown):
        why = "drawn on another device or without a time" if cost is TIME else f"without {cost.axis}"
        said.append(f"{plural(left_out, sweep.noun)} {why} left out.")
    return " ".join(said)


def unpictured(sweep: SweepFindings) -> str:
    """Which costs no picture can be drawn of."""
    if len(sweep.ranked) < 2:
        return ""
    names = [cost.title.lower() for cost in costs_of(sweep) if len(costed(sweep, cost)) < 2]
    return f"The tables do not say enough about {listed(names)} for a picture." if names else ""
