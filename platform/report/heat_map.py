"""The objective by patch size and window, as colour and number."""

import itertools
import math
import re
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from unlatent.platform.report.colours import HEAT, STRONG, Colours
from unlatent.platform.report.findings import SweepFindings
from unlatent.platform.report.knobs import VARIANT
from unlatent.platform.report.marks import address, links
from unlatent.platform.report.picture import SIZE, Picture
from unlatent.platform.report.points import Row, records
from unlatent.platform.report.scales import is_wide
from unlatent.platform.report.wording import NOTHING, PLUS_MINUS, metric_title, plain, with_deviation

MOST_PANELS = 4  # one for each value of a further knob; of more values or knobs, a cell shows the best

NO_ATTENTION, NO_PIXELS = "no\nattention", "no pixel\nlevel"


def heat_maps(sweep: SweepFindings) -> list[Picture]:
    """A cell for each patch size and window, a picture for each value of one further knob; none of a single column."""
    columns = columns_of(sweep.ranked)
    if len(columns) < 2 or VARIANT in sweep.varying:  # whose settings lie on no axis
        return []
    return [heat_map(sweep, knob_value, points, columns) for knob_value, points in panels_of(sweep).items()]


def heat_map(sweep: SweepFindings, knob_value: str, points: pd.DataFrame, columns: Sequence[str]) -> Picture:
    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot(facecolor="none")
        draw_cells(axes, sweep, points, columns, colours)
        axes.set(xlabel="window: pixels merged into one attention token", ylabel="patch size")

    height = SIZE[1] if sweep.ranked["patch_size"].nunique() > 1 else SIZE[1] / 2
    ending = f", {knob_value}" if knob_value else ""
    name = "-".join(["heat-map", *re.findall(r"[\w.]+", knob_value)])  # it will be a file's
    description = f"{metric_title(sweep.metric)} by patch size and window{ending}"
    return Picture(name, f"Patch size and window{ending}", description, draw, (SIZE[0], height), links(sweep))


def panel_knob(sweep: SweepFindings) -> str | None:
    """The one further knob that panels stand for."""
    few = [knob for knob in sweep.varying if 1 < sweep.ranked[knob].nunique() <= MOST_PANELS]
    return few[0] if len(sweep.varying) == 1 and few else None


def panels_of(sweep: SweepFindings) -> dict[str, pd.DataFrame]:
    """The points of each panel, by its title."""
    knob = panel_knob(sweep)
    if knob is None:
        return {"": sweep.ranked}
    groups = sweep.ranked.groupby(knob)
    return {f"{knob.replace('_', ' ')} {plain(value)}": points for value, points in groups}


def column_of(point: Row) -> str:
    if not point["pixel_depth"]:
        return NO_PIXELS
    return f"{plain(point['window'])} × {plain(point['window'])}" if point["attention"] else NO_ATTENTION


def columns_of(points: pd.DataFrame) -> list[str]:
    """Windows, the smallest first, then what has none."""
    ordered = points.sort_values("window")
    found = list(dict.fromkeys(column_of(point) for point in records(ordered)))
    return sorted(found, key=lambda column: (column == NO_PIXELS, column == NO_ATTENTION))


def draw_cells(
    axes: Axes, sweep: SweepFindings, points: pd.DataFrame, columns: Sequence[str], colours: Colours
) -> None:
    """The best point of each cell; the best of all has a frame."""
    sizes = sorted(sweep.ranked["patch_size"].unique())
    best: dict[tuple[int, int], Row] = {}
    for point in records(points):  # the best first
        best.setdefault((columns.index(column_of(point)), sizes.index(point["patch_size"])), point)
    for x, y in itertools.product(range(len(columns)), range(len(sizes))):
        if (found := best.get((x, y))) is not None:
            draw_cell(axes, sweep, found, x, y, colours)
        else:
            axes.text(x + 0.5, y + 0.5, NOTHING, ha="center", va="center", color=colours["quiet"])
    axes.set(xlim=(0, len(columns)), ylim=(len(sizes), 0))
    axes.set_xticks([x + 0.5 for x in range(len(columns))], columns)
    axes.set_yticks([y + 0.5 for y in range(len(sizes))], [plain(size) for size in sizes])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_cell(axes: Axes, sweep: SweepFindings, point: Row, x: int, y: int, colours: Colours) -> None:
    level = shade(point[sweep.metric], sweep)
    is_best = sweep.best is not None and point["run_id"] == sweep.best["run_id"]
    edge, width = (colours["ink"], 2.0) if is_best else (colours["paper"], 1.5)
    cell = Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=colours[HEAT[level]], edgecolor=edge, linewidth=width)
    cell.set(url=address(point), clip_on=False, zorder=2 + is_best)
    axes.add_artist(cell)
    text = with_deviation(sweep.metric, point[sweep.metric], point[sweep.deviation])
    write_value(axes, text, (x + 0.5, y + 0.5), colours["paper" if level >= STRONG else "ink"])


def write_value(axes: Axes, text: str, centre: tuple[float, float], ink: str) -> None:
    """A deviation stands below its mean, smaller."""
    value, _, deviation = text.partition(PLUS_MINUS)
    labels = [axes.annotate(value, centre, (0, 4 if deviation else 0), textcoords="offset points", size=10)]
    if deviation:
        labels.append(axes.annotate(f"± {deviation}", centre, (0, -7), textcoords="offset points", size=7.5))
    for label in labels:
        label.set(ha="center", va="center", color=ink, zorder=5)


def shade(value: float, sweep: SweepFindings) -> int:
    """How good a value is among all, as an index of HEAT."""
    worst, best = sweep.ranked[sweep.metric].iloc[-1], sweep.ranked[sweep.metric].iloc[0]
    if worst == best:
        return len(HEAT) - 1
    if is_wide(min(worst, best), max(worst, best)):
        worst, best, value = math.log(worst), math.log(best), math.log(value)
    return round((value - worst) / (best - worst) * (len(HEAT) - 1))


def heat_captions(sweep: SweepFindings) -> list[str]:
    """What a cell is: at length of the first picture."""
    noun = "means over seeds" if sweep.seeds > 1 else "trials"
    said = (
        f"The same {noun} by patch size and by how hard the pixel tokens are compacted: the wider the window, the "
        "fewer tokens attend. The stronger the colour, the better; the best of all has a frame."
    )
    if sweep.varying and not panel_knob(sweep):
        others = ", ".join(name.replace("_", " ") for name in sweep.varying)
        said += f" Each cell shows the best of all that differ in {others}."
    return [said, *["Colours mean the same in each of these."] * (MOST_PANELS - 1)]
