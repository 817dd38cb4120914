"""Of which sizes a checkpoint can be asked for images: any whole number of patches, of about the area that it knows."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unlatent.platform import buckets
from unlatent.platform.buckets import Sides, sides_of_buckets, step_of_buckets

MOST_AREA = 4.0  # times that of the images trained on; as much less, too


def read_size(text: str) -> Sides:  # height and width
    """`1280x768`: width, then height, as OpenAI's images API writes it."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise ValueError(f"size={text} is not a width and a height; 1280x768 would do")
    return int(found[2]), int(found[1])


def in_words(sides: Sides) -> str:
    return f"{sides[1]}x{sides[0]}"


def trained_sides(data: Mapping[str, Any]) -> list[Sides]:
    """Those of a checkpoint, by what its config says of its data: squares, or the sizes of buckets.

    None where it says nothing, as that of published weights.
    """
    if "max_aspect_ratio" not in data:
        return []
    size, ratio = data["image_size"], data["max_aspect_ratio"]
    return sides_of_buckets(size, step_of_buckets(size, data["bucket_step"]), ratio) if ratio > 1 else [(size, size)]


def remark(sides: Sides, trained: Sequence[Sides]) -> str | None:
    """What is to be said of a size that a checkpoint was not trained on."""
    if sides in trained or not trained:
        return None
    if len(trained) == 1:
        return f"{in_words(sides)} is another size than {in_words(trained[0])}, the one that it was trained on"
    near = in_words(nearest(sides, trained))
    return f"{in_words(sides)} is none of the {len(trained)} sizes that it was trained on; the nearest is {near}"


def nearest(sides: Sides, sizes: Sequence[Sides]) -> Sides:
    """The one of some sizes that is nearest in proportion, as an image takes the bucket that it is trained in."""
    return sizes[buckets.nearest(sizes, np.array([sides]))[0]]


def nearest_multiple(side: int, patch: int) -> int:
    return max(1, round(side / patch)) * patch


def require_drawable(sides: Sides, patch: int, image_size: int) -> None:
    """Raises ValueError for what is no whole number of patches, or far from the squares that a network is for."""
    asked = in_words(sides)
    if any(side % patch for side in sides):
        near = in_words((nearest_multiple(sides[0], patch), nearest_multiple(sides[1], patch)))
        raise ValueError(f"size={asked} is not a whole number of patches of {patch} pixels; {near} would be")
    times = sides[0] * sides[1] / image_size**2
    if not 1 / MOST_AREA <= times <= MOST_AREA:
        raise ValueError(
            f"size={asked} is {times:.3g} times the area of {image_size}x{image_size}, which it was "
            f"trained on; between {1 / MOST_AREA:g} and {MOST_AREA:g} would do"
        )
