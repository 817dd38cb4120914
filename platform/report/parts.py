"""What the page's sections show of a sweep and of a run."""

from collections.abc import Callable
from typing import Any

from unlatent.platform.report import grid, origin, samples
from unlatent.platform.report.costs import costed, costs_of, restrictions, unpictured
from unlatent.platform.report.curves import loss_picture, losses_picture, named_curves
from unlatent.platform.report.findings import RunFindings, SweepFindings, settings_of
from unlatent.platform.report.fronts import front_picture
from unlatent.platform.report.heat_map import heat_captions, heat_maps
from unlatent.platform.report.picture import Picture
from unlatent.platform.report.points import Row, records
from unlatent.platform.report.thumbnails import thumbnail
from unlatent.platform.report.wording import count, is_missing, number, plain, plural, setting, setting_in_words
from unlatent.platform.store import Store

LARGEST_GRID = (1320, 400_000)  # pixels across and bytes, of a run shown in full


def sweep_pictures(sweep: SweepFindings) -> list[tuple[Picture, str]]:
    """Quality against what an image costs, and by the sweep's knobs: with what each picture has to say of itself."""
    if len(sweep.ranked) < 2:
        return []
    fronts = [
        (front_picture(sweep, cost), f"{cost.says} {restrictions(sweep, cost)}".strip())
        for cost in costs_of(sweep)
        if len(costed(sweep, cost)) > 1
    ]
    return [*fronts[:1], *zip(heat_maps(sweep), heat_captions(sweep), strict=False), *fronts[1:]]


def sweep_part(store: Store, sweep: SweepFindings) -> dict[str, Any]:
    shown = samples.samples_of(store, sweep)
    return {
        "name": sweep.name,
        "noun": sweep.noun,
        "lengths_differ": sweep.points["images_seen"].nunique() > 1,
        "has_places": sweep.has_long_labels,
        "several_seeds": sweep.seeds > 1,
        "question": (sweep.row or {}).get("question"),
        "extent": extent(sweep),
        "measured_line": origin.measured_line(sweep),
        "grid": grid.points_grid(sweep) if len(sweep.points) else None,
        "row_ids": row_ids(sweep, shown),
        "pictures": [(picture.svg(), picture.title, caption) for picture, caption in sweep_pictures(sweep)],
        "unpictured": unpictured(sweep),
        "named_curves": named_curves(sweep),
        "loss_figure": losses_picture(sweep).svg() if len(sweep.steps) else None,
        "samples": shown[: samples.SEEN_AT_ONCE],
        "more_samples": shown[samples.SEEN_AT_ONCE :],
        "left_out": samples.left_out(sweep, shown),
        "failures": reasons(sweep, sweep.with_status("failed", "lost"), "error"),
        "stopped": reasons(sweep, stopped(sweep), "stopped_because"),
        "measured": origin.measured_facts(sweep.settings),
        "pandas": origin.pandas_lines(store, sweep),
    }


def reasons(sweep: SweepFindings, trials: list[Row], column: str) -> list[tuple[str, str, str]]:
    return [(sweep.label(row), row["run_id"], plain(row[column])) for row in trials]


def stopped(sweep: SweepFindings) -> list[Row]:
    """Trials that a scheduler stopped; older rows do not say why."""
    return [row for row in sweep.with_status("stopped_early") if not is_missing(row["stopped_because"])]


def row_ids(sweep: SweepFindings, shown: list[samples.Samples]) -> list[str | None]:
    """Where a point leads that has no samples here."""
    pictured = {each.run_id for each in shown}
    return [None if run_id in pictured else f"point-{run_id}" for run_id in sweep.points["run_id"]]


def extent(sweep: SweepFindings) -> str:
    """How many trials there are, how they were chosen, and what was left out."""
    row = sweep.row
    if row is None:
        return f"{plural(len(sweep.trials), 'trial')}; the row of the sweep itself is missing."
    pruned = row["pruned"] or 0
    left_out = f"; {plural(pruned, 'combination')} that cannot work left out beforehand" if pruned else ""
    seeds = f", {row['seeds']} seeds of each setting," if (row["seeds"] or 1) > 1 else ""
    state = {
        "running": " The sweep is still running.",
        "lost": " The sweep was cut off.",
        "failed": " The sweep failed.",
    }
    chosen = f"{plural(sweep.planned, 'trial')} ({row['scheduler']}){seeds} of {budget(row)}{left_out}."
    return chosen + state.get(row["status"], "")


def budget(row: Row) -> str:
    if row["budget"] == "training_gflops":
        return f"{number(row['total_gflops'])} training GFLOPs each, so of as many images as these allow"
    return f"{count(row['total_images'])} images each"


def run_part(run: RunFindings, sweep: SweepFindings | None) -> dict[str, Any]:
    row = run.row
    is_trial = sweep is not None and row["run_id"] in set(sweep.trials["run_id"])
    return {
        "title": "One trial in full" if is_trial else "The long run" if sweep else "The run",
        "run_id": row["run_id"],
        "words": setting_in_words(row),
        "status": row["status"].replace("_", " "),
        "error": row["error"],
        "images_seen": count(row["images_seen"]),
        "total_images": count(row["total_images"]),
        "grids": {count(images): thumbnail(png, *LARGEST_GRID) for images, png in run.grids.items()},
        "loss_figure": loss_picture(run.steps).svg() if len(run.steps) else None,
        "evaluations": [
            (grid.evaluation_grid(alike), origin.measured_facts(settings_of(alike))) for alike in run.evaluations
        ],
    }


def origin_part(sweep: SweepFindings | None, run: RunFindings | None) -> dict[str, Any] | None:
    trials = records(sweep.trials) if sweep else []
    runs = [*trials, *([run.row] if run and run.row["run_id"] not in {row["run_id"] for row in trials} else [])]
    if not runs:
        return None
    label: Callable[[Row], str] = sweep.label if sweep else setting
    return {"facts": origin.facts(runs), "grid": grid.runs_grid(runs, label)}
