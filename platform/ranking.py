"""`evaluations`, or runs by their last checkpoint, the best by a metric first, if they were measured alike."""

import difflib
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unlatent.platform import tables
from unlatent.platform.listing import as_text, narrow
from unlatent.platform.metrics import DIRECTIONS, SUITES, direction, how_to_measure
from unlatent.platform.selection import COMPARABLE_IN, differences, evaluations
from unlatent.platform.store import Store

RANKED = ("evaluations", "runs")
OF_THE_METRIC = {"seed": "evaluation_seed"}  # columns of `evaluations` beside those of `runs`, where both have one


@dataclass(frozen=True)
class Ranking:
    """Rows that were measured alike, the best first."""

    rows: pd.DataFrame
    measured: dict[str, Any]  # what the values depend on, the same for all rows
    unmeasured: int  # rows that would be here if they had a value
    unfinished: int  # runs that have a value, and are in no mean as they did not come to their end


def rank(store: Store, table: str, metric: str, where: str | None = None, by: str | None = None) -> Ranking:
    """Rows that meet a condition, the best by a metric first.

    A row of `runs` has the metric of its last checkpoint as a column of that name, and what the value depends on.
    With `by="point"` a row is one point, with the mean over its seeds; see `over_seeds`.

    Raises ValueError for what cannot be ranked, when there is nothing to rank, and when rows were measured in
    different ways: it names what differs and a condition that parts them.
    """
    require_ranked(store, table, metric, by)
    if table == "runs":
        rows, value, depends_on = with_metric(store, metric), metric, [renamed(name) for name in COMPARABLE_IN]
    else:
        rows, value, depends_on = evaluations(store, metric, {}), "value", list(COMPARABLE_IN)
    rows = narrow(rows, where, None, None)
    measured = rows[rows[value].notna()]
    if measured.empty:
        asked = f" with {where}" if where else ""
        raise ValueError(f"no row of {table}{asked} has a {metric}; {how_to_measure(metric)}")
    ended = measured[measured["status"] == "succeeded"] if by else measured
    if ended.empty:
        raise ValueError(f"none of {len(measured)} runs with a {metric} has succeeded: there is no mean over seeds yet")
    require_alike(ended, metric, depends_on, where)
    ordered = ended.sort_values(value, ascending=direction(metric) == "min", kind="stable", ignore_index=True)
    return Ranking(
        rows=over_seeds(ordered, metric) if by else ordered,
        measured={name: ordered[name].iloc[0] for name in depends_on},
        unmeasured=len(rows) - len(measured),
        unfinished=len(measured) - len(ended),
    )


def require_ranked(store: Store, table: str, metric: str, by: str | None) -> None:
    if table not in RANKED:
        raise ValueError(f"--best {metric} ranks {' or '.join(RANKED)}, not {table}")
    if by not in (None, "point") or (by and table != "runs"):
        raise ValueError(f"--by {by} of {table}: only runs have means, and only by point")
    if direction(metric):
        return
    known = [*DIRECTIONS, *SUITES]
    if metric in set(tables.read(store, "evaluations")["metric"]):
        raise ValueError(f"--best {metric} has no better and no worse; {', '.join(known)} have")
    near = difflib.get_close_matches(metric, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"--best {metric} is not one of {', '.join(known)}{hint}")


def with_metric(store: Store, metric: str) -> pd.DataFrame:
    """The runs, each with the metric of its last checkpoint; as often as that was measured, or once without a value."""
    columns = ["run_id", "checkpoint_hash", "value", *COMPARABLE_IN]
    measured = evaluations(store, metric, {})[columns].rename(columns={**OF_THE_METRIC, "value": metric})
    return tables.read(store, "runs").merge(measured, on=["run_id", "checkpoint_hash"], how="left")


def renamed(column: str) -> str:
    return OF_THE_METRIC.get(column, column)


def require_alike(rows: pd.DataFrame, metric: str, depends_on: list[str], where: str | None) -> None:
    parts = [part for _, part in rows.groupby(depends_on, dropna=False, sort=False)]
    if len(parts) == 1:
        return
    largest = max(parts, key=len)
    would_do = parting(rows, largest.iloc[0], depends_on)
    would_do = f"({where}) and {would_do}" if where else would_do
    raise ValueError(
        f"values of {metric} were measured in {len(parts)} ways and cannot be ranked: {differences(rows, depends_on)}; "
        f'--where "{would_do}" leaves one, of {len(largest)} rows'
    )


def parting(rows: pd.DataFrame, chosen: "pd.Series[Any]", depends_on: list[str]) -> str:
    """A condition that leaves, of rows measured in several ways, those measured as a chosen one."""
    conditions = []
    for column in depends_on:
        value = chosen[column]
        alike = rows[column].isna() if pd.isna(value) else rows[column] == value
        if not alike.all():
            conditions.append(f"{column}.isna()" if pd.isna(value) else f"{column} == {plain(value)!r}")
            rows = rows[alike]
    return " and ".join(conditions)


def plain(value: Any) -> Any:
    """A whole number as one, where nulls beside it have made the column one of floats."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def over_seeds(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Points instead of runs: the mean over the seeds, its sample deviation (null for one seed), how many they are.

    The other columns are those of the point's best run. A run from before there were points is one of its own. Runs
    of one seed count once, by their mean.
    """
    point = runs["point"].fillna(runs["run_id"]).rename("point")
    of_seed = runs.groupby([point, "seed"], dropna=False)[metric].mean()
    means = of_seed.groupby("point").agg(["mean", "std", "count"])
    first = runs.assign(point=point).drop_duplicates("point").drop(columns=metric).set_index("point")
    names = {"mean": metric, "std": f"{metric}_deviation", "count": "seeds"}
    found = means.rename(columns=names).join(first).reset_index()
    return found.sort_values(metric, ascending=direction(metric) == "min", kind="stable", ignore_index=True)


def shown(table: str, metric: str, by: str | None) -> str:
    """The columns that say most about rows that have been ranked."""
    if table == "evaluations":
        return "run_id images_seen metric value checkpoint"
    knobs = "patch_size window attention forward_gflops images_seen"
    return f"point {metric} {metric}_deviation seeds {knobs} run_id" if by else f"run_id {metric} {knobs} status"


def remarks(ranking: Ranking, metric: str) -> list[str]:
    """How the values were measured, and what is not among them."""
    measured = {name: as_text(value) for name, value in ranking.measured.items()}
    said = ["measured with " + ", ".join(f"{name} {text}" for name, text in measured.items() if text)]
    if ranking.unmeasured:
        said.append(f"{ranking.unmeasured} more have no {metric} of their last checkpoint")
    if ranking.unfinished:
        said.append(f"{ranking.unfinished} more have not succeeded, and are in no mean")
    return said
