"""`unlatent generate` and `edit`: images from the engine that the endpoint runs, in this process."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlatent.platform import display
from unlatent.platform.commands import Overrides, is_set

if TYPE_CHECKING:
    from unlatent.models.samplers import SamplerConfig
    from unlatent.platform.config import Config
    from unlatent.platform.generation import LoadedModel

commands = typer.Typer()

OfCheckpoint = Annotated[str | None, typer.Option(help="Path in the store, or a run's id; the best unless given")]


@commands.command(epilog="unlatent generate --class 3 --class 7 --seed 5 --out pictures sampler.steps=50")
def generate(
    overrides: Overrides = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Name or index; every class unless given")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Images of each class")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first image; each next one has the next")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the PNG files")] = Path("images"),
    checkpoint: OfCheckpoint = None,
) -> None:
    """Make images from a checkpoint, without a server.

    The sampler is that of the checkpoint's own config, as the endpoint has it, unless overrides set any of it.
    """
    from unlatent.platform.config import compose_config
    from unlatent.platform.generation import class_index, to_image
    from unlatent.platform.orders import Generation, carry_out

    config = compose_config(overrides or [])
    model = chosen_model(config, checkpoint)
    labels = [class_index(model.classes, name) for name in classes or model.classes for _ in range(count)]
    sampler = sampler_for(model, config, overrides)
    orders = [Generation(label=label, seeds=[number], settings=sampler) for number, label in enumerate(labels, seed)]
    out.mkdir(parents=True, exist_ok=True)
    for order, pixels in zip(orders, carry_out(model, orders, config.serve.max_rows), strict=True):
        to_image(pixels).save(out / f"{model.classes[order.label]}-{order.seeds[0]}.png".replace("/", "_"))
    display.say(f"{len(orders)} images of {model.checkpoint} in {out}/")


@commands.command(epilog="unlatent edit three.png --to 8 --from 3 --out eight.png edit.n_max=30")
def edit(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP of the model's size")],
    to: Annotated[str, typer.Option(help="The class that the image is to be of: its name or index")],
    overrides: Overrides = None,
    source: Annotated[str | None, typer.Option("--from", help="The class that it is of, where that is known")] = None,
    mask: Annotated[Path | None, typer.Option(help="A PNG; only where it is transparent may the image change")] = None,
    keep_background: Annotated[
        bool, typer.Option("--keep-background", help="Find out where the image changed, and keep the rest as it was")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise that the edit uses")] = 0,
    out: Annotated[Path, typer.Option(help="The PNG file to write")] = Path("edited.png"),
    checkpoint: OfCheckpoint = None,
) -> None:
    """Turn an image into one of another class, without a server (FlowEdit)."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.generation import class_index, to_image
    from unlatent.platform.orders import Edit, carry_out
    from unlatent.platform.pictures import read_mask, read_picture

    config = compose_config(overrides or [])
    model = chosen_model(config, checkpoint)
    network = model.network.config
    pixels, holes = read_picture(image.read_bytes(), str(image), network.image_size, network.channels)
    order = Edit(
        image=pixels,
        source=None if source is None else class_index(model.classes, source),
        target=class_index(model.classes, to),
        seeds=[seed],
        config=config.edit,
        sampler=sampler_for(model, config, overrides),
        mask=holes if mask is None else read_mask(mask.read_bytes(), str(mask), network.image_size),
        keep_background=keep_background,
    )
    [edited] = carry_out(model, [order], config.serve.max_rows)
    to_image(edited).save(out)
    display.say(f"{image} as {model.classes[order.target]}, by {model.checkpoint}: {out}")


def sampler_for(model: "LoadedModel", config: "Config", overrides: Overrides) -> "SamplerConfig":
    return config.sampler if is_set("sampler", overrides) else model.sampler


def chosen_model(config: "Config", checkpoint: str | None) -> "LoadedModel":
    from unlatent.platform.devices import local_device
    from unlatent.platform.generation import load_model
    from unlatent.platform.rollout import choose_checkpoint
    from unlatent.platform.store import Store

    store = Store(config.store)
    path = choose_checkpoint(store, checkpoint or config.serve.checkpoint, config.serve.metric).path
    return load_model(store, path, config.evaluation.weights, local_device())
