"""Pictures of the report: where most is lost, what is usual, and text before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from unlatent.platform.fidelity import peak_signal_to_noise
from unlatent.platform.generation import to_image, to_png
from unlatent.platform.report.thumbnails import data_uri
from unlatent.platform.report.wording import number, share
from unlatent.platform.vae_tax.crops import crop, difference
from unlatent.platform.vae_tax.image_set import ImageSet
from unlatent.platform.vae_tax.measuring import Measured, Reconstruct
from unlatent.platform.vae_tax.signs import with_signs

WORST, USUAL, TEXTS = 6, 3, 2  # as many of each as there are images for


@dataclass(frozen=True)
class Comparison:
    """An image, what the autoencoder makes of it, and their difference, as data URIs of PNG files."""

    name: str
    note: str
    before: str
    after: str
    difference: str
    side: int  # pixels across


def worst_crops(images: ImageSet, measured: Measured, reconstruct: Reconstruct) -> list[Comparison]:
    """The squares with the largest error of all, one of an image at most; none where nothing differs."""
    return crops_of(images, measured, reconstruct, worst_of(measured))


def worst_of(measured: Measured) -> list[int]:
    order = np.argsort(-measured.worst_errors, kind="stable")
    return order[measured.worst_errors[order] > 0][:WORST].tolist()


def usual_crops(images: ImageSet, measured: Measured, reconstruct: Reconstruct) -> list[Comparison]:
    """The worst squares of images whose own error is in the middle of all, but for the worst of all."""
    order = middle(measured.errors, len(measured))
    worst = worst_of(measured)
    chosen = [number_of for number_of in order if number_of not in worst and measured.worst_errors[number_of] > 0]
    return crops_of(images, measured, reconstruct, chosen[:USUAL])


def middle(values: np.ndarray, count: int) -> list[int]:
    """Where those values are that are nearest to the median."""
    return np.argsort(np.abs(values - np.median(values)), kind="stable")[:count].tolist()


def crops_of(images: ImageSet, measured: Measured, reconstruct: Reconstruct, chosen: Sequence[int]) -> list[Comparison]:
    if not chosen:
        return []
    before = images.read(chosen)
    after = reconstruct(before)
    found = []
    for number_of, pair in zip(chosen, zip(before, after, strict=True), strict=True):
        top, left = measured.worst_places[number_of].tolist()
        error = number(peak_signal_to_noise(measured.worst_errors[number_of]))
        note = f"{error} dB in this square, {left} from the left and {top} from the top"
        found.append(comparison(images.names[number_of], note, *(crop(each, top, left) for each in pair)))
    return found


def text_samples(images: ImageSet, measured: Measured, reconstruct: Reconstruct) -> list[Comparison]:
    """Whole images with text, of which as much can be read as of most."""
    shares = measured.read_through_autoencoder.sum(axis=1) / measured.letters.sum(axis=1)
    found = []
    for chosen in middle(shares, TEXTS):
        before, _ = with_signs(images.read([chosen]), images.seed, chosen)
        [after] = reconstruct(before)
        note = f"{share(shares[chosen])} of letters read right"
        found.append(comparison(images.names[chosen], note, before[0], after))
    return found


def comparison(name: str, note: str, before: Tensor, after: Tensor) -> Comparison:  # uint8 (3, H, W)
    return Comparison(
        name=name,
        note=note,
        before=as_uri(before),
        after=as_uri(after),
        difference=as_uri(difference(before, after)),
        side=before.shape[-1],
    )


def as_uri(image: Tensor) -> str:
    return data_uri(to_png(to_image(image)))
