"""The answer in a sentence."""

from typing import Any

from unlatent.platform.report.findings import NEAR, RunFindings, SweepFindings
from unlatent.platform.report.points import Row, record
from unlatent.platform.report.wording import (
    count,
    metric_in_words,
    metric_value,
    number,
    plural,
    setting,
    setting_in_words,
    share,
    with_deviation,
)
from unlatent.platform.selection import COMPARABLE_IN


def headline(sweep: SweepFindings | None, run: RunFindings | None) -> str:
    if sweep:
        return sweep_answer(sweep)
    return run_answer(run) if run else "Nothing has been trained yet."


def sweep_answer(sweep: SweepFindings) -> str:
    """Which setting won, by how much and at what cost."""
    best, title = sweep.best, metric_in_words(sweep.metric)
    if best is None:
        yet = " yet" if is_open(sweep) else ""
        return f"No answer{yet}: none of {plural(sweep.planned, 'trial')} has its {title} measured."
    so_far = "So far, " if is_open(sweep) else ""
    words = setting_in_words(best, sweep.varying)
    first = f"{so_far}{words} has the best {title}, {value_of(sweep, best)}{over_seeds(best)}, at {cost(best)} an image"
    return f"{first[0].upper()}{first[1:]}{against_cost(sweep, best)}."


def against_cost(sweep: SweepFindings, best: Row) -> str:
    """The best beside what costs less."""
    cheap, near = sweep.cheapest, sweep.cheapest_near
    if len(sweep.ranked) == 1:
        return ""
    if cheap["run_id"] == best["run_id"]:
        return f"; it is also the cheapest of {len(sweep.ranked)}"
    if near["run_id"] != best["run_id"]:
        words, times = setting_in_words(near, sweep.varying), best["forward_gflops"] / near["forward_gflops"]
        less = number(times, 2 if times > 1.1 else 3)
        return f"; {words} comes within {share(NEAR, 0)} of it ({value_of(sweep, near)}) with {less} times less compute"
    words = f"{setting_in_words(cheap, sweep.varying)} ({value_of(sweep, cheap)} at {cost(cheap)})"
    return f"; nothing cheaper comes within {share(NEAR, 0)} of it, and the cheapest is {words}"


def run_answer(run: RunFindings) -> str:
    words, last = setting_in_words(run.row), last_measured(run, "fid")
    if last is None:
        outcome = f"trained on {count(run.row['images_seen'])} images, has not been measured yet"
    else:
        outcome = f"trained on {count(last['images_seen'])} images, reaches an FID of {number(last['value'])}"
    return f"{words[0].upper()}{words[1:]}, {outcome}."


def last_measured(run: RunFindings, metric: str, settings: Row | None = None) -> Row | None:
    """The row of a metric of a run's last measured checkpoint; of those measured like something else, where given."""
    for group in run.evaluations:
        if settings and any(differs(group.iloc[0][name], settings[name]) for name in COMPARABLE_IN):
            continue
        rows = group[group["metric"] == metric]
        return record(rows.iloc[-1]) if len(rows) else None
    return None


def differs(a: Any, b: Any) -> bool:
    return a != b and not (a != a and b != b)


def is_open(sweep: SweepFindings) -> bool:
    """Whether trials may still come that change the answer."""
    ended = sweep.row is None or sweep.row["status"] not in {"running", "lost"}
    return not ended or "running" in sweep.states()


def value_of(sweep: SweepFindings, trial: Row) -> str:
    """The objective of a point, in words of its seeds where it has several."""
    return with_deviation(sweep.metric, trial[sweep.metric], trial[sweep.deviation])


def over_seeds(point: Row) -> str:
    return f" over {point['seeds']} seeds" if point["seeds"] > 1 else ""


def cost(trial: Row) -> str:
    return f"{number(trial['forward_gflops'])} GFLOPs"


def summary(sweep: SweepFindings | None, run: RunFindings | None) -> list[dict[str, str]]:
    """The answer as a table for a terminal."""
    metric = sweep.metric if sweep else "fid"
    rows = []
    if sweep and (best := sweep.best):
        named = {"best": best, f"cheapest within {NEAR:.0%} of it": sweep.cheapest_near, "cheapest": sweep.cheapest}
        for trial in {trial["run_id"]: trial for trial in named.values()}.values():
            what = ", ".join(name for name, each in named.items() if each["run_id"] == trial["run_id"])
            rows.append(summary_row(what, sweep.label(trial), trial, metric, value_of(sweep, trial)))
    if run and not (sweep and run.row["run_id"] in set(sweep.trials["run_id"])):
        last = last_measured(run, metric, sweep.settings if sweep else None) or {**run.row, "value": None}
        seen = {**run.row, "images_seen": last["images_seen"]}
        what, value = "trained longer" if sweep else "run", metric_value(metric, last["value"])
        rows.append(summary_row(what, setting(run.row), seen, metric, value))
    return rows


def summary_row(what: str, label: str, run: Row, metric: str, value: str) -> dict[str, str]:
    return {
        "what": what,
        "setting": label,
        metric: value,
        "gflops": number(run["forward_gflops"]),
        "images": count(run["images_seen"]),
        "run": run["run_id"],
    }
