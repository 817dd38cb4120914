"""The best checkpoint, by a metric, among rows that may be compared."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from unlatent.platform import checkpoints, tables
from unlatent.platform.config import Config
from unlatent.platform.metrics import DIRECTIONS, SUITES, direction, how_to_measure
from unlatent.platform.store import Store

# Values that differ in one of these measure different things.
COMPARABLE_IN = (
    "weights",
    "samples",
    "sampler",
    "steps",
    "guidance",
    "guidance_low",
    "guidance_high",
    "negative_prompt",
    "shift",
    "precision",
    "seed",
    "feature_extractor",
    "reference",
)


def measured_as(config: Config) -> dict[str, Any]:
    """The columns of `evaluations` that a config's own evaluation would fill in."""
    sampler, evaluation = config.sampler, config.evaluation
    return {
        "weights": evaluation.weights,
        "samples": evaluation.samples,
        "seed": evaluation.seed,
        "sampler": sampler.name,
        "steps": sampler.steps,
        "guidance": sampler.guidance,
        "guidance_low": sampler.guidance_low,
        "guidance_high": sampler.guidance_high,
        "shift": sampler.shift,
        "precision": sampler.precision,
    }


def evaluations(store: Store, metric: str, where: dict[str, Any]) -> pd.DataFrame:
    """The rows of a metric that have these values in these columns."""
    condition = pc.field("metric") == metric
    for column, value in where.items():
        condition &= pc.field(column).isin(value) if isinstance(value, list) else pc.field(column) == value
    return tables.read(store, "evaluations", condition)


def measured_alike(rows: pd.DataFrame) -> pd.DataFrame:
    """The largest part of the rows that agree in all that their values depend on."""
    parts = [part for _, part in rows.groupby(list(COMPARABLE_IN), dropna=False, sort=False)]
    return max(parts, key=lambda part: part["run_id"].nunique(), default=rows)


def best_checkpoint(store: Store, metric: str, where: dict[str, Any] | None = None) -> dict[str, Any]:
    """The row of `evaluations` with the best value whose checkpoint still exists.

    Rows are ranked only among those that agree in all that their values depend on.

    Raises ValueError for a metric without a better and a worse, when there is nothing to choose from, and when the
    rankings disagree: it names what the rows differ in.
    """
    if direction(metric) is None:
        known = ", ".join([*DIRECTIONS, *SUITES])
        raise ValueError(f"metric={metric!r} is not one that checkpoints are ranked by: {known}")
    rows = evaluations(store, metric, where or {})
    kept = [store.exists(f"{path}/meta.json") for path in rows["checkpoint"]]
    rows = rows[kept]
    if rows.empty:
        raise ValueError(f"no checkpoint in {store.root} has a {metric} yet; {how_to_measure(metric)}")
    ranked = rows.sort_values("value", ascending=direction(metric) == "min", kind="stable")
    winners = ranked.groupby(list(COMPARABLE_IN), dropna=False, sort=False).head(1)
    if winners["checkpoint"].nunique() > 1:
        raise ValueError(f"values of {metric} cannot be ranked: {differences(winners)}; serve.checkpoint=RUN names one")
    return {str(name): value for name, value in winners.iloc[0].items()}


def best_of_run(store: Store, run_id: str, metric: str, count: int) -> set[str]:
    """Paths of a run's `count` best checkpoints that still exist, in each way that its checkpoints were measured."""
    if not count:
        return set()
    rows = evaluations(store, metric, {"run_id": run_id})
    rows = rows[rows["checkpoint"].isin(checkpoints.paths_of(store, run_id))]
    ranked = rows.sort_values("value", ascending=DIRECTIONS[metric] == "min", kind="stable")
    return set(ranked.groupby(list(COMPARABLE_IN), dropna=False, sort=False).head(count)["checkpoint"])


def differences(rows: pd.DataFrame, depends_on: Sequence[str] = COMPARABLE_IN) -> str:
    """What rows that were measured in different ways differ in."""
    differing = [column for column in depends_on if rows[column].nunique(dropna=False) > 1]
    found = {name: rows[name].drop_duplicates().sort_values() for name in differing}
    shown = {name: ["none" if pd.isna(value) else str(value) for value in values] for name, values in found.items()}
    return "they differ in " + "; ".join(f"{name}: {', '.join(values)}" for name, values in shown.items())
