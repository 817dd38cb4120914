"""What was measured, as numbers with intervals over images."""

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from unlatent.platform.fidelity import peak_signal_to_noise
from unlatent.platform.intervals import NORMAL, Interval, mean, proportion, ratio
from unlatent.platform.metrics import frechet_distance
from unlatent.platform.vae_tax.frequencies import band_edges
from unlatent.platform.vae_tax.measuring import Measured, Values
from unlatent.platform.vae_tax.signs import fitting_sizes

READABLE = 0.8  # share of letters that must be read through pixels, for what an autoencoder does to them to be told
KEPT = 0.95  # of the letters read through pixels, still read; from there on text counts as kept
SURE_LETTERS = math.ceil(NORMAL**2 * KEPT / (1 - KEPT))  # where all of them are still read, Wilson's interval is above
LOST = 0.1  # of letters, that may at most be read beyond those guessed, for text to count as lost


@dataclass(frozen=True)
class Band:
    """A band of spatial frequencies, in cycles a pixel."""

    low: float
    high: float
    share: float  # of the images' energy that lies in it
    lost: Interval  # energy of the error, as a share of the band's; from 1 on, nothing of the image is left
    afterwards: Interval  # energy of the autoencoder's images, as a share of the band's; also of wrong detail

    @property
    def is_empty(self) -> bool:
        """Whether the images have nothing in it that could be lost, as those of one grey."""
        return bool(np.isnan(self.lost.value))

    @property
    def period(self) -> float:
        """Pixels of a cycle at its middle."""
        return float(1 / np.sqrt(self.low * self.high))


@dataclass(frozen=True)
class TextSize:
    """Letters read right, of those drawn at one size.

    What the autoencoder does is told letter by letter: of those read through pixels, the share that is still read. So
    none that the reader misses in any case counts as a loss, and an identity has none. Nearly all may be right, for
    which Wilson's score interval holds (Brown, Cai and DasGupta 2001, Statistical Science 16, 101-133); and letters of
    one image go together, so the bootstrap over images widens it. Where no letter is lost it cannot, as nothing shows
    how much they do.
    """

    letter_pixels: int  # height of a capital
    letters: int
    readable: int  # of these, read from the images themselves
    pixels: Interval  # the same as a share
    autoencoder: Interval
    still: Interval  # of those readable, read through the autoencoder too
    chance: Interval  # of all, read from the autoencoder's images where no text was

    @property
    def still_read(self) -> int:
        return round(self.still.value * self.readable)

    @property
    def state(self) -> str:
        """kept, lost, or damaged, which is neither, each where intervals leave nothing else.

        Else unknown, for there are too few letters, or unreadable, for the reader fails on the images themselves.
        """
        if self.pixels.value < READABLE:
            return "unreadable"
        if not self.still.is_known:
            return "unknown"
        if self.still.low >= KEPT:
            return "kept"
        if self.still.high >= KEPT:
            return "unknown"
        return "lost" if self.autoencoder.high - self.chance.low <= LOST else "damaged"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Fidelity is between an image and what encode → decode makes of it; through pixels they are the same."""

    images: int
    image_size: int
    mse: Interval  # of values from 0 to 1
    psnr: Interval  # dB, mean over images; over those that differ at all
    ssim: Interval
    unchanged: int  # images that come back bit for bit
    rfid: float | None
    rfid_missing: str  # why there is none, and what would do
    bands: list[Band]  # the coarsest first
    texts: list[TextSize]  # the smallest first

    def as_json(self) -> dict[str, Any]:
        """For a file. What is infinite or unknown is null: so the PSNR where nothing differs."""
        return finite({**asdict(self), "texts": [{**asdict(text), "state": text.state} for text in self.texts]})


def find(measured: Measured, image_size: int, seed: int, inception_missing: str) -> Findings:
    """`inception_missing` says why there are no features, where there are none."""
    rfid, rfid_missing = reconstruction_fid(measured, inception_missing)
    differing = measured.errors[measured.errors > 0]
    return Findings(
        images=len(measured),
        image_size=image_size,
        mse=mean(measured.errors, seed),
        psnr=mean(peak_signal_to_noise(differing), seed)
        if len(differing)
        else Interval(np.inf, np.inf, np.inf, len(measured)),
        ssim=mean(measured.similarities, seed),
        unchanged=len(measured) - len(differing),
        rfid=rfid,
        rfid_missing=rfid_missing,
        bands=bands_of(measured, image_size, seed),
        texts=texts_of(measured, image_size, seed),
    )


def bands_of(measured: Measured, image_size: int, seed: int) -> list[Band]:
    edges, energy = band_edges(image_size), measured.energy_before
    return [
        Band(
            low,
            high,
            float(energy[:, band].sum() / max(energy.sum(), np.finfo(float).tiny)),
            ratio(measured.energy_of_error[:, band], energy[:, band], seed),
            ratio(measured.energy_after[:, band], energy[:, band], seed),
        )
        for band, (low, high) in enumerate(pairwise(edges))
    ]


def texts_of(measured: Measured, image_size: int, seed: int) -> list[TextSize]:
    drawn, readable = measured.letters, measured.read_through_pixels

    def share(right: Values, of: Values, place: int) -> Interval:  # (N, T), (N, T)
        return proportion(right[:, place], of[:, place], seed)

    return [
        TextSize(
            letter_pixels=size,
            letters=int(drawn[:, place].sum()),
            readable=int(readable[:, place].sum()),
            pixels=share(readable, drawn, place),
            autoencoder=share(measured.read_through_autoencoder, drawn, place),
            still=share(measured.read_through_both, readable, place),
            chance=share(measured.read_by_chance, drawn, place),
        )
        for place, size in enumerate(fitting_sizes(image_size))
    ]


def reconstruction_fid(measured: Measured, inception_missing: str) -> tuple[float | None, str]:
    """rFID, and why there is none where there is none."""
    images, width = measured.features_before.shape
    if not width:
        return None, inception_missing
    if images <= width:
        return None, f"rFID needs more than {width:,} images, and these are {images:,}; more of them would do"
    return frechet_distance(measured.features_before, measured.features_after), ""


def finite(value: Any) -> Any:
    """The same with null for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
