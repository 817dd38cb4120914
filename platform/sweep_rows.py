"""A sweep as rows: its own in `sweeps`, its trials as one sees them."""

from typing import Any

from unlatent.platform import progress, runs, tables
from unlatent.platform.provenance import is_gone, now, process, provenance
from unlatent.platform.runs import short_hash
from unlatent.platform.schemas import SWEEPS
from unlatent.platform.selection import evaluations, measured_alike, measured_as
from unlatent.platform.sweep_plan import Sweep, Trial, definition_text


def begin(sweep: Sweep) -> dict[str, Any]:
    definition, text = sweep.definition, definition_text(sweep)
    row = dict.fromkeys(SWEEPS) | {
        "sweep": definition.name,
        "status": "running",
        "question": definition.question,
        "definition": text,
        "definition_hash": short_hash(text),
        "scheduler": f"{definition.search}, {definition.scheduler}",
        "metric": definition.metric,
        "direction": definition.direction,
        "total_images": sweep.config.train.total_images,
        "trials": len(sweep.trials),
        "pruned": len(sweep.pruned),
        **provenance(),
        **process(),
        "started_at": now(),
    }
    tables.replace(sweep.store, "sweeps", row)
    return row


def settle(sweep: Sweep, waiting: list[Trial], errors: dict[str, str]) -> None:
    """Writes the end of trials that could not write it themselves: their process died, or they were stopped."""
    for trial in waiting:
        row = tables.row(sweep.store, "runs", trial.run_id)
        if row is None or row["status"] != "running" or not (is_gone(row) or row["images_seen"]):
            continue
        if trial.run_id in errors:
            runs.end(sweep.store, row, "failed", errors[trial.run_id])
        elif row["images_seen"]:
            runs.end(sweep.store, row, "stopped_early")


def finish(sweep: Sweep, row: dict[str, Any], seconds: float) -> Trial:
    """Closes the sweep's row. Returns the best trial.

    Raises RuntimeError if no trial succeeded.
    """
    values = objective_values(sweep)
    statuses = [status(sweep, trial) for trial in sweep.trials]
    choose = min if sweep.definition.direction == "min" else max
    best = choose(values, key=lambda run_id: values[run_id]) if values else None
    failed = [trial for trial, state in zip(sweep.trials, statuses, strict=True) if state == "failed"]
    errors = [f"{trial.run_id}: {runs.find(sweep.store, trial.run_id)['error']}" for trial in failed]
    row |= {
        "status": "succeeded" if best else "failed",
        "error": "; ".join(errors) or None,
        **{state: statuses.count(state) for state in ("succeeded", "stopped_early", "failed")},
        "best_run_id": best,
        "best_value": values[best] if best else None,
        "duration_s": seconds,
        "ended_at": now(),
    }
    tables.replace(sweep.store, "sweeps", row)
    if best is None:
        raise RuntimeError(f"sweep {sweep.definition.name}: no trial succeeded; {row['error']}")
    return next(trial for trial in sweep.trials if trial.run_id == best)


def objective_values(sweep: Sweep) -> dict[str, float]:
    """The objective of each trial that came to its end, by run_id: of its last checkpoint, all measured alike."""
    ended = {trial.run_id for trial in sweep.trials if status(sweep, trial) == "succeeded"}
    if not ended:
        return {}
    where = {**measured_as(sweep.config), "dataset_hash": sweep.dataset.hash, "run_id": sorted(ended)}
    found = measured_alike(evaluations(sweep.store, sweep.definition.metric, where)).sort_values("images_seen")
    return {str(run_id): float(rows["value"].iloc[-1]) for run_id, rows in found.groupby("run_id")}


def status(sweep: Sweep, trial: Trial) -> str:
    row = tables.row(sweep.store, "runs", trial.run_id)
    return row["status"] if row else "waiting"


def trial_rows(sweep: Sweep) -> list[dict[str, str]]:
    """A row of texts for each trial, the best first once there are results."""
    values = objective_values(sweep)
    sign = 1 if sweep.definition.direction == "min" else -1
    ordered = sorted(sweep.trials, key=lambda trial: sign * values.get(trial.run_id, sign * float("inf")))
    return [trial_row(sweep, trial, values.get(trial.run_id)) for trial in ordered]


def trial_row(sweep: Sweep, trial: Trial, value: float | None) -> dict[str, str]:
    state = progress.latest(sweep.store, trial.run_id)
    row = tables.row(sweep.store, "runs", trial.run_id) or {}
    return {
        "trial": trial.run_id.removeprefix(f"{sweep.definition.name}-"),
        **{path.split(".")[-1]: str(value) for path, value in trial.knobs.items()},
        "gflops": f"{row['forward_gflops']:.4f}" if row else "",
        "status": row.get("status", "waiting"),
        "images": f"{state.images_seen:,}" if state else "",
        "images/s": f"{state.images_per_s:,.0f}" if state else "",
        "loss": f"{state.loss:.4f}" if state else "",
        sweep.definition.metric: "" if value is None else f"{value:.3f}",
    }
