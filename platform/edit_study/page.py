"""The report: one HTML file that needs no other, with its numbers as JSON and its pictures as PNG beside it."""

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from unlatent.models import cost
from unlatent.platform.edit_study import grids, samples
from unlatent.platform.edit_study.attempts import DERIVED, FREE, MASKED
from unlatent.platform.edit_study.comparing import Answer, Group, answer
from unlatent.platform.edit_study.perception import LPIPS, STRUCTURE
from unlatent.platform.edit_study.plots import pictures
from unlatent.platform.edit_study.study import Outcome, perceived_by
from unlatent.platform.edit_study.verdict import caveats, headline, training_gflops, verdicts
from unlatent.platform.provenance import now, provenance, release
from unlatent.platform.report.rendering import render
from unlatent.platform.report.wording import count, listed, moment, number, plural
from unlatent.platform.store import Store

PAGE, NUMBERS, GRID = "report.html", "results.json", "edits.png"
TABLES = {FREE: "Free edits", MASKED: "Masked edits", DERIVED: "Edits with a derived mask"}
IN_WORDS = {
    LPIPS: "LPIPS is of the background, too.",
    STRUCTURE: "Structure is how far the whole image's is from the source's; another shape is another structure.",
}
RELEASES = ("torch", "scikit-image", "pillow", "numpy")


def write_report(store: Store, out: Store, outcomes: Sequence[Outcome], about: str = "") -> list[dict[str, str]]:
    """Writes report.html, results.json and PNG files into a folder. Returns the answer in short.

    `store` is where the rows of the attempts are. Raises ValueError where there is nothing to report on.
    """
    if not outcomes:
        raise ValueError("no edits were made, so there is nothing to report on")
    found = answer(outcomes)
    line, drawn = measured_line(found), pictures(found)
    for picture, _ in drawn:
        out.write_bytes(f"{picture.name}.png", picture.png(textwrap.fill(line, 110)))
    out.write_bytes(GRID, samples.png_grid(found))
    out.write_bytes(NUMBERS, json.dumps(as_json(found), indent=2, allow_nan=False).encode())
    parts = {
        "title": "Edits with a known right answer",
        "about": about or "FlowEdit on held-out scenes, of which the edited image is known.",
        "headline": headline(found),
        "verdicts": verdicts(found),
        "caveats": caveats(found),
        "measured_line": line,
        "pictures": [(picture.svg(), picture.title, caption) for picture, caption in drawn],
        "perceived_line": " ".join(IN_WORDS[name] for name in grids.measures_of(found)),
        "grids": {TABLES[way]: grids.settings_grid(found, way) for way in found.ways},
        "examples": samples.examples(found),
        "pairs": len(outcomes[0].attempt.pairs),
        "side": outcomes[0].images.shape[-1],
        "origin": origin(found),
        "store": store.root,
        "written": {"at": moment(now()), **provenance()},
    }
    out.write_bytes(PAGE, render("unlatent.platform.edit_study", parts).encode())
    return grids.in_short(found, found.ways)


def measured_line(found: Answer) -> str:
    """What all numbers depend on, in a line."""
    attempt = found.first.outcomes[-1].attempt
    size, depends_on = attempt.pairs[0].source.shape[-1], attempt.depends_on
    models = listed([f"{group.through} {group.model.checkpoint}" for group in found.groups])
    return (
        f"{plural(len(attempt.pairs), 'pair')} of scenes at {size}×{size} (hash {depends_on['pairs_hash']}), seed "
        f"{attempt.seed}; {models}; 95 % bootstrap intervals over pairs."
    )


def origin(found: Answer) -> dict[str, str]:
    """Everything that the numbers depend on, for the page."""
    attempt = found.first.outcomes[-1].attempt
    known, versions = attempt.depends_on, [f"{package} {release(package)}" for package in RELEASES]
    return {
        "Pairs": f"{len(attempt.pairs)}, hash {known['pairs_hash']}",
        "Seed": f"{attempt.seed}, of the edits' noise, of the intervals and of what is pictured",
        **{f"The network {group.through}": network_in_words(group) for group in found.groups},
        "Edits": f"n_min {known['n_min']}, n_avg {known['n_avg']}, source guidance {known['source_guidance']:g}, "
        f"shift {known['shift']:g}, {known['precision']}, on {found.first.outcomes[-1].device}",
        **weights_in_words(found),
        "Versions": f"Python {provenance()['python_version']}, {', '.join(versions)}",
    }


def weights_in_words(found: Answer) -> dict[str, str]:
    """Of the networks of others that something was measured by."""
    perceived, titles = found.first.outcomes[-1].perceived, {LPIPS: "LPIPS by", STRUCTURE: "Structure by"}
    told = {name: f"{perceived[name].weights}, hash {perceived[name].hash[:16]}" for name in grids.measures_of(found)}
    return {titles[name]: words for name, words in told.items()}


def network_in_words(group: Group) -> str:
    model, config = group.model, group.model.network.config
    models = f"latents of {model.autoencoder}" if model.autoencoder else "pixels"
    return (
        f"{model.checkpoint}, hash {model.checkpoint_hash[:16]}, weights {model.weights}; it models {models}; "
        f"{count(cost.parameters(config))} parameters, {number(cost.forward_gflops(config))} GFLOPs an image, "
        f"{count(model.images_seen)} images seen, {number(training_gflops(group))} GFLOPs of training"
    )


def as_json(found: Answer) -> dict[str, Any]:
    """All numbers, with those of no row: what was compared with what."""
    return {
        "attempts": [
            {
                "through": group.name,
                "edit_id": outcome.attempt.id,
                **outcome.attempt.depends_on,
                **outcome.findings.columns(),
                **perceived_by(outcome),
            }
            for group in found.groups
            for outcome in group.outcomes
        ],
        "comparisons": [
            {
                "first": found.first.name,
                "second": name,
                "way": way,
                **({} if each is None else each.as_json()),
            }
            for (name, way), each in found.compared.items()
        ],
        "provenance": provenance(),
    }
