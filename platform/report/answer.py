"""The answer in a sentence, and how far it goes."""

import math
from typing import Any

from unlatent.platform.report.findings import NEAR, Row, RunFindings, SweepFindings, record, settings_of
from unlatent.platform.report.wording import (
    count,
    is_missing,
    listed,
    metric_in_words,
    metric_value,
    number,
    plural,
    setting,
    setting_in_words,
    share,
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
        return f"No answer yet: none of {plural(sweep.planned, 'trial')} has its {title} measured."
    so_far = "So far, " if is_open(sweep) else ""
    words = setting_in_words(best, sweep.varying)
    first = f"{so_far}{words} has the best {title}, {value_of(sweep, best)}, at {cost(best)} an image"
    return f"{first[0].upper()}{first[1:]}{against_cost(sweep, best)}."


def against_cost(sweep: SweepFindings, best: Row) -> str:
    """The best beside what costs less."""
    cheap, near = sweep.cheapest, sweep.cheapest_near
    if len(sweep.ranked) == 1:
        return ""
    if cheap["run_id"] == best["run_id"]:
        return f"; it is also the cheapest of {len(sweep.ranked)}"
    if near["run_id"] != best["run_id"]:
        words, less = setting_in_words(near, sweep.varying), number(best["forward_gflops"] / near["forward_gflops"], 2)
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


def caveats(sweep: SweepFindings | None, run: RunFindings | None) -> list[str]:
    """What the answer rests on, and what it does not say."""
    said: list[str] = []
    if sweep:
        said += [*on_features(sweep.settings), *on_trials(sweep)]
    elif run and run.evaluations:
        said += on_features(settings_of(run.evaluations[0]))
    if run:
        said += on_run(sweep, run)
    return said


def on_features(settings: Row) -> list[str]:
    """Whose features the distances are measured in, where they are not those that published numbers use."""
    if not settings:
        return []
    samples = f"{count(settings['samples'])} generated images each"
    if settings["feature_extractor"] == "inception":
        few = "; published numbers rest on 50,000" if settings["samples"] < 50_000 else ""
        return [f"Measured on Inception's features, from {samples}{few}."]
    accuracy = f"held-out accuracy {share(settings['extractor_accuracy'])}"
    return [
        f"Measured on the features of the {settings['dataset']} classifier ({accuracy}), from {samples}: "
        "not an Inception FID, and comparable with no published number."
    ]


def on_trials(sweep: SweepFindings) -> list[str]:
    said = []
    if len(sweep.ranked):
        seeds, images = sweep.ranked["seed"].nunique(), sorted(sweep.ranked["images_seen"].unique())
        length = " or ".join(count(each) for each in images[:3])
        rests = "One training seed" if seeds == 1 else f"{seeds} training seeds"
        chance = "; small differences may be chance" if seeds == 1 else ""
        said.append(f"{rests}, each trial trained on {length} images{chance}.")
    said += on_agreement(sweep)
    states = [f"{many} {state.replace('_', ' ')}" for state, many in sweep.states().items() if state != "succeeded"]
    if states:
        done = sweep.states().get("succeeded", 0)
        said.append(f"Of {plural(sweep.planned, 'trial')} {done} succeeded; {listed(states)}.")
    if sweep.otherwise:
        said.append(f"{plural(sweep.otherwise, 'trial')} measured in another way only, so not ranked.")
    return said


def on_agreement(sweep: SweepFindings) -> list[str]:
    """Whether the best trial has learnt what its classes look like at all."""
    best = sweep.best or {}
    agreement, classes = best.get("class_agreement", math.nan), best.get("classes")
    if is_missing(agreement) or not classes or agreement > 2 / classes:
        return []
    chance = (
        f"{share(agreement)} of its images are taken for the class asked for, where chance gives {share(1 / classes)}"
    )
    return [f"Even the best trial has learnt little: {chance}. Longer trials may rank otherwise."]


def on_run(sweep: SweepFindings | None, run: RunFindings) -> list[str]:
    """What training one of the settings longer has brought."""
    if sweep is None:
        return []
    last = last_measured(run, sweep.metric, sweep.settings) if sweep.settings else None
    if last is None:
        return [f"The run trained longer, {setting(run.row)}, has not been measured in the way the trials were."]
    trained = f"Trained on {count(last['images_seen'])} images, {setting(run.row)}"
    value = f"{metric_in_words(sweep.metric)} {metric_value(sweep.metric, last['value'])}"
    return [f"{trained} reaches {value}, measured in the same way."]


def is_open(sweep: SweepFindings) -> bool:
    """Whether trials may still come that change the answer."""
    ended = sweep.row is None or sweep.row["status"] not in {"running", "lost"}
    return not ended or "running" in sweep.states()


def value_of(sweep: SweepFindings, trial: Row) -> str:
    return metric_value(sweep.metric, trial[sweep.metric])


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
            rows.append(summary_row(what, sweep.label(trial), trial, metric, trial[metric]))
    if run:
        last = last_measured(run, metric, sweep.settings if sweep else None) or {**run.row, "value": None}
        seen = {**run.row, "images_seen": last["images_seen"]}
        rows.append(summary_row("trained longer" if sweep else "run", setting(run.row), seen, metric, last["value"]))
    return rows


def summary_row(what: str, label: str, run: Row, metric: str, value: float | None) -> dict[str, str]:
    return {
        "what": what,
        "setting": label,
        metric: metric_value(metric, value),
        "gflops": number(run["forward_gflops"]),
        "images": count(run["images_seen"]),
        "run": run["run_id"],
    }
