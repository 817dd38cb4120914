"""Two runs side by side: settings, where they come from, outcome, and the metrics of their last checkpoints.

Values of a metric stand beside each other only if they were measured alike.
"""

import difflib
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import yaml

from unlatent.platform import tables
from unlatent.platform.listing import as_text
from unlatent.platform.metrics import DIRECTIONS
from unlatent.platform.runs import flatten
from unlatent.platform.schemas import PROVENANCE
from unlatent.platform.selection import COMPARABLE_IN, differences
from unlatent.platform.store import Store

ORIGIN = ("dataset", "dataset_hash", *PROVENANCE, "device", "workers")
OUTCOME = (
    "status", "error", "stopped_because", "images_seen", "loss", "parameters", "forward_gflops", "training_gflops",
    "images_per_s", "duration_s", "peak_memory_bytes",
)  # fmt: skip

PARTS = {"setting": "settings", "provenance": "provenance", "outcome": "outcome", "metric": "metrics"}

TIMES = ("seconds_per_image",)  # metrics that depend on the device too
HASHES = ("git_commit", "dataset_hash")
SHORT = 12  # characters of a hash on a terminal


@dataclass(frozen=True)
class Line:
    """One thing about two runs."""

    part: str  # setting, provenance, outcome or metric
    name: str
    first: Any
    second: Any
    remark: str | None = None  # why there is no value, or none that may stand beside the other

    @property
    def differs(self) -> bool:
        return self.first != self.second or self.remark is not None

    @property
    def is_remark_alone(self) -> bool:
        return self.remark is not None and self.first is None and self.second is None

    @property
    def difference(self) -> float | None:
        """Second less first, of numbers."""
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (self.first, self.second)):
            return None
        return float(self.second - self.first)

    def as_row(self) -> dict[str, Any]:
        shared = {"part": self.part, "name": self.name, "first": self.first, "second": self.second}
        return shared | {"difference": self.difference, "remark": self.remark}


def compare(store: Store, first: str, second: str) -> list[Line]:
    """All that can be said of two runs, what is the same in both included.

    Raises ValueError for a run that is not there, with those whose names are near, and for one that is named twice.
    """
    a, b = row_of(store, first), row_of(store, second)
    if first == second:
        raise ValueError(f"run={first!r} is named twice; two runs are compared")
    settings_a, settings_b = (flatten(yaml.safe_load(row["config"] or "{}")) for row in (a, b))
    return [
        *(Line("setting", name, settings_a.get(name), settings_b.get(name)) for name in settings_a | settings_b),
        *(Line("provenance", name, a[name], b[name]) for name in ORIGIN),
        *(Line("outcome", name, finite(a[name]), finite(b[name])) for name in OUTCOME),
        *metric_lines(of_last_checkpoint(store, a), of_last_checkpoint(store, b), (first, second)),
    ]


def finite(value: Any) -> Any:
    """None for what is no number, such as the loss of a run that has diverged: it equals nothing, itself included."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def row_of(store: Store, run_id: str) -> dict[str, Any]:
    row = tables.row(store, "runs", run_id)
    if row is not None:
        return row
    names = sorted(tables.read(store, "runs")["run_id"])
    near = [name for name in names if run_id in name] or difflib.get_close_matches(run_id, names, n=5)
    hint = f"did you mean {' or '.join(near[:5])}?" if near else "`unlatent runs` lists them"
    raise ValueError(f"run={run_id!r} is not in {store.uri('results/runs')}; {hint}")


def of_last_checkpoint(store: Store, row: dict[str, Any]) -> pd.DataFrame:
    return tables.read(store, "evaluations", pc.field("checkpoint_hash") == row["checkpoint_hash"], row["run_id"])


def metric_lines(first: pd.DataFrame, second: pd.DataFrame, runs: tuple[str, str]) -> list[Line]:
    """Every metric that either was measured by; those that tell which is better come first."""
    measured = {*first["metric"], *second["metric"]}
    names = [*(name for name in DIRECTIONS if name in measured), *sorted(measured - set(DIRECTIONS))]
    lines = []
    for name in names:
        lines += lines_of(name, first[first["metric"] == name], second[second["metric"] == name], runs)
    return lines


def lines_of(metric: str, first: pd.DataFrame, second: pd.DataFrame, runs: tuple[str, str]) -> list[Line]:
    """A line for each way in which both were measured; else one, of what differs or which was not measured."""
    depends_on = [*COMPARABLE_IN, *(["device"] if metric in TIMES else [])]
    if first.empty or second.empty:
        remark = f"{runs[0] if first.empty else runs[1]} has none"
        return [Line("metric", metric, only_value(first), only_value(second), remark)]
    both = first.merge(second, on=depends_on, suffixes=("_first", "_second"))
    if both.empty:
        differing = differences(pd.concat([first, second]), depends_on)
        return [Line("metric", metric, None, None, remark=f"measured in different ways: {differing}")]
    varying = [name for name in depends_on if both[name].nunique(dropna=False) > 1]
    return [
        Line("metric", " ".join([metric, *(f"{name}={as_text(row[name])}" for name in varying)]), *values_of(row))
        for row in both.to_dict("records")
    ]


def only_value(rows: pd.DataFrame) -> float | None:
    """None also where there are several, measured in different ways."""
    return float(rows["value"].iloc[0]) if len(rows) == 1 else None


def values_of(row: dict[Any, Any]) -> tuple[float, float]:
    return row["value_first"], row["value_second"]


def as_said(lines: list[Line], runs: tuple[str, str], every: bool) -> list[tuple[str, list[dict[str, str]], list[str]]]:
    """For each part a title, a table of what differs (or of `every` line; of metrics always), and lines beneath it."""
    said = []
    for part, plural in PARTS.items():
        of_part = [line for line in lines if line.part == part]
        differing = [line for line in of_part if line.differs]
        shown = of_part if every or part == "metric" else differing
        title = f"{plural}: {len(differing)} of {len(of_part)} differ" if of_part else f"{plural}: none of either run"
        table = [as_texts(line, runs) for line in shown if not line.is_remark_alone]
        said.append((title, table, [f"{line.name}: {line.remark}" for line in shown if line.is_remark_alone]))
    return said


def as_texts(line: Line, runs: tuple[str, str]) -> dict[str, str]:
    values = [value[:SHORT] if line.name in HASHES and value else value for value in (line.first, line.second)]
    unset = "unset" if line.part == "setting" else ""
    first, second = (unset if value is None else as_text(value) for value in values)
    return {line.part: line.name, runs[0]: first, runs[1]: second, "difference": line.remark or difference_text(line)}


def difference_text(line: Line) -> str:
    """As a number and, where that means something, as a share of the first."""
    if not line.difference:
        return ""
    digits = ",.0f" if abs(line.difference) >= 1000 else ".4g"
    share = f" ({line.difference / abs(line.first):+.1%})" if line.first else ""
    return f"{line.difference:+{digits}}{share}"
