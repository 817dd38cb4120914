"""How points of a sweep are marked, named and linked, the same in every picture."""

from matplotlib.axes import Axes

from unlatent.platform.report.colours import SERIES, Colours
from unlatent.platform.report.costs import costs_of
from unlatent.platform.report.findings import SweepFindings
from unlatent.platform.report.labels import Points
from unlatent.platform.report.points import Row, records
from unlatent.platform.report.wording import is_missing, metric_title, plural, with_deviation

SHAPES = "osD^v"
SEPARATOR = " · "  # of the parts of what a point says

MOST_LABELS = 14  # beyond it, only some points of the front are labelled
FEWEST_LABELS = 6  # as many as that


def mark(axes: Axes, place: Points, point: Row, sweep: SweepFindings, colours: Colours) -> None:
    """A point whose colour and shape tell the patch size; open where there is no attention between pixels."""
    shape, colour = SHAPES[series_of(point, sweep)], colour_of(point, sweep, colours)
    fill = colour if has_attention(point) else colours["paper"]
    (line,) = axes.plot(*place, shape, color=fill, mec=colour, mew=1.4, ms=6.5)
    line.set(clip_on=False, zorder=3, url=address(point))


def colour_of(point: Row, sweep: SweepFindings, colours: Colours) -> str:
    return colours[SERIES[series_of(point, sweep)]]


def series_of(point: Row, sweep: SweepFindings) -> int:
    """The place of a point's patch size among all, from the smallest; beyond five, colours and shapes come again."""
    return sorted(sweep.points["patch_size"].unique()).index(point["patch_size"]) % len(SERIES)


def has_attention(point: Row) -> bool:
    return bool(point["attention"]) and point["pixel_depth"] > 0


def address(point: Row) -> str:
    """Where the page has more about a point."""
    return f"#point-{point['run_id']}"


def links(sweep: SweepFindings) -> dict[str, str]:
    return {address(point): notes(sweep, point) for point in records(sweep.points)}


def called(sweep: SweepFindings, point: Row) -> str:
    """A point's setting, after the tag that pictures give it."""
    return f"{sweep.tag(point)}  {sweep.label(point)}" if sweep.has_long_labels else sweep.label(point)


def notes(sweep: SweepFindings, point: Row) -> str:
    """What a point says of itself: its setting, its value, its costs, its run."""
    value = f"{metric_title(sweep.metric)} {with_deviation(sweep.metric, point[sweep.metric], point[sweep.deviation])}"
    seeds = f", {plural(point['seeds'], 'seed')}" if sweep.seeds > 1 else ""
    known = [cost for cost in costs_of(sweep) if not is_missing(point.get(cost.column))]
    run = f"{'best run' if sweep.seeds > 1 else 'run'} {point['run_id']}"
    return SEPARATOR.join([called(sweep, point), f"{value}{seeds}", *(cost.in_words(point) for cost in known), run])
