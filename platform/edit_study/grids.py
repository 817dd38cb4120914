"""Tables of the report: every setting that was tried, with all that was measured."""

from collections.abc import Sequence
from typing import Any

from unlatent.platform.edit_study.attempts import FREE, RECONSTRUCTED
from unlatent.platform.edit_study.comparing import Answer
from unlatent.platform.edit_study.perception import LPIPS, STRUCTURE
from unlatent.platform.edit_study.study import Outcome
from unlatent.platform.intervals import Interval
from unlatent.platform.report.grid import Column, Grid
from unlatent.platform.report.wording import NOTHING, between, number, percent, share

COMPARED = "compared"


def settings_grid(answer: Answer, way: str) -> Grid:
    """Edits in one way, subject by subject; with those that are free, encode and decode alone."""
    ways = (way, RECONSTRUCTED) if way == FREE else (way,)
    compared = answer.in_comparisons(way)
    rows = [
        {"outcome": outcome, "is_compared": outcome in compared}
        for group in answer.groups
        for outcome in group.outcomes
        if outcome.attempt.way in ways
    ]
    return Grid(columns(answer), rows)


def columns(answer: Answer) -> list[Column]:
    marked = [Column("", lambda row: COMPARED if row["is_compared"] else "", "text")] if answer.others else []
    return [
        Column("Through", lambda row: row["outcome"].name, "text"),
        Column("Steps", lambda row: steps(row["outcome"]), note="edited"),
        Column("Guidance", lambda row: guidance(row["outcome"]), note="target"),
        *marked,
        Column("Success", lambda row: percent(row["outcome"].findings.success), note="of edits"),
        Column(
            "Background MSE", lambda row: between(thousandths(row["outcome"].findings.background_mse)), note="× 1000"
        ),
        Column("PSNR", lambda row: decibel(row["outcome"].findings.background_psnr), note="dB"),
        Column("SSIM", lambda row: number(row["outcome"].findings.background_ssim.value)),
        *perceived_columns(answer),
        Column("Letters", lambda row: share(row["outcome"].findings.legibility.value), note="read"),
        Column("Object MSE", lambda row: number(1000 * row["outcome"].findings.object_mse.value), note="× 1000"),
        Column("Untouched", lambda row: share(row["outcome"].findings.untouched.value), note="objects"),
        Column("Time", lambda row: number(row["outcome"].seconds / len(row["outcome"].images)), note="s an image"),
    ]


def perceived_columns(answer: Answer) -> list[Column]:
    """Of the measures whose networks were at hand."""
    columns = {
        LPIPS: Column("LPIPS", lambda row: number(row["outcome"].findings.background_lpips.value, 2)),
        STRUCTURE: Column(
            "Structure", lambda row: number(1000 * row["outcome"].findings.structure_distance.value), note="× 1000"
        ),
    }
    return [columns[name] for name in measures_of(answer)]


def measures_of(answer: Answer) -> list[str]:
    """Of those that need weights of others: what every attempt was measured by."""
    outcomes = [outcome for group in answer.groups for outcome in group.outcomes]
    return [name for name in (LPIPS, STRUCTURE) if all(name in outcome.perceived for outcome in outcomes)]


def steps(outcome: Outcome) -> str:
    edit = outcome.attempt.edit
    return f"{edit.n_max} of {edit.steps}" if edit else "no edit"


def guidance(outcome: Outcome) -> str:
    edit = outcome.attempt.edit
    return f"{edit.target_guidance:g}" if edit else NOTHING


def thousandths(interval: Interval) -> Interval:
    value, low, high = (1000 * end for end in (interval.value, interval.low, interval.high))
    return Interval(value, low, high, interval.images)


def decibel(interval: Interval) -> str:
    return number(interval.value, 3) if interval.value < float("inf") else "infinite"


def in_short(answer: Answer, ways: Sequence[str]) -> list[dict[str, str]]:
    """The edits that stand for each subject, as a table for a terminal."""
    return [row_in_short(way, answer.shown(group, way)) for way in ways for group in answer.groups]


def row_in_short(way: str, outcome: Outcome) -> dict[str, Any]:
    found = outcome.findings
    return {
        "edits": way,
        "through": outcome.name,
        "steps": steps(outcome),
        "guidance": guidance(outcome),
        "success": percent(found.success),
        "background MSE": between(found.background_mse),
        "letters read": share(found.legibility.value),
    }
