"""Pictures of any size, mode and format as square RGB pixels."""

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# What Pillow raises for a file that is broken or is no picture.
BROKEN = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
LONGEST_STRIP = 32  # sides in proportion; beyond it, filling a square would need absurd amounts of memory
SIXTEEN_BITS = 65535


def decode(file: Path | IO[bytes], image_size: int) -> NDArray[np.uint8]:  # (3, S, S)
    """The upright centre square of a picture. Raises one of `BROKEN` where there is none to be had."""
    return to_pixels(centre_square(open_upright(file), image_size))


def decode_all(
    decode_one: Callable[[int], NDArray[np.uint8]], indices: NDArray[np.int64], threads: int | None
) -> NDArray[np.uint8]:  # (N, 3, S, S)
    """Images decoded one by one: in this thread, by so many, or, with None, by as many as the machine is good for."""
    if threads == 1:
        return np.stack([decode_one(index) for index in indices])
    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(decode_one, indices)))


def open_upright(file: Path | IO[bytes]) -> Image.Image:
    """A picture as RGB, turned as its EXIF data say; the first frame where it moves, over white where it is clear."""
    with Image.open(file) as picture:
        picture.load()
        return to_rgb(ImageOps.exif_transpose(picture))


def to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("pixels are floating-point numbers, which do not say what is white")
    if picture.mode.startswith("I"):
        picture = to_eight_bits(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def to_eight_bits(picture: Image.Image) -> Image.Image:
    """Scales 16-bit grey; Pillow's own conversion would clip it at 255."""
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > SIXTEEN_BITS:
        raise ValueError(f"grey values from {values.min()} to {values.max()} do not fit 16 bits")
    return Image.fromarray(np.rint(values * (255 / SIXTEEN_BITS)).astype(np.uint8))


def centre_square(picture: Image.Image, image_size: int) -> Image.Image:
    """ADM's centre crop (Dhariwal & Nichol 2021, arXiv:2105.05233), which published ImageNet numbers rest on.

    Halved by averaging while twice too big, then scaled by its short side (bicubic), then cropped.
    """
    width, height = picture.size
    if max(width, height) > LONGEST_STRIP * min(width, height):
        raise ValueError(f"{width}x{height} pixels are a strip; the long side may be {LONGEST_STRIP} short ones")
    while min(picture.size) >= 2 * image_size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = image_size / min(picture.size)
    scaled = (round(picture.width * scale), round(picture.height * scale))
    picture = picture.resize(scaled, Image.Resampling.BICUBIC)
    left, top = (picture.width - image_size) // 2, (picture.height - image_size) // 2
    return picture.crop((left, top, left + image_size, top + image_size))


def to_pixels(picture: Image.Image) -> NDArray[np.uint8]:  # (3, H, W)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))
