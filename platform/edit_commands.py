"""`unlatent edits`: edits whose right answer is known, by one model or by two beside each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlatent.platform import display
from unlatent.platform.commands import is_set

if TYPE_CHECKING:
    from unlatent.platform.config import Config
    from unlatent.platform.edit_study.attempts import Subject

commands = typer.Typer()


@commands.command(
    epilog="unlatent edits pixels-1a2b3c4d5e latents-5e4d3c2b1a --pairs scenes --out edits edit.steps=30 "
    "'edits.n_max=[12,18,24]'"
)
def edits(
    named: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT [CHECKPOINT]... [OVERRIDES]...",
            help="Runs' ids, for their last checkpoints, or checkpoints' paths in the store; the first is compared "
            "with the others. Config overrides, such as edits.pairs=16",
        ),
    ],
    pairs: Annotated[str, typer.Option(help="A folder of `unlatent data scenes` with --pairs, or its address")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, results.json and PNG files")] = Path("edits"),
) -> None:
    """Edit held-out scenes of which the right answer is known, and measure what was kept and whether the edit happened.

    Several models edit the same pairs under every setting of `edits`, and are compared at equal success. Each attempt
    is a row of the table `edits`; the same command goes on, and edits nothing twice.
    """
    from itertools import islice

    from unlatent.platform.config import compose_config
    from unlatent.platform.edit_study.page import write_report
    from unlatent.platform.edit_study.study import run_study
    from unlatent.platform.scenes import read_pairs
    from unlatent.platform.store import Store

    Store(out).require_folder("--out")
    overrides = [text for text in named if "=" in text]
    config = compose_config(overrides)
    store = Store(config.store)
    subjects = subjects_of(config, [text for text in named if "=" not in text], overrides)
    held_out = list(islice(read_pairs(Store(pairs)), config.edits.pairs))
    sampler = config.sampler if is_set("sampler", overrides) else None
    with display.counting("edits") as on_images:
        outcomes = run_study(store, subjects, held_out, config.edit, config.edits, sampler, on_images)
    display.show_table(write_report(store, Store(out), outcomes), f"{len(held_out):,} pairs of {pairs}")
    display.say(f"report: {out}/report.html")


def subjects_of(config: "Config", checkpoints: Sequence[str], overrides: list[str]) -> "list[Subject]":
    """The models, each under a name: what it works on, where that tells them apart."""
    from unlatent.platform.edit_study.attempts import Subject
    from unlatent.platform.image_commands import chosen_model

    if not checkpoints:
        raise ValueError("no checkpoint is named; a run's id would do, `unlatent results runs` lists them")
    models = [chosen_model(config, checkpoint, overrides) for checkpoint in checkpoints]
    names = ["pixels" if model.autoencoder is None else "latents" for model in models]
    if len(set(names)) < len(names):
        names = [model.checkpoint.removeprefix("checkpoints/") for model in models]
    return [Subject(name, model) for name, model in zip(names, models, strict=True)]
