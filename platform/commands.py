"""The command line: one stage each. What reads the config takes overrides of it, as `train.batch_size=64`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unlatent.platform import display

Overrides = Annotated[list[str] | None, typer.Argument(help="Config overrides, such as train.batch_size=64")]


def is_set(part: str, overrides: Overrides) -> bool:
    """Whether overrides set any of a part of the config."""
    return any(text.split("=")[0].split(".")[0] == part for text in overrides or [])


class StoppedError(Exception):
    """Ctrl-C, or SIGTERM, ended a command."""


class Commands(typer.core.TyperGroup):
    """Commands that Ctrl-C stops in our words, and not in those of the library below."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise StoppedError from None


app = typer.Typer(
    name="unlatent",
    cls=Commands,
    help="Diffusion transformers on raw pixels: train, sweep, measure, deploy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.command(epilog="unlatent train data=imagefolder data.root=pictures train.total_images=200000")
def train(overrides: Overrides = None) -> None:
    """Train a network; the same command goes on with a run that was cut off."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.ray_training import train_on_ray
    from unlatent.platform.runs import last_checkpoint
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    run_id = train_on_ray(config)
    display.say(f"checkpoint: {last_checkpoint(Store(config.store), run_id).path}")
    display.say(f"next: unlatent evaluate {run_id}")


@app.command(epilog="unlatent sweep digits sweep.samples=4 sweep.search=random")
def sweep(
    definition: Annotated[str, typer.Argument(help="A definition in sweeps/, or a .yaml file")],
    overrides: Overrides = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before")] = False,
) -> None:
    """Run a sweep; the same command goes on with one that was cut off, and repeats no trial that is done."""
    from unlatent.platform.tuning.running import run_sweep
    from unlatent.platform.tuning.space import described

    best = run_sweep(definition, overrides or [], retry_failed)
    display.say(f"best: {best.run_id}, {described(best.knobs)}")


@app.command(epilog="unlatent evaluate train-1a2b3c4d5e evaluation.samples=2000")
def evaluate(
    run: Annotated[
        str, typer.Argument(help="A run's id, for its last checkpoint, or a checkpoint's path in the store")
    ],
    overrides: Overrides = None,
) -> None:
    """Measure a checkpoint: FID, KID and more, into the table `evaluations`.

    Sampler and evaluation are those of the run's own config, unless overrides set any of them.
    """
    from unlatent.platform import checkpoints
    from unlatent.platform.config import compose_config, from_yaml
    from unlatent.platform.datasets import open_dataset
    from unlatent.platform.devices import local_device
    from unlatent.platform.evaluation import evaluate_checkpoint
    from unlatent.platform.generation import load_model
    from unlatent.platform.places import places_of
    from unlatent.platform.rollout import choose_checkpoint
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    store = Store(config.store)
    path = choose_checkpoint(store, run, config.serve.metric).path
    own = from_yaml(checkpoints.read(store, checkpoints.find(store, path), "config.yaml").decode())
    evaluation = config.evaluation if is_set("evaluation", overrides) else own.evaluation
    sampler = config.sampler if is_set("sampler", overrides) else own.sampler
    model = load_model(store, path, evaluation.weights, local_device(), places_of(config, overrides))
    rows = evaluate_checkpoint(store, model, open_dataset(own.data, store), evaluation, sampler)
    display.say(f"{model.checkpoint}: {rows[0]['samples']:,} images, features of {rows[0]['feature_extractor']}")
    display.show_table([{"metric": row["metric"], "value": f"{row['value']:.4f}"} for row in rows])


@app.command(epilog="unlatent average train-1a2b3c4d5e --width 0.07")
def average(
    run: Annotated[str, typer.Argument(help="A run's id, trained with train.ema_power_widths")],
    width: Annotated[float, typer.Option(help="sigma_rel of the power mean (EDM2), such as 0.07")],
    images: Annotated[
        int | None, typer.Option(help="At this many images seen; the last snapshot's unless given")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Put together an average of a run's weights that was not kept, from the snapshots of those that were."""
    from unlatent.platform.averages import save_average
    from unlatent.platform.config import compose_config
    from unlatent.platform.store import Store

    checkpoint, error = save_average(Store(compose_config(overrides or []).store), run, width, images)
    display.say(f"checkpoint: {checkpoint.path} (error of the fit: {error:.3f})")
    display.say(f"next: unlatent evaluate {checkpoint.path}")


@app.command("import", epilog="unlatent import pixeldit-xl.ckpt --config xl --out store/checkpoints/pixeldit-xl/256")
def import_(
    file: Annotated[Path, typer.Argument(help="A torch file or safetensors, as published")],
    config: Annotated[
        str, typer.Option(help="JSON of the published constructor's arguments, or a preset: b, l, xl, text")
    ],
    out: Annotated[str, typer.Option(help="The checkpoint's folder, or an object store's address; new or empty")],
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels on a side; 256 for classes, 512 for texts")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Names of the classes, one a line; their numbers unless given")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Folder or hub id of a text network's encoder; google/gemma-2-2b-it unless given")
    ] = None,
    instruction: Annotated[
        Path | None, typer.Option(help="A file with what the encoder reads before each prompt (chi_prompt)")
    ] = None,
) -> None:
    """Turn published PixelDiT weights into a checkpoint of ours."""
    from unlatent.platform.importing import PublishedWords, import_checkpoint

    words = PublishedWords(encoder, instruction)
    checkpoint, said = import_checkpoint(file, config, out, image_size, classes, words)
    for line in said:
        display.say(line)
    display.say(f"checkpoint: {out}, {checkpoint.hash}")
