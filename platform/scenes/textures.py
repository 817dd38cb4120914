"""What is behind the objects of scenes: parts of photographs that come with scikit-image, and drawn patterns.

Photographs are parted: training has what is left of a column, held-out scenes what is right of it. All arithmetic on
pixels is exact or in whole numbers, so that every machine draws the same bytes.
"""

import functools
import importlib.util
import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from unlatent.platform.lettering import Colour
from unlatent.platform.photographs import CLASSES, photographs

TRAINING_SHARE = 0.5  # of a photograph's columns
PHOTOGRAPHED: dict[str, tuple[str, tuple[Colour, Colour] | None]] = {  # photograph; grey ones are tinted, dark to light
    "brick": ("brick", ((44, 14, 10), (240, 172, 140))),
    "grass": ("grass", ((16, 30, 10), (206, 226, 142))),
    "gravel": ("gravel", ((28, 26, 30), (222, 216, 206))),
    "space": ("galaxies", None),
}
PALETTES: list[tuple[Colour, Colour]] = [
    ((238, 228, 208), (204, 186, 156)),
    ((214, 226, 236), (150, 174, 196)),
    ((88, 96, 110), (58, 64, 78)),
    ((214, 232, 220), (146, 186, 168)),
    ((236, 216, 218), (200, 160, 168)),
    ((124, 106, 92), (88, 72, 62)),
]
DIRECTIONS = [(1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, -2)]
Pattern = NDArray[np.float64]  # (H, W), 0 … 1: the share of a palette's second colour


def require_photographs() -> None:
    """Raises ValueError where scikit-image is not installed."""
    if importlib.util.find_spec("skimage") is None:
        raise ValueError(
            "scenes need the package scikit-image, for its photographs; pip install 'unlatent[photographs]' would do"
        )


def texture(name: str, image_size: int, held_out: bool, seed: int) -> NDArray[np.uint8]:  # (H, W, 3)
    """One of `TEXTURES`, cut or drawn anew for each seed; of photographs, the held-out part or the other."""
    generator = np.random.default_rng(seed)
    if name in PHOTOGRAPHED:
        return cut(part_of(photographed(name), held_out), image_size, generator)
    first, second = np.array(PALETTES[generator.integers(len(PALETTES))])
    share = np.rint(DRAWN[name](image_size, generator) * 255).astype(np.int64)[..., None]
    return ((first * (255 - share) + second * share + 127) // 255).astype(np.uint8)


def cut(part: NDArray[np.uint8], image_size: int, generator: Generator) -> NDArray[np.uint8]:
    """A square of a photograph, scaled."""
    side = round(128 * math.sqrt(image_size / 64) * generator.uniform(0.8, 1.2))  # pixels of the photograph
    side = min(side, *part.shape[:2])
    top, left = (int(generator.integers(length - side, endpoint=True)) for length in part.shape[:2])
    square = Image.fromarray(part[top : top + side, left : left + side])
    return np.asarray(square.resize((image_size, image_size), Image.Resampling.LANCZOS))


def part_of(photograph: NDArray[np.uint8], held_out: bool) -> NDArray[np.uint8]:
    """The columns that a split may show."""
    border = round(TRAINING_SHARE * photograph.shape[1])
    return photograph[:, border:] if held_out else photograph[:, :border]


@functools.cache
def photographed(name: str) -> NDArray[np.uint8]:  # (h, w, 3)
    """A whole photograph, in colour."""
    title, tints = PHOTOGRAPHED[name]
    picture = pictures()[title]
    if name == "brick":
        picture = np.rot90(picture)  # its courses run upwards
    if tints is None:
        return picture
    dark, light = np.array(tints)
    return (dark + (light - dark) * picture.astype(np.int64)[..., None] // 255).astype(np.uint8)


@functools.cache
def pictures() -> dict[str, NDArray[np.uint8]]:
    return dict(zip(CLASSES, photographs(), strict=True))


def stripes(image_size: int, generator: Generator) -> Pattern:
    across, _, period = waves(image_size, generator)
    return band(across, period)


def checks(image_size: int, generator: Generator) -> Pattern:
    across, along, period = waves(image_size, generator)
    one, other = band(across, period), band(along, period)
    return one + other - 2 * one * other


def dots(image_size: int, generator: Generator) -> Pattern:
    across, along, period = waves(image_size, generator)
    from_centre = np.sqrt((across - period / 2) ** 2 + (along - period / 2) ** 2)
    return soft(0.28 * period - from_centre)


def clouds(image_size: int, generator: Generator) -> Pattern:
    """Noise of four grains, the coarser the stronger."""
    whole = np.zeros((image_size, image_size))
    for grains, weight in ((3, 8), (6, 4), (12, 2), (24, 1)):
        coarse = Image.fromarray(generator.integers(0, 256, (grains, grains), dtype=np.uint8))
        whole += weight * np.asarray(coarse.resize((image_size, image_size), Image.Resampling.BICUBIC), np.float64)
    return whole / (15 * 255)


def waves(image_size: int, generator: Generator) -> tuple[Pattern, Pattern, float]:
    """Where each pixel lies within a period in two directions at right angles, and the period, all in pixels."""
    x, y = DIRECTIONS[generator.integers(len(DIRECTIONS))]
    period = image_size * generator.uniform(1 / 14, 1 / 6)
    rows, columns = np.mgrid[:image_size, :image_size] + generator.uniform(0, period)
    length = math.sqrt(x * x + y * y)
    return (x * columns + y * rows) / length % period, (x * rows - y * columns) / length % period, period


def band(within: Pattern, period: float) -> Pattern:
    return soft(period / 4 - np.abs(within - period / 2))


def soft(inside: Pattern) -> Pattern:
    """A share of colour from the distance to an edge in pixels, positive within."""
    return np.clip(inside + 0.5, 0, 1)


DRAWN: dict[str, Callable[[int, Generator], Pattern]] = {
    "stripes": stripes,
    "checks": checks,
    "dots": dots,
    "clouds": clouds,
}
TEXTURES = (*PHOTOGRAPHED, *DRAWN)
