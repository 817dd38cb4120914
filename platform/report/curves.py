"""Training losses."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unlatent.platform.report.colours import Colours
from unlatent.platform.report.findings import SweepFindings
from unlatent.platform.report.labels import spread
from unlatent.platform.report.marks import MOST_LABELS, colour_of, has_attention
from unlatent.platform.report.picture import Picture
from unlatent.platform.report.points import Row, point_of, records
from unlatent.platform.report.scales import scale

SHOWN_OF_MANY = 5  # of more curves than have labels, the best so many stand out


def losses_picture(sweep: SweepFindings) -> Picture:
    """The smoothed loss of each point, named where it ends: the mean over seeds, in a band of their deviation."""
    curves = curves_of(sweep)
    points = [point for point in records(sweep.points) if point["run_id"] in curves]
    named = points if len(points) <= MOST_LABELS else points[:SHOWN_OF_MANY]

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot(facecolor="none")
        for point in reversed(points):
            draw_curve(axes, curves[point["run_id"]], point, sweep, colours, point in named)
        loss_axes(axes, pd.concat([curve["mean"] for curve in curves.values()]))
        ends = np.array([last_of(curves[point["run_id"]]) for point in named], float)
        names = [sweep.tag(point) for point in named]
        spread(axes, ends, names, [colour_of(point, sweep, colours) for point in named])

    return Picture("losses", "Training loss", f"Training loss of each {sweep.noun}", draw)


def named_curves(sweep: SweepFindings) -> str:
    """Which curves stand out, where there are too many to tell apart."""
    return f" The best {SHOWN_OF_MANY} have names." if len(sweep.points) > MOST_LABELS else ""


def draw_curve(
    axes: Axes, curve: pd.DataFrame, point: Row, sweep: SweepFindings, colours: Colours, is_named: bool
) -> None:
    """Dashed without attention between pixels; quiet among many better ones."""
    if not is_named:
        axes.plot(curve.index, curve["mean"], color=colours["line"], lw=0.7, zorder=1)
        return
    colour, dashes = colour_of(point, sweep, colours), "-" if has_attention(point) else (0, (3, 2))
    axes.plot(curve.index, curve["mean"], color=colour, lw=1.2, ls=dashes)
    band = curve.dropna()
    low, high = band["mean"] - band["deviation"], band["mean"] + band["deviation"]
    axes.fill_between(band.index, low, high, color=colour, alpha=0.15, lw=0)


def curves_of(sweep: SweepFindings) -> dict[str, pd.DataFrame]:
    """Mean and deviation of the loss over a point's runs by images seen; by the run that the point is named by."""
    point = dict(zip(sweep.trials["run_id"], point_of(sweep.trials), strict=True))
    runs = {run_id: smoothed(steps) for run_id, steps in sweep.steps.groupby("run_id")}
    found = {}
    for row in records(sweep.points):
        of_point = [curve for run_id, curve in runs.items() if point[run_id] == point[row["run_id"]]]
        if of_point:
            seeds = pd.concat(of_point, axis=1)
            found[row["run_id"]] = pd.DataFrame(
                {"mean": seeds.mean(axis=1), "deviation": seeds.std(axis=1)}
            ).sort_index()
    return found


def last_of(curve: pd.DataFrame) -> tuple[float, float]:
    return curve.index[-1], curve["mean"].iloc[-1]


def loss_picture(steps: pd.DataFrame) -> Picture:
    """The training loss of one run: as logged, and smoothed."""
    curve = smoothed(steps)

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot(facecolor="none")
        colour = colours["series-0"]
        axes.plot(steps["images_seen"], steps["loss"], color=colour, lw=0.8, alpha=0.35)
        axes.plot(curve.index, curve, color=colour, lw=1.4)
        loss_axes(axes, steps["loss"])

    return Picture("loss-of-run", "Training loss", "Training loss of the run", draw)


def loss_axes(axes: Axes, values: pd.Series) -> None:
    scale(axes.yaxis, values, axes.set_yscale)
    axes.set(xlabel="images seen", ylabel="loss, mean squared velocity error")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def smoothed(steps: pd.DataFrame) -> pd.Series:
    """Losses by images seen, each the mean of its neighbourhood: a fifteenth of the curve."""
    curve = steps.drop_duplicates("images_seen", keep="last").set_index("images_seen")["loss"].sort_index()
    return curve.rolling(len(curve) // 15 | 1, center=True, min_periods=1).mean()
