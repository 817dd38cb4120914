"""`unlatent data`: images as training wants them, what is wrong with them, and some that are drawn."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlatent.platform import display
from unlatent.platform.commands import Overrides

if TYPE_CHECKING:
    from unlatent.platform.datasets import Dataset
    from unlatent.platform.store import Store

data = typer.Typer(no_args_is_help=True, help="Turn images into shards; look at what a data set holds; draw scenes.")

Kind = Annotated[str | None, typer.Option(help="imagefolder, parquet or webdataset; seen from the files unless given")]

Ratio = Annotated[float, typer.Option(help="Crop to buckets of up to this proportion; 1 for squares")]


@data.command(epilog="unlatent data prepare pictures shards --image-size 256")
def prepare(
    source: Annotated[str, typer.Argument(help="A folder of pictures or shards, or an object store's address")],
    out: Annotated[str, typer.Argument(help="The shards' folder, or an object store's address; new or empty")],
    overrides: Overrides = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help="Crop to squares of so many pixels, as PNG; the files as they are unless given"),
    ] = None,
    shard_images: Annotated[int, typer.Option(min=1, help="Images in a shard")] = 2048,
    seed: Annotated[int, typer.Option(min=0, help="Of the order in which images are written")] = 0,
    max_aspect_ratio: Ratio = 1.0,
    kind: Kind = None,
) -> None:
    """Write images as Parquet shards, in random order; the same command goes on where it was cut off."""
    from unlatent.platform import preparing
    from unlatent.platform.store import Store

    if max_aspect_ratio > 1 and not image_size:
        raise ValueError(f"--max-aspect-ratio {max_aspect_ratio} crops images, and needs --image-size; 256 would do")
    dataset, _ = open_source(source, kind, image_size or 1, overrides or [], max_aspect_ratio=max_aspect_ratio)
    target = Store(out)
    if f"{target.root}/".startswith(f"{Store(source).root}/"):
        raise ValueError(f"{out} lies in {source}, whose images it would hold; a folder elsewhere would do")
    planned = preparing.Preparation(
        source=source,
        source_hash=dataset.hash,
        images=len(dataset.train),
        classes=dataset.classes,
        image_size=image_size,
        max_aspect_ratio=max_aspect_ratio,
        seed=seed,
        shard_images=shard_images,
    )
    with display.counting("images") as on_images:
        preparing.prepare(dataset, planned, target, on_images)
    for line in dataset.skipped:
        display.say(f"left out: {line}")
    display.say(
        f"{planned.images:,} images of {len(planned.classes)} classes in {len(planned.shards)} shards: {target.root}"
    )
    sizes = f"data.image_size={image_size or 256}"
    sizes += f" data.max_aspect_ratio={max_aspect_ratio:g}" if max_aspect_ratio > 1 else ""
    display.say(f"next: unlatent train data=parquet data.root={out} {sizes}")


@data.command(epilog="unlatent data scenes scenes --images 20000 --pairs 200 --image-size 64")
def scenes(
    out: Annotated[str, typer.Argument(help="The scenes' folder, or an object store's address; new or empty")],
    images: Annotated[int, typer.Option(help="Images to train on; 30 or more, so that each class has one")] = 20_000,
    pairs: Annotated[int, typer.Option(min=0, help="Held-out scenes, each with the same scene edited")] = 200,
    image_size: Annotated[int, typer.Option(help="Pixels on a side: a multiple of 16 from 64 to 512")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that draw; one a CPU unless given")] = None,
) -> None:
    """Draw captioned scenes, and edits of some with the right answer; the same command goes on where it was cut off."""
    from unlatent.platform.scenes import CLASSES, ScenePlan, write_scenes
    from unlatent.platform.store import Store

    if "=" in out:
        raise ValueError(f"{out} looks like an override, and scenes take options alone; --images 100 would be one")
    planned = ScenePlan(images=images, pairs=pairs, image_size=image_size, seed=seed)
    target = Store(out)
    with display.counting("scenes") as on_scenes:
        write_scenes(planned, target, workers or len(os.sched_getaffinity(0)), on_scenes)
    display.say(f"{images:,} images of {len(CLASSES)} classes: {target.uri('images')}")
    display.say(f"{pairs:,} held-out pairs: {target.uri('pairs')}")
    root = f"data.root={target.uri('images')} data.image_size={image_size}"
    display.say(f"next: unlatent train model=text_tiny data=parquet {root}")


@data.command(epilog="unlatent data embed shards embedded model.text.encoder=/models/gemma-2-2b-it")
def embed(
    source: Annotated[str, typer.Argument(help="A folder of Parquet shards with captions, or an address")],
    out: Annotated[str, typer.Argument(help="The folder for the same shards with embedded captions; new or empty")],
    overrides: Overrides = None,
) -> None:
    """Read captions once with the encoder of model.text, and keep what it reads beside the images.

    Training then needs no encoder. The same command goes on where it was cut off.
    """
    from unlatent.platform import embedded_captions
    from unlatent.platform.config import compose_config
    from unlatent.platform.devices import local_device
    from unlatent.platform.store import Store

    overrides = overrides or []
    network = [] if any(each.startswith("model=") for each in overrides) else ["model=text"]
    text = compose_config(overrides).model.text
    target = Store(out)
    with display.counting("captions") as on_captions:
        count = embedded_captions.embed(Store(source), target, text, local_device(), on_captions)
    display.say(f"{count:,} captions as {text.encoder} reads them: {target.root}")
    settings = " ".join([*network, *overrides, "data=parquet", f"data.root={out}", "data.image_size=256"])
    display.say(f"next: unlatent train {settings}")


@data.command(epilog="unlatent data check pictures --image-size 256 --grid sample.png")
def check(
    root: Annotated[str, typer.Argument(help="A folder of pictures or shards, or an object store's address")],
    overrides: Overrides = None,
    image_size: Annotated[int, typer.Option(min=1, help="Pixels on a side that training is to crop to")] = 256,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Look at so many images, evenly; at all unless given")
    ] = None,
    grid: Annotated[Path | None, typer.Option(help="Write a PNG of images at random there")] = None,
    max_aspect_ratio: Ratio = 1.0,
    kind: Kind = None,
) -> None:
    """Count, look at and name what is broken. Exit status 1 where something is."""
    from unlatent.platform import checking

    if grid and not grid.parent.is_dir():
        raise ValueError(f"--grid {grid}: {grid.parent} is no folder")
    asked = (root, kind, image_size, overrides or [], "skip", max_aspect_ratio)
    dataset, store = open_source(*asked)
    if sample is None and checking.forget_broken(store, dataset):
        dataset, _ = open_source(*asked)
    with display.counting("images") as on_images:
        findings = checking.check(dataset, sample, on_images)
    if sample is None:
        checking.keep_broken(store, dataset, findings)
    display.show_table(checking.class_rows(findings), f"{len(dataset.train):,} images of {dataset.name}")
    for line in checking.summary(findings, image_size):
        display.say(line)
    if dataset.train.buckets:
        display.say(checking.bucket_line(dataset.train.buckets))
    broken = [*dataset.skipped, *findings.broken.values()]
    for line in broken:
        display.say(f"broken: {line}")
    if grid:
        shown = checking.sample_grid(dataset, findings)
        if shown:
            grid.write_bytes(shown)
        display.say(f"images at random: {grid}" if shown else "images at random: none can be read")
    if broken:
        raise RuntimeError(f"{len(broken)} images cannot be read; data.broken=skip leaves them out of training")


def open_source(
    root: str,
    kind: str | None,
    image_size: int,
    overrides: list[str],
    broken: str | None = None,
    max_aspect_ratio: float = 1.0,
) -> "tuple[Dataset, Store]":
    """All images of a folder, none held out; and the store that keeps what is known of them."""
    from unlatent.platform.config import compose_config
    from unlatent.platform.datasets import open_dataset
    from unlatent.platform.store import Store

    config = compose_config(overrides)
    asked = replace(
        config.data,
        kind=kind or kind_of(root),
        root=root,
        image_size=image_size,
        held_out=0.0,
        broken=broken or config.data.broken,
        max_aspect_ratio=max_aspect_ratio,
    )
    store = Store(config.store)
    return open_dataset(asked, store), store


def kind_of(root: str) -> str:
    """By the first shard there is; without one, a folder of pictures."""
    from unlatent.platform.shards import FORMATS
    from unlatent.platform.store import Store

    names = Store(root).list("")
    return next(
        (kind for kind, made in FORMATS.items() if any(name.endswith(made.SUFFIX) for name in names)), "imagefolder"
    )
