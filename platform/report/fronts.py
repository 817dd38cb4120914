"""Quality against a cost, with the Pareto front."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from unlatent.platform.report.colours import Colours
from unlatent.platform.report.costs import Cost, costed
from unlatent.platform.report.findings import SweepFindings
from unlatent.platform.report.labels import Points, place_labels
from unlatent.platform.report.marks import FEWEST_LABELS, MOST_LABELS, colour_of, links, mark
from unlatent.platform.report.picture import Picture
from unlatent.platform.report.points import records
from unlatent.platform.report.scales import scale
from unlatent.platform.report.wording import metric_title


def front_picture(sweep: SweepFindings, cost: Cost) -> Picture:
    """The objective of each point against what an image costs; bars are deviations over seeds."""
    points, title = costed(sweep, cost), metric_title(sweep.metric)
    front = pareto_front(points, cost, sweep.metric, sweep.direction)
    labelled = points if len(points) <= MOST_LABELS else some_of(front)

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot(facecolor="none")
        places = coordinates(points, cost, sweep)
        reach = np.column_stack([cost.deviation(points), points[sweep.deviation]])
        reach = np.nan_to_num(reach.astype(float))
        scale(axes.xaxis, ends(places, reach, 0), axes.set_xscale)
        scale(axes.yaxis, ends(places, reach, 1), axes.set_yscale)
        axes.set(xlabel=cost.axis, ylabel=title)
        axes.margins(0.14, 0.12)
        steps = coordinates(front, cost, sweep)
        axes.plot(*steps.T, color=colours["quiet"], lw=1, drawstyle="steps-post", zorder=1)
        lines = [stairs(steps)]
        for point, place, deviations in zip(records(points), places, reach, strict=True):
            lines += (bars := bars_of(place, deviations))
            for bar in bars:
                axes.plot(*bar.T, color=colour_of(point, sweep, colours), lw=1, zorder=2)
            mark(axes, place, point, sweep, colours)
        names = [sweep.tag(point) for point in records(labelled)]
        place_labels(axes, coordinates(labelled, cost, sweep), names, places, lines)

    name, heading = f"quality-{cost.name}", f"Quality and {cost.title.lower()}"
    return Picture(name, heading, f"{title} of each {sweep.noun} against {cost.axis}", draw, links=links(sweep))


def coordinates(points: pd.DataFrame, cost: Cost, sweep: SweepFindings) -> Points:
    return np.column_stack([cost.of(points), points[sweep.metric]]).astype(float)


def ends(places: Points, reach: Points, axis: int) -> list[float]:
    """The values of an axis, and as far as the bars along it reach."""
    return [*(places[:, axis] - reach[:, axis]), *(places[:, axis] + reach[:, axis])]


def bars_of(place: Points, reach: Points) -> list[Points]:
    """A line through a point along each axis in which it deviates."""
    return [np.stack([place - along, place + along]) for along in np.diag(reach) if along.any()]


def some_of(front: pd.DataFrame) -> pd.DataFrame:
    """A few along the front, its ends among them."""
    places = np.linspace(0, len(front) - 1, min(len(front), FEWEST_LABELS))
    return front.iloc[np.unique(places.round().astype(int))]


def pareto_front(points: pd.DataFrame, cost: Cost, metric: str, direction: str) -> pd.DataFrame:
    """The points that no other beats in both cost and quality, the cheapest first."""
    sign = 1 if direction == "min" else -1
    loss = sign * points[metric]
    ordered = points.assign(loss=loss).sort_values([cost.column, "loss"])
    best_so_far = ordered["loss"].cummin().shift(fill_value=float("inf"))
    return ordered[ordered["loss"] < best_so_far]


def stairs(front: Points) -> Points:
    """The corners of the front's line: from each point sideways, then to the next."""
    corners = front.repeat(2, axis=0)
    return np.column_stack([corners[1:, 0], corners[:-1, 1]])
