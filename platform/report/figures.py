"""The report's pictures, as SVG to stand inside the page: its own fonts, and its colours in light and in dark."""

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from unlatent.platform.report.findings import SweepFindings, records
from unlatent.platform.report.labels import Points, place_labels, spread
from unlatent.platform.report.wording import metric_title, number, plain

# Colours are drawn as these and written as the page's variables.
INK, QUIET, LINE, PAPER = "#000001", "#000002", "#000003", "#000004"
SERIES = ("#000010", "#000011", "#000012", "#000013", "#000014")
VARIABLES = {INK: "ink", QUIET: "quiet", LINE: "line", PAPER: "paper"}
VARIABLES |= {colour: f"series-{index}" for index, colour in enumerate(SERIES)}
SHAPES = "osD^v"

SIZE = (4.3, 3.2)  # inches of 72 points; the page draws a point 1.5 pixels wide, 1.1 on a telephone
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
}
LOG_TICKS = {
    0: (1, 1.5, 2, 3, 5, 7),
    1: (1, 2, 5),
    2: (1, 3),
}  # decades that an axis spans -> ticks in each; beyond, one
MOST_LABELS = 14  # beyond it, only the Pareto front is labelled


def drawn(draw: Callable[[Axes], None], description: str) -> str:
    """An SVG element of what `draw` draws."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": description}):
        figure = Figure(figsize=SIZE, facecolor="none", layout="constrained")
        axes = figure.add_subplot(facecolor="none")
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return as_element(buffer.getvalue(), description)


def as_element(document: str, description: str) -> str:
    """An SVG document as an element of a page that gives it its width, colours and fonts."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # several figures would repeat them
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    for colour, name in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(description)}"', 1)


def quality_against_cost(sweep: SweepFindings) -> str:
    """The objective of each trial against the cost of an image, with the Pareto front."""
    trials, title = sweep.ranked, metric_title(sweep.metric)
    front = pareto_front(trials, sweep.metric, sweep.direction)

    def draw(axes: Axes) -> None:
        scale(axes.xaxis, trials["forward_gflops"], axes.set_xscale)
        scale(axes.yaxis, trials[sweep.metric], axes.set_yscale)
        axes.set(xlabel="GFLOPs per image, forward", ylabel=title)
        axes.margins(0.14, 0.12)
        axes.plot(front["forward_gflops"], front[sweep.metric], color=QUIET, lw=1, drawstyle="steps-post", zorder=1)
        for trial in records(trials):
            mark(axes, trial["forward_gflops"], trial[sweep.metric], trial, sweep.trials)
        labelled = trials if len(trials) <= MOST_LABELS else front
        names = [sweep.label(trial) for trial in records(labelled)]
        line = stairs(points_of(front, sweep.metric))
        place_labels(axes, points_of(labelled, sweep.metric), names, points_of(trials, sweep.metric), [line])

    return drawn(draw, f"{title} of each trial against its cost")


def quality_by_window(sweep: SweepFindings) -> str:
    """The objective by window, a line for each patch size; what has no windows stands beside them."""
    trials, title = sweep.ranked.sort_values("window"), metric_title(sweep.metric)
    windows = sorted(trials.loc[with_attention(trials), "window"].unique())
    places = trials["window"].map({window: place for place, window in enumerate(windows)})
    trials = trials.assign(place=places.where(with_attention(trials), len(windows)))

    def draw(axes: Axes) -> None:
        scale(axes.yaxis, trials[sweep.metric], axes.set_yscale)
        for _, group in trials.groupby("patch_size"):
            line, colour = group[with_attention(group)], colour_of(group.iloc[0], sweep.trials)
            axes.plot(line["place"], line[sweep.metric], color=colour, lw=1.2, zorder=1)
            for trial in records(group):
                mark(axes, trial["place"], trial[sweep.metric], trial, sweep.trials)
        names = [f"{plain(window)} × {plain(window)}" for window in windows] + ["no\nattention"]
        axes.xaxis.set_major_locator(FixedLocator(sorted(trials["place"].unique())))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: names[int(place)]))
        axes.set(xlabel="window: pixels merged into one attention token", ylabel=title)
        axes.margins(0.12, 0.12)
        label_patch_sizes(axes, trials, sweep.metric)

    return drawn(draw, f"{title} by patch size and window")


def label_patch_sizes(axes: Axes, trials: pd.DataFrame, metric: str) -> None:
    """Names each line at its first point."""
    by_size = dict(list(trials[with_attention(trials)].groupby("patch_size")))
    lines = [line[["place", metric]].to_numpy(float) for line in by_size.values()]
    marks = trials[["place", metric]].to_numpy(float)
    first = np.array([line[0] for line in lines])
    place_labels(axes, first, [f"patch {plain(size)}" for size in by_size], marks, lines)


