"""`unlatent vae-tax`: what an autoencoder loses of one's own images, before anything is generated."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlatent.platform import display
from unlatent.platform.commands import Overrides

if TYPE_CHECKING:
    from unlatent.platform.features import Extractor

commands = typer.Typer()


@commands.command(
    "vae-tax",
    epilog="unlatent vae-tax --images photos --vae stabilityai/sdxl-vae --image-size 256 --limit 500 --out vae-tax",
)
def vae_tax(
    images: Annotated[str, typer.Option(help="A folder of images, or an object store's address")],
    vae: Annotated[
        str, typer.Option(help="A folder with a diffusers AutoencoderKL (safetensors), or a name in the hub's cache")
    ],
    image_size: Annotated[int, typer.Option(help="Pixels on a side that images are scaled down and cropped to")] = 256,
    limit: Annotated[int | None, typer.Option(min=1, help="So many images at random; all unless given")] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html, results.json and PNG files")] = Path("vae-tax"),
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of images and of the text drawn on them")] = 0,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch what is missing: the autoencoder, Inception's weights for rFID")
    ] = False,
    inception_file: Annotated[
        str | None, typer.Option(help="Inception's weights for rFID; those in the cache folder unless given")
    ] = None,
) -> None:
    """Measure what encode → decode alone of an autoencoder loses: PSNR, SSIM, rFID, text by its size, detail.

    The path through pixels has no such step, and stands beside every number.
    """
    from unlatent.platform.autoencoders import open_autoencoder
    from unlatent.platform.devices import local_device
    from unlatent.platform.store import Store
    from unlatent.platform.vae_tax import Subject, find_images, left_out, measure, write_report

    Store(out).require_folder("--out")
    autoencoder = open_autoencoder(vae, local_device(), download)
    autoencoder.require_size(image_size)
    extractor, inception_missing = find_inception(inception_file, download)
    with display.counting("images") as on_images:
        chosen = find_images(Store(images), image_size, limit, seed, on_images)
    if without := left_out(chosen):
        display.say(f"left out: {without}")
    if inception_missing:
        display.say(f"rFID is left out: {inception_missing}")
    with display.counting("images") as on_images:
        measured = measure(chosen, autoencoder.reconstruct, extractor, autoencoder.device, on_images)
    subject = Subject(images=chosen, autoencoder=autoencoder, measured=measured, inception_missing=inception_missing)
    display.show_table(write_report(Store(out), subject), f"{len(chosen):,} images at {image_size}x{image_size}")
    display.say(f"report: {out}/report.html")


@commands.command(
    epilog="unlatent train-autoencoder data=photographs data.image_size=64 autoencoder.width=16 "
    "autoencoder.total_images=32000"
)
def train_autoencoder(overrides: Overrides = None) -> None:
    """Train a small autoencoder on a data set; the same command goes on where it was cut off.

    What it prints last is its address, for --vae of `vae-tax` and for model.autoencoder.
    """
    from unlatent.platform import autoencoder_training
    from unlatent.platform.config import compose_config
    from unlatent.platform.datasets import open_dataset
    from unlatent.platform.devices import local_device
    from unlatent.platform.store import Store

    config = compose_config(overrides or [])
    store = Store(config.store)
    dataset = open_dataset(config.data, store)
    with display.counting("images") as on_images:
        path = autoencoder_training.train_autoencoder(config.autoencoder, dataset, store, local_device(), on_images)
    address = store.uri(path)
    display.say(f"autoencoder of {dataset.name}: {address}")
    display.say(f"next: unlatent vae-tax --images DIR --vae {address}")


def find_inception(file: str | None, download: bool) -> "tuple[Extractor | None, str]":
    """Inception, or why there is none and what would do.

    Raises ValueError for a file that cannot be read or is not the right one.
    """
    from unlatent.platform import inception

    words = inception.Words(needed_by="Inception", file="--inception-file", download="--download")
    try:
        return inception.open_inception(file, download, words), ""
    except inception.NotAtHandError as error:
        return None, str(error)
