"""`unlatent generate` and `edit`: images from the engine that the endpoint runs, in this process."""

import re
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

ON_LATENTS = "; of a model on latents, all of it goes through the autoencoder, which changes every pixel a little"
OfCheckpoint = Annotated[str | None, typer.Option(help="Path in the store, or a run's id; the best unless given")]


@commands.command(epilog="unlatent generate --class 3 --class 7 --seed 5 --out pictures sampler.steps=50")
def generate(
    overrides: Overrides = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option("--class", "--prompt", help="A class, by name or index, or a text; every class unless given"),
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What guidance is to lead away from")] = None,
    count: Annotated[int, typer.Option(min=1, help="Images of each")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first image; each next one has the next")] = 0,
    size: Annotated[str | None, typer.Option(help="Width and height, as 1280x768; a square unless given")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the PNG files")] = Path("images"),
    checkpoint: OfCheckpoint = None,
) -> None:
    """Make images from a checkpoint, without a server.

    The sampler is that of the checkpoint's own config, as the endpoint has it, unless overrides set any of it.
    """
    from unlatent.platform.config import compose_config
    from unlatent.platform.generation import to_image
    from unlatent.platform.image_sizes import remark
    from unlatent.platform.orders import Generation, carry_out
    from unlatent.platform.prompts import require_guided

    config = compose_config(overrides or [])
    model = chosen_model(config, checkpoint, overrides)
    if model.encoder and not prompts:
        raise ValueError(f"{model.checkpoint} makes images of texts; --prompt 'a text' would do")
    asked = [model.prompts.read(name) for name in prompts or model.classes for _ in range(count)]
    sides = model.sides if size is None else model.read_size(size)
    if said := remark(sides, model.trained_sides):
        display.say(f"{model.checkpoint}: {said}")
    avoided = None if negative_prompt is None else model.prompts.read(negative_prompt)
    sampler = sampler_for(model, config, overrides)
    require_guided(avoided, sampler)
    orders = [
        Generation(prompt=prompt, avoided=avoided, seeds=[number], settings=sampler, sides=sides)
        for number, prompt in enumerate(asked, seed)
    ]
    out.mkdir(parents=True, exist_ok=True)
    for order, pixels in zip(orders, carry_out(model, orders, config.serve.max_rows), strict=True):
        to_image(pixels).save(out / f"{file_name(model.prompts.name(order.prompt))}-{order.seeds[0]}.png")
    display.say(f"{len(orders)} images of {model.checkpoint} in {out}/")


@commands.command(epilog="unlatent edit three.png --to 8 --from 3 --out eight.png edit.n_max=30")
def edit(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP of a size that the model makes")],
    to: Annotated[str, typer.Option(help="What the image is to show: a class, by name or index, or a text")],
    overrides: Overrides = None,
    source: Annotated[str | None, typer.Option("--from", help="What it shows now, where that is known")] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help=f"A PNG; only where it is transparent may the image change{ON_LATENTS}"),
    ] = None,
    keep_background: Annotated[
        bool,
        typer.Option("--keep-background", help=f"Find where the image changed; keep the rest as it was{ON_LATENTS}"),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise that the edit uses")] = 0,
    out: Annotated[Path, typer.Option(help="The PNG file to write")] = Path("edited.png"),
    checkpoint: OfCheckpoint = None,
) -> None:
    """Turn an image into one of another class, or of another text, without a server (FlowEdit)."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.generation import to_image
    from unlatent.platform.orders import Edit, carry_out
    from unlatent.platform.pictures import read_mask, read_picture

    config = compose_config(overrides or [])
    model = chosen_model(config, checkpoint, overrides)
    pixels, holes = read_picture(image.read_bytes(), str(image), model.sizes, model.colours)
    height, width = pixels.shape[1:]
    order = Edit(
        image=pixels,
        source=None if source is None else model.prompts.read(source),
        target=model.prompts.read(to),
        seeds=[seed],
        config=config.edit,
        sampler=sampler_for(model, config, overrides),
        mask=holes if mask is None else read_mask(mask.read_bytes(), str(mask), (height, width)),
        keep_background=keep_background,
    )
    [edited] = carry_out(model, [order], config.serve.max_rows)
    to_image(edited).save(out)
    display.say(f"{image} as {model.prompts.name(order.target)}, by {model.checkpoint}: {out}")


def file_name(prompt: str) -> str:
    """What of a prompt a file can be called."""
    return re.sub(r"[^\w .-]", "_", prompt)[:100]


def sampler_for(model: "LoadedModel", config: "Config", overrides: Overrides) -> "SamplerConfig":
    return config.sampler if is_set("sampler", overrides) else model.sampler


def chosen_model(config: "Config", checkpoint: str | None, overrides: Overrides) -> "LoadedModel":
    """With its encoder, or autoencoder, from where overrides say that it lies."""
    from unlatent.platform.devices import local_device
    from unlatent.platform.generation import load_model
    from unlatent.platform.places import places_of
    from unlatent.platform.rollout import choose_checkpoint
    from unlatent.platform.store import Store

    store = Store(config.store)
    path = choose_checkpoint(store, checkpoint or config.serve.checkpoint, config.serve.metric).path
    return load_model(store, path, config.evaluation.weights, local_device(), places_of(config, overrides))
