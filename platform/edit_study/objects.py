"""What an edited image shows where the object is: which class drawn in its place looks most like it.

As legibility does, this knows the scene: texture, place, size, turn and tint of the object, and that it is of one of
the 30 classes. So it tells which class an edit came nearest to, and not whether a person would call it that, or whether
it is well drawn: a smear has a nearest class too, of 30 by chance one in 30. It looks nowhere but in the place of the
two objects, the source's and the target's; what is drawn beside it counts as background that was not kept.
"""

import functools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unlatent.platform.scenes import CLASSES, EditPair
from unlatent.platform.scenes.painting import Mask, Pixels, paint
from unlatent.platform.scenes.scene import Scene

REACH = 3  # pixels beyond an object's radius that are drawn


def object_place(pair: EditPair) -> Mask:  # (H, W)
    """Every pixel that either object touches."""
    return pair.source_object_mask | pair.target_object_mask


def nearest_class(image: Pixels, pair: EditPair) -> int:  # (3, H, W)
    """Of `CLASSES`, the one whose object in the scene's has the least squared error in the place of both."""
    rows, columns = surroundings(pair.scene)
    differences = candidates(pair.scene).astype(np.float64) - image[:, rows, columns]  # (classes, 3, h, w)
    errors = (differences**2 * object_place(pair)[rows, columns]).sum(axis=(1, 2, 3))
    return int(errors.argmin())


@functools.lru_cache(maxsize=256)
def candidates(scene: Scene) -> Pixels:  # (classes, 3, h, w)
    """The part of a scene around its object, with one of each class in its place."""
    rows, columns = surroundings(scene)
    drawn = []
    for name in CLASSES:
        colour, shape = name.split()
        drawn.append(paint(replace(scene, colour=colour, shape=shape)).image[:, rows, columns])
    return np.stack(drawn)


def surroundings(scene: Scene) -> tuple[slice, slice]:
    """Rows and columns that hold the object, of whatever class."""
    first = [max(0, int(middle - scene.radius) - REACH) for middle in scene.centre]
    last = [int(middle + scene.radius) + REACH + 1 for middle in scene.centre]
    return slice(first[1], last[1]), slice(first[0], last[0])


def object_error(image: Pixels, pair: EditPair) -> float:  # (3, H, W)
    """Mean squared error, of values from 0 to 1, to the true target in the place of both objects.

    It falls with every kind of likeness, also of the tint and the turn, which no caption tells.
    """
    return masked_error(pair.target, image, object_place(pair))


def masked_error(original: Pixels, image: Pixels, mask: Mask) -> float:  # (3, H, W) twice, (H, W)
    """Mean squared error, of values from 0 to 1, over the pixels of a mask alone."""
    differences: NDArray[np.float64] = (original[:, mask].astype(np.float64) - image[:, mask]) / 255
    return float((differences**2).mean())