def losses(sweep: SweepFindings) -> str:
    """The training loss of each trial, smoothed, named where it ends."""
    trials = [trial for trial in records(sweep.trials) if trial["run_id"] in set(sweep.steps["run_id"])]
    curves = [smoothed(sweep.steps[sweep.steps["run_id"] == trial["run_id"]]) for trial in trials]

    def draw(axes: Axes) -> None:
        for trial, curve in zip(trials, curves, strict=True):
            dashes = "-" if has_attention(trial) else (0, (3, 2))
            axes.plot(curve.index, curve, color=colour_of(trial, sweep.trials), lw=1.2, ls=dashes)
        loss_axes(axes, pd.concat(curves))
        if len(trials) <= MOST_LABELS:
            ends = np.array([(curve.index[-1], curve.iloc[-1]) for curve in curves], float)
            colours = [colour_of(trial, sweep.trials) for trial in trials]
            spread(axes, ends, [sweep.label(trial) for trial in trials], colours)

    return drawn(draw, "Training loss of each trial")


def loss_of_run(steps: pd.DataFrame) -> str:
    """The training loss of one run: as logged, and smoothed."""
    curve = smoothed(steps)

    def draw(axes: Axes) -> None:
        axes.plot(steps["images_seen"], steps["loss"], color=SERIES[0], lw=0.8, alpha=0.35)
        axes.plot(curve.index, curve, color=SERIES[0], lw=1.4)
        loss_axes(axes, steps["loss"])

    return drawn(draw, "Training loss of the run")


def loss_axes(axes: Axes, values: pd.Series) -> None:
    scale(axes.yaxis, values, axes.set_yscale)
    axes.set(xlabel="images seen", ylabel="loss, mean squared velocity error")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def smoothed(steps: pd.DataFrame) -> pd.Series:
    """Losses by images seen, each the mean of its neighbourhood: a fifteenth of the curve."""
    curve = steps.sort_values("images_seen").set_index("images_seen")["loss"]
    return curve.rolling(len(curve) // 15 | 1, center=True, min_periods=1).mean()


def pareto_front(trials: pd.DataFrame, metric: str, direction: str) -> pd.DataFrame:
    """The trials that no other beats in both cost and quality, the cheapest first."""
    sign = 1 if direction == "min" else -1
    loss = sign * trials[metric]
    ordered = trials.assign(loss=loss).sort_values(["forward_gflops", "loss"])
    best_so_far = ordered["loss"].cummin().shift(fill_value=float("inf"))
    return ordered[ordered["loss"] < best_so_far]


def scale(axis: Axis, values: Sequence[float] | pd.Series, set_scale: Callable[[str], None]) -> None:
    """A logarithmic axis where values span more than a factor of three, with plain numbers at its ticks."""
    low, high = float(np.min(values)), float(np.max(values))
    if low > 0 and high > 3 * low:
        set_scale("log")
        axis.set_major_locator(LogLocator(subs=LOG_TICKS.get(int(math.log10(high / low)), (1,))))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def tick(value: float) -> str:
    return number(value, 3).rstrip("0").rstrip(".") if "." in number(value, 3) else number(value, 3)


def points_of(trials: pd.DataFrame, metric: str) -> Points:
    return trials[["forward_gflops", metric]].to_numpy(float)


def stairs(front: Points) -> Points:
    """The corners of the front's line: from each point sideways, then to the next."""
    corners = front.repeat(2, axis=0)
    return np.column_stack([corners[1:, 0], corners[:-1, 1]])


def mark(axes: Axes, x: float, y: float, trial: Any, trials: pd.DataFrame) -> None:
    """A point whose colour and shape tell the patch size; open where there is no attention between pixels."""
    shape, colour = SHAPES[series_of(trial, trials)], colour_of(trial, trials)
    fill = colour if has_attention(trial) else PAPER
    axes.plot(x, y, shape, color=fill, mec=colour, mew=1.4, ms=6.5, clip_on=False, zorder=3)


def colour_of(trial: Any, trials: pd.DataFrame) -> str:
    return SERIES[series_of(trial, trials)]


def series_of(trial: Any, trials: pd.DataFrame) -> int:
    """The place of a trial's patch size among all, from the smallest; beyond five, colours and shapes come again."""
    return sorted(trials["patch_size"].unique()).index(trial["patch_size"]) % len(SERIES)


def has_attention(trial: Any) -> bool:
    return bool(trial["attention"]) and trial["pixel_depth"] > 0


def with_attention(trials: pd.DataFrame) -> pd.Series:
    return trials["attention"].astype(bool) & (trials["pixel_depth"] > 0)
