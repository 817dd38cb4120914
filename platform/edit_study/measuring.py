"""What became of edited pairs: what was kept of the background and the sign, and whether the edit happened.

The background is the true one, which the scenes tell: all but the place of either object and two pixels around. No
number is averaged with anything inside that place.

N pairs
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unlatent.platform.edit_study.objects import masked_error, nearest_class, object_error
from unlatent.platform.fidelity import similarity_map
from unlatent.platform.legibility import read
from unlatent.platform.scenes import EditPair
from unlatent.platform.scenes.painting import Pixels

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A value of each array for each pair, in their order."""

    background_errors: Values  # (N,) mean squared, of values from 0 to 1, to the source
    background_similarities: Values  # (N,) SSIM to the source
    letters: Values  # (N,) on the sign
    letters_right: Values  # (N,) of these, read right
    classes: NDArray[np.int64]  # (N,) of `CLASSES`, that the object looks most like
    object_errors: Values  # (N,) mean squared, of values from 0 to 1, to the true target

    def __len__(self) -> int:
        return len(self.classes)


def measure(pairs: Sequence[EditPair], images: Tensor) -> Measured:  # uint8 (N, 3, H, W)
    """Of images that sources were turned into, one for each pair."""
    edited = list(zip(pairs, images.numpy(), strict=True))
    return Measured(
        background_errors=np.array([background_error(pair, image) for pair, image in edited]),
        background_similarities=np.array([background_similarity(pair, image) for pair, image in edited]),
        letters=np.array([len(pair.line.text) for pair in pairs], np.float64),
        letters_right=np.array([letters_right(pair, image) for pair, image in edited]),
        classes=np.array([nearest_class(image, pair) for pair, image in edited]),
        object_errors=np.array([object_error(image, pair) for pair, image in edited]),
    )


def background_error(pair: EditPair, image: Pixels) -> float:
    return masked_error(pair.source, image, pair.background_mask)


def background_similarity(pair: EditPair, image: Pixels) -> float:
    """Mean of the map of SSIM over the background.

    Windows near the object reach into it. There both images are given the source's pixels, so that what was asked to
    change counts for nothing: 1 where the background alone is the same.
    """
    kept = np.where(pair.background_mask, image, pair.source)
    return float(similarity_map(pair.source, kept)[pair.background_mask].mean())


def letters_right(pair: EditPair, image: Pixels) -> float:
    """How many letters of the sign are read right; the reader knows where and in which colours they should be."""
    reading = read(image, pair.line, pair.ink, pair.paper)
    return float(round(reading.share * len(reading.text)))


def succeeded(pairs: Sequence[EditPair], measured: Measured) -> NDArray[np.bool_]:  # (N,)
    """Where the object looks most like the one that was asked for; `objects` says what that tells."""
    return measured.classes == [pair.target_label for pair in pairs]


def untouched(pairs: Sequence[EditPair], measured: Measured) -> NDArray[np.bool_]:  # (N,)
    """Where the object still looks most like what it was."""
    return measured.classes == [pair.source_label for pair in pairs]
