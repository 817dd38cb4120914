"""Which detail is lost: energy of the error beside that of the image, by spatial frequency.

N images   C colours   S pixels on a side   B bands
"""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NYQUIST = 0.5  # cycles a pixel along a side; diagonals reach 0.71
STEPS_AN_OCTAVE = 2
COARSEST = 4  # cycles over an image's side; below, a window leaves nothing to tell apart

Values = NDArray[np.float64]


@functools.cache
def band_edges(image_size: int) -> tuple[float, ...]:  # B + 1 frequencies, rising
    """Half-octaves of cycles a pixel, up to the Nyquist frequency, and the diagonals beyond it in a band of their own.

    Those of another image size are among these, so that curves of both can be laid over each other.
    """
    steps = int(STEPS_AN_OCTAVE * np.log2(NYQUIST * image_size / COARSEST))
    rising = [NYQUIST * 2 ** (-step / STEPS_AN_OCTAVE) for step in range(max(1, steps), -1, -1)]
    return (*rising, NYQUIST * np.sqrt(2))


def energies(before: Tensor, after: Tensor) -> tuple[Values, Values, Values]:  # uint8 (N, C, S, S) -> (N, B) each
    """Of the originals, of the images and of their difference, in each band.

    Means are taken off, and a Hann window laid over: else what meets at opposite borders would count as detail.
    """
    originals, images = before.double(), after.double()
    return by_band(originals), by_band(images), by_band(images - originals)


def windowed(images: Tensor) -> Tensor:  # (N, C, S, S) -> (N, C, S, S)
    window = torch.hann_window(images.shape[-1], periodic=False, dtype=images.dtype)
    return (images - images.mean(dim=(2, 3), keepdim=True)) * window[:, None] * window


def by_band(images: Tensor) -> Values:  # (N, C, S, S) -> (N, B)
    power = torch.fft.fft2(windowed(images)).abs().square().sum(dim=1)  # (N, S, S)
    bands = band_of_each(images.shape[-1])  # (S, S)
    count = len(band_edges(images.shape[-1])) - 1
    sums = torch.zeros(len(images), count + 1, dtype=power.dtype)
    sums.index_add_(1, bands.flatten(), power.flatten(1))
    return sums[:, :count].numpy()


@functools.cache
def band_of_each(image_size: int) -> Tensor:  # (S, S)
    """The band of each frequency of the transform; one more than there are for those in none."""
    along = torch.fft.fftfreq(image_size, dtype=torch.float64)
    radius = torch.hypot(along[:, None], along[None])
    edges = torch.tensor(band_edges(image_size), dtype=torch.float64)
    bands = (torch.bucketize(radius, edges, right=True) - 1).clamp(max=len(edges) - 2)
    return torch.where(bands < 0, len(edges) - 1, bands)
