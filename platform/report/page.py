"""One self-contained page out of what the tables hold, and its pictures as files."""

import textwrap

from unlatent.platform import runs, tables
from unlatent.platform.provenance import now, provenance
from unlatent.platform.report.answer import headline, summary
from unlatent.platform.report.caveats import caveats
from unlatent.platform.report.curves import loss_picture, losses_picture
from unlatent.platform.report.findings import RunFindings, SweepFindings, read_run, read_sweep
from unlatent.platform.report.origin import measured_line
from unlatent.platform.report.parts import origin_part, run_part, sweep_part, sweep_pictures
from unlatent.platform.report.rendering import HOUSE, render
from unlatent.platform.report.thumbnails import thumbnail
from unlatent.platform.report.wording import moment
from unlatent.platform.store import Store

Summary = list[dict[str, str]]  # rows of a small table, texts by column

MOST_ANSWERS = 120  # pictures of the endpoint's answers
LARGEST_ANSWER = (256, 150_000)  # pixels across and bytes of each


def newest_sweep(store: Store) -> str:
    """The sweep that was begun last.

    Raises ValueError where there is none.
    """
    tables.require_results(store)
    sweeps = tables.read(store, "sweeps").sort_values("started_at")
    if sweeps.empty:
        raise ValueError(f"{store.root} holds no sweep to report on; `unlatent sweep digits` runs one")
    return str(sweeps["sweep"].iloc[-1])


def chosen_run(store: Store, sweep: str, run_id: str | None) -> str | None:
    """The run to show in full beside a sweep: the one named, or the sweep's best.

    Raises ValueError for a sweep or a run that is not in the tables.
    """
    tables.require_results(store)
    row = tables.row(store, "sweeps", sweep)
    if row is None:
        names = ", ".join(sorted(tables.read(store, "sweeps")["sweep"])) or "none yet; `unlatent sweep digits` runs one"
        raise ValueError(f"sweep={sweep!r} is not in {store.root}; the sweeps there: {names}")
    return runs.find(store, run_id)["run_id"] if run_id else row["best_run_id"]


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
        "run": run_part(run, trials) if run else None,
        "answers": {
            name: thumbnail(png, *LARGEST_ANSWER) for name, png in list((requests or {}).items())[:MOST_ANSWERS]
        },
        "answered": len(requests or {}),
        "origin": origin_part(trials, run),
        "store": store.root,
        "written": {"at": moment(now()), **provenance()},
    }
    store.write_bytes(path, render(HOUSE, parts).encode())
    return summary(trials, run)


def pictures_of(store: Store, sweep: str, run_id: str | None = None) -> dict[str, bytes]:
    """The report's pictures as PNG, by name, each with what its numbers depend on in small print."""
    trials = read_sweep(store, sweep)
    run = read_run(store, run_id) if run_id else None
    found = {}
    if trials:
        note = textwrap.fill(f"{sweep}: {measured_line(trials)}", 110)
        found = {picture.name: picture.png(note) for picture, _ in sweep_pictures(trials)}
        if len(trials.steps):
            found["losses"] = losses_picture(trials).png(sweep)
    if run and len(run.steps):
        found["loss-of-run"] = loss_picture(run.steps).png(run.row["run_id"])
    return found


def missing(sweep: str | None, trials: SweepFindings | None, run_id: str | None, run: RunFindings | None) -> list[str]:
    """What was asked for and is not in the store."""
    said = []
    if sweep and trials is None:
        said.append(f"No sweep called {sweep} is in the tables.")
    if run_id and run is None:
        said.append(f"No run called {run_id} is in the tables.")
    return said
