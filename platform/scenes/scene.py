"""What a scene shows: an object in front of a texture, with a sign. It follows from seed, split, index and size."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from unlatent.platform.scenes.shapes import COLOURS, SHAPES
from unlatent.platform.scenes.signs import Sign, random_sign
from unlatent.platform.scenes.textures import TEXTURES

SPLITS = ("images", "pairs")  # to train on, and held out
SMALLEST_IMAGE, LARGEST_IMAGE, IMAGE_STEP = 64, 512, 16  # pixels on a side
SIZES = {"small": (0.11, 0.135), "medium": (0.17, 0.2), "large": (0.24, 0.275)}  # radius, of the image's side
PLACES = ("left", "middle", "right")
CLASSES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
CHANGES = ("colour", "shape")
STEEPEST_DEGREES = 12  # that an object may be turned
UNEVENNESS = 12  # of 255: what a colour may be off its name's


@dataclass(frozen=True, kw_only=True)
class Scene:
    image_size: int
    shape: str
    colour: str
    place: str
    size: str
    texture: str
    held_out: bool  # of the texture's photograph and the sign's text
    texture_seed: int
    centre: tuple[float, float]  # x and y, in pixels
    radius: float  # pixels, of a circle that holds the object
    turn_degrees: float
    tint: tuple[int, int, int]  # added to the colour
    sign: Sign

    @property
    def caption(self) -> str:
        where = "in the middle" if self.place == "middle" else f"on the {self.place}"
        thing = f"a {self.size} {self.colour} {self.shape} {where}"
        return f"{thing} in front of {self.texture} with a sign {self.sign.line.text} at the {self.sign.place}"

    @property
    def label(self) -> int:
        """Of `CLASSES`."""
        return CLASSES.index(f"{self.colour} {self.shape}")


def require_image_size(image_size: int) -> None:
    """Raises ValueError for a size that scenes are not drawn in."""
    if image_size % IMAGE_STEP or not SMALLEST_IMAGE <= image_size <= LARGEST_IMAGE:
        raise ValueError(
            f"image_size={image_size} is not a multiple of {IMAGE_STEP} from {SMALLEST_IMAGE} to {LARGEST_IMAGE}; "
            f"{SMALLEST_IMAGE} would do"
        )


def scene_at(seed: int, split: str, index: int, image_size: int) -> Scene:
    """One of a split's endless row, in which classes take turns.

    Raises ValueError for a size that scenes are not drawn in.
    """
    require_image_size(image_size)
    generator = np.random.default_rng([SPLITS.index(split), seed, index])
    return random_scene(generator, split, index % len(CLASSES), image_size)


def pair_at(seed: int, index: int, image_size: int) -> tuple[Scene, Scene, str]:
    """A held-out scene, the same with one attribute of its object changed, and which one: one of `CHANGES`.

    Raises ValueError for a size that scenes are not drawn in.
    """
    source = scene_at(seed, "pairs", index, image_size)
    generator = np.random.default_rng([len(SPLITS), seed, index])
    changed = pick(generator, CHANGES)
    if changed == "colour":
        return source, replace(source, colour=pick_other(generator, COLOURS, source.colour)), changed
    return source, replace(source, shape=pick_other(generator, SHAPES, source.shape)), changed


def random_scene(generator: Generator, split: str, label: int, image_size: int) -> Scene:
    held_out = split == "pairs"
    colour, shape = CLASSES[label].split()
    sign = random_sign(generator, image_size, held_out)
    size, place = pick(generator, SIZES), pick(generator, PLACES)
    radius = image_size * generator.uniform(*SIZES[size])
    return Scene(
        image_size=image_size,
        shape=shape,
        colour=colour,
        place=place,
        size=size,
        texture=pick(generator, TEXTURES),
        held_out=held_out,
        texture_seed=int(generator.integers(1 << 32)),
        centre=(across(generator, place, radius, image_size), beside(generator, sign, radius, image_size)),
        radius=radius,
        turn_degrees=generator.uniform(-STEEPEST_DEGREES, STEEPEST_DEGREES),
        tint=tuple(generator.integers(-UNEVENNESS, UNEVENNESS, 3, endpoint=True).tolist()),
        sign=sign,
    )


def across(generator: Generator, place: str, radius: float, image_size: int) -> float:
    """The centre's x of an object at a place, in pixels."""
    if place == "middle":
        return image_size * generator.uniform(0.47, 0.53)
    from_edge = generator.uniform(radius + image_size / 32, 0.325 * image_size)
    return from_edge if place == "left" else image_size - from_edge


def beside(generator: Generator, sign: Sign, radius: float, image_size: int) -> float:
    """The centre's y of an object that keeps clear of the sign and of the edge, in pixels."""
    margin = image_size / 32
    _, top, _, bottom = sign.plate
    first, last = (bottom, image_size) if sign.place == "top" else (0, top)
    highest, lowest = first + margin + radius, last - margin - radius
    assert highest <= lowest, "sizes of signs and objects leave room for one another"
    return generator.uniform(highest, lowest)


def pick(generator: Generator, choices: Iterable[str]) -> str:
    choices = list(choices)
    return choices[generator.integers(len(choices))]


def pick_other(generator: Generator, choices: Iterable[str], than: str) -> str:
    return pick(generator, (choice for choice in choices if choice != than))
