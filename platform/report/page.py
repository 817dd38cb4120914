"""One self-contained page out of what the tables hold."""

import base64
from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from unlatent.platform.provenance import now, provenance
from unlatent.platform.report import figures, grid, origin
from unlatent.platform.report.answer import caveats, headline, summary
from unlatent.platform.report.findings import (
    Row,
    RunFindings,
    SweepFindings,
    read_run,
    read_sweep,
    records,
    settings_of,
)
from unlatent.platform.report.wording import count, moment, plain, plural, setting, setting_in_words
from unlatent.platform.store import Store

Summary = list[dict[str, str]]  # rows of a small table, texts by column

MOST_ANSWERS = 120  # pictures of the endpoint's answers


def write_report(
    store: Store,
    path: str,
    title: str,
    sweep: str | None = None,
    run_id: str | None = None,
    requests: dict[str, bytes] | None = None,
    about: str = "",
) -> Summary:
    """Writes what is known about a sweep, a run and an endpoint's answers as one HTML file that needs no other.

    `requests` has the answers: class name -> PNG. What is missing is said in the page. Returns the answer in short.
    """
    trials = read_sweep(store, sweep) if sweep else None
    run = read_run(store, run_id) if run_id else None
    parts = {
        "title": title,
        "about": about,
        "answer": headline(trials, run),
        "caveats": caveats(trials, run),
        "missing": missing(sweep, trials, run_id, run),
        "sweep": sweep_part(store, trials) if trials else None,
        "run": run_part(run) if run else None,
        "answers": dict(list((requests or {}).items())[:MOST_ANSWERS]),
        "answered": len(requests or {}),
        "origin": origin_part(trials, run),
        "store": store.root,
        "written": {"at": moment(now()), **provenance()},
    }
    store.write_bytes(path, render(parts).encode())
    return summary(trials, run)


def missing(sweep: str | None, trials: SweepFindings | None, run_id: str | None, run: RunFindings | None) -> list[str]:
    """What was asked for and is not in the store."""
    said = []
    if sweep and trials is None:
        said.append(f"No sweep called {sweep} is in the tables.")
    if run_id and run is None:
        said.append(f"No run called {run_id} is in the tables.")
    return said


def sweep_part(store: Store, sweep: SweepFindings) -> dict[str, Any]:
    row = sweep.row or {}
    enough = len(sweep.ranked) > 1
    windows = sweep.ranked.loc[figures.with_attention(sweep.ranked), "window"].nunique()
    return {
        "name": sweep.name,
        "question": row.get("question"),
        "extent": extent(sweep),
        "grid": grid.trials_grid(sweep) if len(sweep.trials) else None,
        "cost_figure": Markup(figures.quality_against_cost(sweep)) if enough else None,
        "window_figure": Markup(figures.quality_by_window(sweep)) if windows > 1 and not sweep.varying else None,
        "loss_figure": Markup(figures.losses(sweep)) if len(sweep.steps) else None,
        "failures": [(sweep.label(row), row["run_id"], plain(row["error"])) for row in sweep.failed],
        "measured": origin.measured_facts(sweep.settings),
        "pandas": origin.pandas_lines(store, sweep),
    }


def extent(sweep: SweepFindings) -> str:
    """How many trials there are, how they were chosen, and what was left out."""
    row = sweep.row
    if row is None:
        return f"{plural(len(sweep.trials), 'trial')}; the row of the sweep itself is missing."
    pruned = row["pruned"] or 0
    left_out = f"; {plural(pruned, 'combination')} that cannot work left out beforehand" if pruned else ""
    state = {
        "running": " The sweep is still running.",
        "lost": " The sweep was cut off.",
        "failed": " The sweep failed.",
    }
    chosen = (
        f"{plural(sweep.planned, 'trial')} ({row['scheduler']}) of {count(row['total_images'])} images each{left_out}."
    )
    return chosen + state.get(row["status"], "")


def run_part(run: RunFindings) -> dict[str, Any]:
    row = run.row
    return {
        "run_id": row["run_id"],
        "words": setting_in_words(row),
        "status": row["status"].replace("_", " "),
        "error": row["error"],
        "images_seen": count(row["images_seen"]),
        "total_images": count(row["total_images"]),
        "grids": {count(images): png for images, png in run.grids.items()},
        "loss_figure": Markup(figures.loss_of_run(run.steps)) if len(run.steps) else None,
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


def render(parts: dict[str, Any]) -> str:
    folder = resources.files("unlatent.platform.report")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["data_uri"] = data_uri
    style = Markup((folder / "page.css").read_text())
    return page.from_string((folder / "page.html").read_text()).render(style=style, **parts)


def data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
