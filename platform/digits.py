"""Handwritten digits, 8 pixels a side, that come with scikit-learn and need no download."""

import numpy as np
from numpy.typing import NDArray

CLASSES = [str(digit) for digit in range(10)]
IMAGE_SIZE, CHANNELS = 8, 1
HELD_OUT_EVERY = 5  # of the images of a class, in the order they come in


def require_image_size(image_size: int) -> None:
    """Raises ValueError for another size than they have."""
    if image_size != IMAGE_SIZE:
        raise ValueError(f"data.image_size={image_size}: digits are {IMAGE_SIZE} pixels on a side")


def load(image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """All 1,797 images (N, 1, 8, 8), their labels (N,), and which of them are held out (N,)."""
    require_image_size(image_size)
    from sklearn.datasets import load_digits  # a second to import, and only this data set needs it

    bundled = load_digits()
    pixels = np.rint(bundled.images * (255 / 16)).astype(np.uint8)
    labels = bundled.target.astype(np.int64)
    return pixels[:, None], labels, held_out(labels)


def held_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Marks every fifth image of each class, always the same ones."""
    mask = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        mask[np.flatnonzero(labels == label)[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]] = True
    return mask
