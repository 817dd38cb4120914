"""What a suite's scorer says of a folder's images, as rows of `evaluations`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlatent.platform import tables
from unlatent.platform.evaluation import recorded, short_hash
from unlatent.platform.prompt_suites.plan import IMAGES, Plan, read_plan
from unlatent.platform.prompt_suites.suites import SUITES
from unlatent.platform.provenance import now
from unlatent.platform.store import Store

Row = dict[str, Any]

OF_THE_FOLDER = ("suite", "prompts_hash", "names", "format_version")  # no columns of `evaluations`


def record(store: Store, folder: Store, results: Path, judge: str | None) -> tuple[list[Row], list[str]]:
    """The rows of a scoring, that of the whole first: those in the table already, or new ones; and what they leave out.

    That are the prompts, by name, which the suite's scorer fails at. A judge is named where it is not the suite's own.
    Raises ValueError for results that are not of this folder, a store that does not know its run, and other scores of
    the same images by the same judge than those in the table.
    """
    planned = read_plan(folder)
    require_known(store, planned)
    scores = SUITES[planned.suite].read_scores(results, planned)
    shared = columns_of(planned, judge or planned.suite, scores.unjudged)
    before = recorded(store, planned.run_id, shared["evaluation_id"])
    if before:
        require_same({row["metric"]: row["value"] for row in before}, scores.values, results)
        return before, scores.unjudged
    rows = [{**shared, "metric": metric, "value": value} for metric, value in scores.values.items()]
    tables.append(store, "evaluations", rows, name=f"{planned.run_id}.{shared['evaluation_id']}")
    return rows, scores.unjudged


def require_known(store: Store, planned: Plan) -> None:
    if not store.exists(planned.checkpoint) and tables.row(store, "runs", planned.run_id) is None:
        raise ValueError(
            f"{planned.checkpoint}, which drew the images, is not in {store.root}; store=FOLDER names another store"
        )


def require_same(before: dict[str, float], values: dict[str, float], results: Path) -> None:
    differing = [metric for metric in before.keys() | values.keys() if before.get(metric) != values.get(metric)]
    if differing:
        metric = min(differing)
        raise ValueError(
            f"{results} says {metric} {values.get(metric)}, and {before.get(metric)} is on record for the same images; "
            "--judge NAME tells another judge from the one before"
        )


def columns_of(planned: Plan, judge: str, unjudged: list[str]) -> Row:
    """All columns but metric and value. What is of other prompts, or at another size, is not ranked with it."""
    without = f" without {', '.join(unjudged)}" if unjudged else ""
    drawn = {name: value for name, value in asdict(planned).items() if name not in OF_THE_FOLDER}
    depends_on = {
        **drawn,
        "samples": planned.samples - IMAGES * len(unjudged),
        "feature_extractor": judge,
        "reference": f"{planned.suite}:{planned.prompts_hash}:{planned.image_size}px{without}",
    }
    return {
        **depends_on,
        "evaluation_id": short_hash({name: value for name, value in depends_on.items() if value is not None}),
        "extractor_accuracy": None,
        "dataset": planned.suite,
        "dataset_hash": planned.prompts_hash,
        "duration_s": None,
        "device": None,
        "evaluated_at": now(),
    }
