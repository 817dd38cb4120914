"""Sends images through an autoencoder and takes down, image by image, what became of them.

N images   B bands of frequencies   T sizes of text   D features
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.platform.features import Extractor
from unlatent.platform.fidelity import mean_squared_error, structural_similarity
from unlatent.platform.vae_tax.crops import worst_squares
from unlatent.platform.vae_tax.frequencies import energies
from unlatent.platform.vae_tax.image_set import ImageSet
from unlatent.platform.vae_tax.signs import letters_drawn, letters_right, with_signs

SENT_TOGETHER = 16  # images

Reconstruct = Callable[[Tensor], Tensor]  # uint8 (N, 3, S, S) -> uint8 (N, 3, S, S)
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row of each array for each image, in the order of the set."""

    errors: Values  # (N,) mean squared, of values from 0 to 1
    similarities: Values  # (N,) SSIM
    energy_before: Values  # (N, B) of the originals, in each band of `frequencies.band_edges`
    energy_after: Values  # (N, B)
    energy_of_error: Values  # (N, B)
    worst_places: NDArray[np.int64]  # (N, 2) top and left of the square with the largest error
    worst_errors: Values  # (N,) of that square, as `errors`
    letters: Values  # (N, T) drawn at each of `signs.fitting_sizes`
    read_through_pixels: Values  # (N, T) of these, read right
    read_through_autoencoder: Values  # (N, T)
    read_through_both: Values  # (N, T) letters that are read right either way
    read_by_chance: Values  # (N, T) in the same places of the autoencoder's images without text
    features_before: NDArray[np.float32]  # (N, D) Inception's; D is 0 where it is not at hand
    features_after: NDArray[np.float32]  # (N, D)

    def __len__(self) -> int:
        return len(self.errors)


@torch.inference_mode()
def measure(
    images: ImageSet,
    reconstruct: Reconstruct,
    extractor: Extractor | None,
    device: torch.device,
    on_images: Callable[[int, int], None],
) -> Measured:
    """Sends each image through the autoencoder twice: as it is, and with text on it.

    `on_images` is told how many are done, of how many.
    """
    network = extractor.network.to(device).eval() if extractor else None

    def features(some: Tensor) -> NDArray[np.float32]:
        return network(some.to(device))[0].float().cpu().numpy() if network else np.empty((len(some), 0), np.float32)

    parts = []
    for start in range(0, len(images), SENT_TOGETHER):
        before = images.read(range(start, min(start + SENT_TOGETHER, len(images))))
        parts.append(measure_some(before, reconstruct, features, images.seed, start))
        on_images(start + len(before), len(images))
    names = [item.name for item in fields(Measured)]
    return Measured(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def measure_some(
    before: Tensor,  # uint8 (n, 3, S, S)
    reconstruct: Reconstruct,
    features: Callable[[Tensor], NDArray[np.float32]],
    seed: int,
    first: int,  # number of the first of them, which decides with the seed what text is drawn
) -> Measured:
    after = reconstruct(before)  # (n, 3, S, S)
    signed, signs = with_signs(before, seed, first)
    signed_after = reconstruct(signed)
    right_before, right_after = letters_right(signed, signs), letters_right(signed_after, signs)  # (n, T, 8)
    energy_before, energy_after, energy_of_error = energies(before, after)
    worst_places, worst_errors = worst_squares(before, after)
    return Measured(
        errors=mean_squared_error(before, after),
        similarities=structural_similarity(before, after),
        energy_before=energy_before,
        energy_after=energy_after,
        energy_of_error=energy_of_error,
        worst_places=worst_places,
        worst_errors=worst_errors,
        letters=letters_drawn(signs),
        read_through_pixels=counted(right_before),
        read_through_autoencoder=counted(right_after),
        read_through_both=counted(right_before & right_after),
        read_by_chance=counted(letters_right(after, signs)),
        features_before=features(before),
        features_after=features(after),
    )


def counted(right: NDArray[np.bool_]) -> Values:  # (n, T, 8) -> (n, T)
    return right.sum(axis=2, dtype=np.float64)
