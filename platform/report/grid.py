"""Tables of the report: columns that say how a row becomes a cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unlatent.platform.metrics import direction
from unlatent.platform.report.findings import SweepFindings, shown_metrics
from unlatent.platform.report.knobs import differing
from unlatent.platform.report.points import Row, deviation_of, records
from unlatent.platform.report.wording import (
    METRICS,
    count,
    is_missing,
    metric_meaning,
    metric_title,
    metric_value,
    moment,
    number,
    plain,
    with_deviation,
)


@dataclass(frozen=True)
class Column:
    title: str
    cell: Callable[[Row], str]
    kind: str = "number"  # number, text or prose
    note: str = ""  # unit or direction, in small print below the title


@dataclass(frozen=True)
class Grid:
    """A table as the page shows it."""

    columns: list[Column]
    rows: list[Row]
    marked: int | None = None  # a row that stands out

    @property
    def cells(self) -> list[list[str]]:
        return [[column.cell(row) for column in self.columns] for row in self.rows]


def points_grid(sweep: SweepFindings) -> Grid:
    """The points, the best first."""
    points = sweep.points
    others = [Column(name.replace("_", " ").capitalize(), of(name), "text") for name in sweep.varying]
    several = [Column("Seeds", lambda row: plain(row["seeds"]))] if sweep.seeds > 1 else []
    seen = [Column("Images seen", lambda row: count(row["images_seen"]))] if differing(points, ["images_seen"]) else []
    states = [] if set(points["states"]) == {"succeeded"} else [Column("Status", lambda row: row["states"], "text")]
    places = [Column("#", lambda row: plain(row["place"]))] if sweep.has_long_labels else []
    columns = [
        *places,
        Column("Patch", lambda row: plain(row["patch_size"])),
        Column("Window", window),
        *others,
        *several,
        *states,
        *seen,
        *(metric_column(metric) for metric in shown_metrics(sweep)),
        *cost_columns(sweep),
    ]
    return Grid(columns, records(points), marked=0 if sweep.best else None)


def cost_columns(sweep: SweepFindings) -> list[Column]:
    drawing = [Column("Drawing", lambda row: number(row["seconds_per_image"]), note="s an image")]
    keeping = [Column("Activations", lambda row: number(row["activation_bytes"] / 1e6), note="MB an image")]
    return [
        Column("Forward", lambda row: number(row["forward_gflops"]), note="GFLOPs an image"),
        *(drawing if "seconds_per_image" in sweep.points else []),
        *(keeping if sweep.points["activation_bytes"].notna().any() else []),
        Column("Training", lambda row: number(row["training_gflops"]), note="GFLOPs in all"),
        Column("Parameters", lambda row: count(row["parameters"])),
        Column("Speed", lambda row: number(row["images_per_s"]), note="images/s"),
    ]


def metric_column(metric: str) -> Column:
    better = {"min": "lower is better", "max": "higher is better"}.get(direction(metric) or "", "")
    return Column(
        metric_title(metric), lambda row: with_deviation(metric, row[metric], row[deviation_of(metric)]), note=better
    )


def of(name: str) -> Callable[[Row], str]:
    return lambda row: plain(row[name])


def window(row: Row) -> str:
    if not row["pixel_depth"]:
        return "no pixel level"
    return f"{plain(row['window'])} × {plain(row['window'])}" if row["attention"] else "no attention"


def evaluation_grid(alike: Any) -> Grid:
    """A run's metrics, a row each: of its last measured checkpoint, and of some before, to see where it is going."""
    values = alike.pivot_table(index="metric", columns="images_seen", values="value", aggfunc="last")
    names = [*(name for name in METRICS if name in values.index), *sorted(set(values.index) - METRICS.keys())]
    seen = list(values.columns)
    shown = [seen[index] for index in sorted({0, (len(seen) - 1) // 2, len(seen) - 1})]
    rows = [{"metric": name, **{str(images): values.at[name, images] for images in shown}} for name in names]
    columns = [
        Column("Metric", lambda row: metric_title(row["metric"]), "text"),
        *(value_column(images) for images in shown),
        Column("Meaning", lambda row: metric_meaning(row["metric"]), "prose"),
    ]
    return Grid(columns, rows)


def value_column(images: int) -> Column:
    return Column(count(images), lambda row: metric_value(row["metric"], row[str(images)]), note="images seen")


def runs_grid(runs: Sequence[Row], label: Callable[[Row], str]) -> Grid:
    """Where each run can be found again."""
    columns = [
        Column("Run", of("run_id"), "text"),
        Column("Setting", label, "text"),
        Column("Config", of("config_hash"), "text", note="hash"),
        Column("Seed", of("seed")),
        Column("Checkpoint", of("checkpoint_hash"), "text", note="hash"),
        Column("Started", lambda row: moment(row["started_at"]), "text"),
        Column(
            "Trained", lambda row: "–" if is_missing(row["duration_s"]) else f"{row['duration_s']:,.0f}", note="seconds"
        ),
    ]
    return Grid(columns, list(runs))
