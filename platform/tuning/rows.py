"""A sweep as rows: its own in `sweeps`, its trials as one sees them."""

import os
import time
from typing import Any

from unlatent.platform import progress, runs, tables
from unlatent.platform.provenance import is_gone, now, process, provenance
from unlatent.platform.runs import short_hash
from unlatent.platform.schemas import SWEEPS
from unlatent.platform.tuning.definition import definition_text
from unlatent.platform.tuning.plan import Sweep, Trial
from unlatent.platform.tuning.results import Results, Standing
from unlatent.platform.tuning.space import last_name

ORDER = ("running", "paused", "succeeded", "stopped_early", "failed", "lost", "waiting")


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
        "against": definition.against,
        "budget": definition.budget,
        "total_images": None if definition.total_gflops else sweep.config.train.total_images,
        "total_gflops": definition.total_gflops,
        "seeds": definition.seeds,
        "trials": sweep.planned,
        "pruned": len(sweep.pruned),
        **provenance(),
        **process(),
        "started_at": now(),
    }
    tables.replace(sweep.store, "sweeps", row)
    return row


def settle(results: Results, errors: dict[str, str], reasons: dict[str, str], ended: bool = False) -> None:
    """Writes what trials could not write of themselves: that they died, or why they were stopped.

    With `ended`, none is at work any more, but may still be about to say so.
    """
    for trial in results.sweep.trials:
        settle_trial(results, trial, errors.get(trial.run_id), reasons.get(trial.run_id), ended)


def settle_trial(results: Results, trial: Trial, error: str | None, reason: str | None, ended: bool = False) -> None:
    """The same for one trial, by what Tune has given it up for, or what it was stopped for."""
    row = results.rows.get(trial.run_id)
    if row and row["status"] in runs.DONE and (reason is None or row["stopped_because"]):
        return  # all is on record
    store = results.sweep.store
    results.refresh(trial.run_id)
    if reason or (ended and not error):
        wait_for_its_word(results, trial.run_id)
    row = results.rows.get(trial.run_id)
    if error and (row is None or row["status"] in ("running", "paused")):
        row = row or runs.write_first_row(store, trial.run, device="")  # it did not come so far as to write one
        runs.end(store, row, "failed", error)
    if row and reason and row["status"] != "succeeded" and not row["stopped_because"]:
        if row["status"] != "stopped_early":
            runs.end(store, row, "stopped_early")
        runs.update(store, row, {"stopped_because": reason})
    results.refresh(trial.run_id)


def wait_for_its_word(results: Results, run_id: str, patience_s: float = 30.0) -> None:
    """Lets a trial that has ended say so first: its process would write over what is put into its row before that."""
    deadline = time.monotonic() + patience_s
    while (row := results.rows.get(run_id)) and row["status"] == "running":
        if is_gone(row) or row["pid"] == os.getpid() or time.monotonic() > deadline:
            return
        time.sleep(0.05)
        results.refresh(run_id)


def finish(results: Results, row: dict[str, Any], seconds: float) -> Trial:
    """Closes the sweep's row. Returns the best trial of the best point.

    Raises RuntimeError if no trial succeeded.
    """
    sweep = results.sweep
    states = [results.status(trial) for trial in sweep.trials]
    failed = [results.rows[trial.run_id] for trial in sweep.trials if results.status(trial) == "failed"]
    best = next(iter(results.standings()), None)
    row |= {
        "status": "succeeded" if best else "failed",
        "error": "; ".join(f"{each['run_id']}: {each['error']}" for each in failed) or None,
        **{state: states.count(state) for state in ("succeeded", "stopped_early", "failed")},
        "trials": len(sweep.trials),
        "best_run_id": best and best_run(sweep, best),
        "best_point": best and best.point,
        "best_value": best and best.mean,
        "best_deviation": best and best.deviation,
        "duration_s": seconds,
        "ended_at": now(),
    }
    tables.replace(sweep.store, "sweeps", row)
    if best is None:
        raise RuntimeError(
            f"sweep {sweep.definition.name}: no trial succeeded; {row['error']}; --retry-failed tries again"
        )
    return next(trial for trial in sweep.trials if trial.run_id == row["best_run_id"])


def best_run(sweep: Sweep, standing: Standing) -> str:
    choose = min if sweep.definition.direction == "min" else max
    return choose(standing.values, key=lambda run_id: standing.values[run_id])


def point_rows(results: Results) -> list[dict[str, str]]:
    """A row of texts for each point that is ranked, the best first."""
    sweep, rows = results.sweep, []
    for standing in results.standings():
        row = results.rows[next(iter(standing.values))]
        rows.append(
            {
                **knob_texts(standing.knobs),
                "gflops": f"{row['forward_gflops']:.4f}",
                sweep.definition.metric: f"{standing.mean:.3f}",
                **({"deviation": f"{standing.deviation:.3f}"} if standing.deviation is not None else {}),
                **({"seeds": str(len(standing.values))} if sweep.definition.seeds > 1 else {}),
                "best run": best_run(sweep, standing),
            }
        )
    return rows


def trial_rows(results: Results) -> list[dict[str, str]]:
    """A row of texts for each trial: those that run, then those that have ended, the best first."""
    values, sweep = results.objectives(), results.sweep
    sign = 1 if sweep.definition.direction == "min" else -1

    def place(trial: Trial) -> tuple[int, float]:
        return ORDER.index(results.status(trial)), sign * values.get(trial.run_id, 0.0)

    return [trial_row(results, trial, values.get(trial.run_id)) for trial in sorted(sweep.trials, key=place)]


def trial_row(results: Results, trial: Trial, value: float | None) -> dict[str, str]:
    sweep, row = results.sweep, results.rows.get(trial.run_id, {})
    state = progress.latest(sweep.store, trial.run_id) if row.get("status") == "running" else None
    images = state.images_seen if state else row.get("images_seen")
    rate = state.images_per_s if state else row.get("images_per_s")
    loss = state.loss if state else row.get("loss")
    return {
        "trial": trial.run_id.removeprefix(f"{sweep.definition.name}-"),
        **knob_texts(trial.knobs),
        **({"seed": str(trial.run.config.train.seed)} if sweep.definition.seeds > 1 else {}),
        "gflops": f"{row['forward_gflops']:.4f}" if row else "",
        "status": results.status(trial),
        "images": f"{images:,}" if images else "",
        "images/s": f"{rate:,.0f}" if rate else "",
        "loss": f"{loss:.4f}" if loss else "",
        sweep.definition.metric: "" if value is None else f"{value:.3f}",
    }


def knob_texts(knobs: dict[str, Any]) -> dict[str, str]:
    return {last_name(path): str(value) for path, value in knobs.items()}
