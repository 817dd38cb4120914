"""Crops of ten photographs that come with scikit-image and need no download: colour, texture, edges at a small size."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ["astronaut", "brick", "cat", "coffee", "galaxies", "grass", "gravel", "motorcycle", "retina", "rocket"]
CHANNELS = 3
SMALLEST_IMAGE, LARGEST_IMAGE = 32, 64  # pixels on a side: below, crops repeat; above, photographs are enlarged
CROPS_A_SIDE = 4  # fit into the shorter side of a photograph as it is scaled
ROWS, COLUMNS, HELD_OUT_COLUMNS = 25, 16, 4  # of positions of a photograph's crops


def require_image_size(image_size: int) -> None:
    """Raises ValueError for crops that a photograph has not enough places for, or not enough pixels."""
    if not SMALLEST_IMAGE <= image_size <= LARGEST_IMAGE:
        asked = f"data.image_size={image_size}"
        raise ValueError(f"{asked}: photographs are crops of {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels")


def load(image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """All 5,000 crops (N, 3, S, S), their labels (N,), and which of them are held out (N,).

    Held-out crops come from a strip of a photograph and share no pixel with the others, which come from either side.
    """
    crops = [crops_of(scaled(photograph, image_size), image_size) for photograph in photographs()]
    pixels = np.concatenate([each for each, _ in crops]).transpose(0, 3, 1, 2)  # (N, 3, S, S)
    held_out = np.concatenate([each for _, each in crops])
    labels = np.repeat(np.arange(len(CLASSES)), len(pixels) // len(CLASSES))
    return np.ascontiguousarray(pixels), labels, held_out


def photographs() -> list[NDArray[np.uint8]]:  # (H, W, 3) each, or (H, W)
    """In the order of their classes.

    Raises ValueError where scikit-image is not installed.
    """
    try:
        from skimage import data  # half a second, and only this data set needs it
    except ImportError:
        needed = "data.kind=photographs needs the package scikit-image"
        raise ValueError(f"{needed}; pip install 'unlatent[photographs]' would do") from None

    motorcycle, _, _ = data.stereo_motorcycle()
    return [
        data.astronaut(),
        data.brick(),
        data.chelsea(),
        data.coffee(),
        data.hubble_deep_field(),
        data.grass(),
        data.gravel(),
        motorcycle,
        data.retina(),
        data.rocket(),
    ]


def scaled(photograph: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:  # (h, w, 3)
    """So that its shorter side holds as many crops as every other's."""
    picture = Image.fromarray(photograph).convert("RGB")
    ratio = CROPS_A_SIDE * image_size / min(picture.size)
    width, height = (round(ratio * side) for side in picture.size)
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def crops_of(picture: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Evenly spaced crops (n, S, S, 3), and which of them are held out (n,)."""
    height, width, _ = picture.shape
    start = 2 * width // 5  # of the strip: what is in it continues on either side
    end = start + 9 * side // 8
    room_before, room_after = start - side, width - end - side
    before = round(COLUMNS * room_before / (room_before + room_after))
    strip = spaced(start, end - side, HELD_OUT_COLUMNS)
    rest = [spaced(0, room_before, before), spaced(end, width - side, COLUMNS - before)]
    corners = [(top, left) for top in spaced(0, height - side, ROWS) for left in np.concatenate([*rest, strip])]
    crops = np.stack([picture[top : top + side, left : left + side] for top, left in corners])
    return crops, np.array([start <= left < end for _, left in corners])


def spaced(first: int, last: int, number: int) -> NDArray[np.int64]:
    return np.linspace(first, last, number).astype(np.int64)
