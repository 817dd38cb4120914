"""How far the answer goes: what it rests on, and what it does not say."""

import math

from unlatent.platform.report.answer import last_measured, over_seeds, value_of
from unlatent.platform.report.findings import RunFindings, SweepFindings, settings_of
from unlatent.platform.report.points import Row, records
from unlatent.platform.report.wording import (
    as_fine_as,
    count,
    is_missing,
    listed,
    metric_in_words,
    metric_value,
    number,
    plural,
    setting,
    share,
)


def caveats(sweep: SweepFindings | None, run: RunFindings | None) -> list[str]:
    """What the answer rests on, and what it does not say."""
    said: list[str] = []
    if sweep:
        said += [*on_margin(sweep), *on_features(sweep.settings), *on_training(sweep), *on_agreement(sweep)]
        said += [*on_states(sweep), *on_otherwise(sweep)]
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


def on_margin(sweep: SweepFindings) -> list[str]:
    """Whether the best is further from the next than values of one setting are from each other."""
    if sweep.seeds == 1 or len(sweep.ranked) < 2:
        return []
    best, second = records(sweep.ranked.head(2))
    lead = abs(best[sweep.metric] - second[sweep.metric])
    deviations = [point[sweep.deviation] for point in (best, second) if not is_missing(point[sweep.deviation])]
    next_one = f"Next comes {sweep.label(second)}, {value_of(sweep, second)}{over_seeds(second)}"
    if not deviations:
        return [f"{next_one}; neither has a second seed yet, so the difference may be chance."]
    widest, lead_in_words = (as_fine_as(sweep.metric, best[sweep.metric], each) for each in (max(deviations), lead))
    if lead > max(deviations):
        return [f"{next_one}: {lead_in_words} behind, more than values deviate over seeds ({widest})."]
    return [
        f"{next_one}: {lead_in_words} behind, within the deviation over seeds ({widest}), so which of the two is "
        "better remains open."
    ]


def on_training(sweep: SweepFindings) -> list[str]:
    """How long the ranked trials were trained, and from how many seeds."""
    if sweep.ranked.empty:
        return []
    ended = sweep.trials[(sweep.trials["status"] == "succeeded") & sweep.trials[sweep.metric].notna()]
    seeds, images = ended["seed"].nunique(), sorted(ended["images_seen"].unique())
    rests = "One training seed" if seeds == 1 else f"{seeds} training seeds"
    chance = "; small differences may be chance" if seeds == 1 else ""
    return [f"{rests}, each trial trained on {budget(sweep, images)}{chance}."]


def budget(sweep: SweepFindings, images: list[int]) -> str:
    row = sweep.row or {}
    if row.get("budget") == "training_gflops":
        least, most = count(images[0]), count(images[-1])
        differ = f"from {least} to {most} images" if least != most else f"{least} images"
        return f"the same computation, {number(row['total_gflops'])} training GFLOPs: {differ}"
    return " or ".join(count(each) for each in images[:3]) + " images"


def on_states(sweep: SweepFindings) -> list[str]:
    """Trials that did not come to their end."""
    said, found = [], sweep.states()
    states = [f"{many} {state.replace('_', ' ')}" for state, many in found.items() if state != "succeeded"]
    if states:
        said.append(f"Of {plural(sweep.planned, 'trial')} {found.get('succeeded', 0)} succeeded; {listed(states)}.")
    best = sweep.best
    if best and best["seeds"] < best["runs"]:
        said.append(f"The best setting's mean is over {best['seeds']} of its {best['runs']} runs: {best['states']}.")
    return said


def on_otherwise(sweep: SweepFindings) -> list[str]:
    if not sweep.otherwise:
        return []
    return [f"{plural(sweep.otherwise, 'trial')} measured in another way only, so not ranked: {sweep.differing}."]


def on_agreement(sweep: SweepFindings) -> list[str]:
    """Whether the best trial has learnt what its classes look like at all."""
    best = sweep.best or {}
    agreement, classes = best.get("class_agreement", math.nan), best.get("classes")
    if is_missing(agreement) or not classes or is_missing(classes) or agreement > 2 / classes:
        return []
    chance = (
        f"{share(agreement)} of its images are taken for the class asked for, where chance gives {share(1 / classes)}"
    )
    return [f"Even the best trial has learnt little: {chance}. Longer trials may rank otherwise."]


def on_run(sweep: SweepFindings | None, run: RunFindings) -> list[str]:
    """What training one of the settings longer has brought."""
    if sweep is None or run.row["run_id"] in set(sweep.trials["run_id"]):
        return []
    last = last_measured(run, sweep.metric, sweep.settings) if sweep.settings else None
    if last is None:
        return [f"The run trained longer, {setting(run.row)}, has not been measured in the way the trials were."]
    trained = f"Trained on {count(last['images_seen'])} images, {setting(run.row)}"
    value = f"{metric_in_words(sweep.metric)} {metric_value(sweep.metric, last['value'])}"
    return [f"{trained} reaches {value}, measured in the same way."]
