"""Pictures of any size, mode and format as square RGB pixels."""

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

# What Pillow raises for a file that is broken or is no picture.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
LONGEST_STRIP = 32  # sides in proportion; beyond it, filling a square would need absurd amounts of memory
SIXTEEN_BITS = 65535
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # what undoes an EXIF orientation
LYING = (5, 6, 7, 8)  # those by which a picture's width is stored as its height


def decode(file: Path | IO[bytes], height: int, width: int) -> NDArray[np.uint8]:  # (3, height, width)
    """The upright centre of a picture. Raises one of `BROKEN` where there is none to be had."""
    return to_pixels(centre_crop(open_upright(file), height, width))


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
        return to_rgb(turned_upright(picture))


def turned_upright(picture: Image.Image) -> Image.Image:
    """As its camera was held. Pillow's own function also writes the other EXIF data anew, and fails on odd ones."""
    turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


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
    return centre_crop(picture, image_size, image_size)


def centre_crop(picture: Image.Image, height: int, width: int) -> Image.Image:
    """ADM's centre crop (Dhariwal & Nichol 2021, arXiv:2105.05233), which published ImageNet numbers rest on.

    Halved by averaging while twice too big, then scaled until both sides are filled (bicubic), then cropped. ADM's are
    squares; other sides are filled in the same way.
    """
    if max(picture.size) > LONGEST_STRIP * min(picture.size):
        sides = f"{picture.width}x{picture.height}"
        raise ValueError(f"{sides} pixels are a strip; the long side may be {LONGEST_STRIP} short ones")
    while picture.width >= 2 * width and picture.height >= 2 * height:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = max(width / picture.width, height / picture.height)
    scaled = (round(picture.width * scale), round(picture.height * scale))
    picture = picture.resize(scaled, Image.Resampling.BICUBIC)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def upright_sides(file: IO[bytes]) -> tuple[int, int]:  # height, width
    """Of a picture, from its header alone. Raises one of `BROKEN` where it has none."""
    with Image.open(file) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation) in LYING
        return picture.size if turned else (picture.height, picture.width)


def to_pixels(picture: Image.Image) -> NDArray[np.uint8]:  # (3, H, W)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))
