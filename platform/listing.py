"""Rows of a table as a reader wants them: filtered, sorted, and short enough for a terminal."""

import math
from dataclasses import asdict
from typing import Any

import pandas as pd

from unlatent.platform.progress import Progress, duration

SHOWN = {
    "runs": "run_id status patch_size window attention forward_gflops images_seen loss images_per_s started_at",
    "steps": "run_id images_seen loss grad_norm learning_rate images_per_s data_wait_share",
    "events": "run_id images_seen step event reason grad_norm logged_at",
    "evaluations": "run_id images_seen metric value samples sampler steps guidance feature_extractor",
    "edits": "run_id space way n_max target_guidance pairs success background_mse legibility object_mse",
    "sweeps": "sweep status trials succeeded failed metric best_value best_run_id duration_s",
    "pipeline_steps": "pipeline step action reason duration_s started_at",
    "rates": "work device precision patch_size width batch_size images_per_s gflops_per_s memory_bytes measured_at",
    "deployments": "deployment_id run_id checkpoint_hash metric value status url deployed_at",
}


def narrow(rows: pd.DataFrame, where: str | None, sort: str | None, columns: list[str] | None) -> pd.DataFrame:
    """The rows that meet a condition (as `DataFrame.query` takes it), sorted, with the columns asked for.

    Raises ValueError for a condition that cannot be read and for a column that is not there.
    """
    for name in [*(columns or []), *([sort.removeprefix("-")] if sort else [])]:
        if name not in rows.columns:
            raise ValueError(f"column {name!r} is not one of {', '.join(rows.columns)}")
    if where:
        try:
            rows = rows.query(where)
        except Exception as error:  # the condition is the user's own text, and pandas raises of every kind
            raise ValueError(f"--where {where!r}: {str(error).splitlines()[0]}") from None
    if sort:
        rows = rows.sort_values(sort.removeprefix("-"), ascending=not sort.startswith("-"), kind="stable")
    return rows[columns] if columns else rows


def for_terminal(rows: pd.DataFrame, names: list[str]) -> list[dict[str, str]]:
    """These columns of the rows, as texts."""
    return [{name: as_text(row[name]) for name in names} for _, row in rows.iterrows()]


def run_texts(rows: pd.DataFrame, states: dict[str, Progress]) -> list[dict[str, str]]:
    """Runs as one wants to see them, the newest first; a running one by the state that it last told."""
    ordered = rows.sort_values("started_at", ascending=False, kind="stable")
    return [run_text(row, states.get(row["run_id"])) for row in ordered.to_dict("records")]


def run_text(row: dict[Any, Any], state: Progress | None) -> dict[str, str]:
    now = {**row, **asdict(state)} if state and row["status"] == "running" else row
    runs_on = state is not None and row["status"] == "running" and state.images_per_s > 0
    return {
        "run": row["run_id"],
        "status": row["status"],
        "images": f"{now['images_seen']:,.0f} of {now['total_images']:,.0f}",
        "%": f"{100 * now['images_seen'] / now['total_images']:.0f}",
        "loss": as_text(now["loss"]),
        "images/s": "" if math.isnan(now["images_per_s"]) else f"{now['images_per_s']:,.0f}",
        "left": duration(state.seconds_left) if state and runs_on else "",
        "started": as_text(row["started_at"]),
        "host": as_text(row["host"]),
    }


def as_text(value: object) -> str:
    if value is None or value is pd.NaT or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return " ".join(str(value).split())
