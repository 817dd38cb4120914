"""Where an autoencoder errs most: the worst square of each image."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

CROP_PIXELS = 80
STEP = 8  # pixels between squares that are looked at
AMPLIFIED = 4  # times, of differences that are shown


def worst_squares(before: Tensor, after: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of each of uint8 images (N, 3, S, S): top and left (N, 2) of the square with the largest error, and that (N,).

    The error is the mean squared one, of values from 0 to 1.
    """
    errors = ((before.double() - after.double()) / 255).square().mean(dim=1)  # (N, S, S)
    side, last = crop_side(before), before.shape[-1] - crop_side(before)
    at = torch.tensor([*range(0, last, STEP), last])
    sums = F.pad(errors.cumsum(1).cumsum(2), (1, 0, 1, 0))  # of all above and to the left

    def until(rows: Tensor, columns: Tensor) -> Tensor:  # (n,), (n,) -> (N, n, n)
        return sums[:, rows][:, :, columns]

    inside = until(at + side, at + side) - until(at, at + side) - until(at + side, at) + until(at, at)
    largest, places = (inside / side**2).flatten(1).max(dim=1)
    return torch.stack([at[places // len(at)], at[places % len(at)]], dim=1).numpy(), largest.numpy()


def crop(image: Tensor, top: int, left: int) -> Tensor:  # (3, S, S) -> (3, side, side)
    side = crop_side(image)
    return image[:, top : top + side, left : left + side]


def crop_side(images: Tensor) -> int:
    return min(CROP_PIXELS, images.shape[-1])


def difference(original: Tensor, image: Tensor) -> Tensor:  # uint8 (3, H, W) -> uint8 (3, H, W)
    """Of each value, four times over; black where nothing differs."""
    return (AMPLIFIED * (original.int() - image.int()).abs()).clamp(max=255).to(torch.uint8)
