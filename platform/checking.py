"""Looks at every image of a data set, or at some: what there is of each class, of which sizes, and what is broken."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unlatent.platform.buckets import Buckets
from unlatent.platform.classifier import spread
from unlatent.platform.datasets import Dataset
from unlatent.platform.generation import image_grid, to_png
from unlatent.platform.image_decoding import BROKEN, centre_square, open_upright
from unlatent.platform.image_folder import reason_of
from unlatent.platform.image_split import ImageSplit
from unlatent.platform.shards import ShardPixels, save_broken
from unlatent.platform.store import Store

LOOKED_AT_TOGETHER = 512  # images; bounds what waits in memory
IN_GRID = 64
SHOWN_AT_ENDS = 5  # classes


@dataclass
class Findings:
    """About the images that were looked at, but for the counts of classes, which are of all."""

    classes: dict[str, int]
    indices: NDArray[np.int64]  # of those that were looked at
    looked_at: int = 0
    formats: Counter[str] = field(default_factory=Counter)  # JPEG, PNG, …
    sides: list[tuple[int, int]] = field(default_factory=list)  # width, height of each readable one
    captions: int = 0  # that are not empty
    broken: dict[int, str] = field(default_factory=dict)  # image -> its name, and what is wrong with it
    twice: list[tuple[str, str]] = field(default_factory=list)  # names of files of the same content

    def smaller_than(self, image_size: int) -> int:
        return sum(min(sides) < image_size for sides in self.sides)


def forget_broken(store: Store, dataset: Dataset) -> bool:
    """So that all images are looked at again. Whether there was anything to forget."""
    pixels = dataset.train.pixels
    if not isinstance(pixels, ShardPixels) or not dataset.skipped:
        return False
    save_broken(store, pixels.listed, {})
    return True


def keep_broken(store: Store, dataset: Dataset, findings: Findings) -> None:
    """Of shards, for training to leave them out; folders are looked through whenever they are opened."""
    if isinstance(dataset.train.pixels, ShardPixels):
        save_broken(store, dataset.train.pixels.listed, findings.broken)


@dataclass(frozen=True)
class Looked:
    """At one file."""

    hash: bytes
    format: str = ""
    sides: tuple[int, int] = (0, 0)
    error: str | None = None


def check(dataset: Dataset, most: int | None, on_images: Callable[[int, int], None]) -> Findings:
    """Looks at all images, or at `most` of them, evenly. `on_images` is told how many are done, of how many."""
    split = dataset.train
    counts = np.bincount(split.labels, minlength=len(dataset.classes))
    indices = np.arange(len(split)) if most is None else spread(len(split), most)
    findings = Findings(dict(zip(dataset.classes, counts.tolist(), strict=True)), indices)
    first_of: dict[bytes, int] = {}
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(indices), LOOKED_AT_TOGETHER):
            some = indices[start : start + LOOKED_AT_TOGETHER]
            findings.captions += sum(bool(caption) for caption in split.files.captions(some))
            looks = threads.map(lambda content: look(content, dataset.image_size), split.files.contents(some))
            for index, looked in zip(some.tolist(), looks, strict=True):
                note(findings, split, index, looked, first_of)
            on_images(start + len(some), len(indices))
    return findings


def look(content: bytes, image_size: int) -> Looked:
    digest = hashlib.blake2b(content, digest_size=16).digest()
    try:
        picture = open_upright(io.BytesIO(content))
        centre_square(picture, image_size)
        with Image.open(io.BytesIO(content)) as stored:
            return Looked(digest, f"{stored.format} {stored.mode}", picture.size)
    except BROKEN as error:
        return Looked(digest, error=reason_of(error))


def note(findings: Findings, split: ImageSplit, index: int, looked: Looked, first_of: dict[bytes, int]) -> None:
    findings.looked_at += 1
    name = split.files.name(index)
    if looked.error is not None:
        findings.broken[index] = f"{name}: {looked.error}"
        return
    findings.formats[looked.format] += 1
    findings.sides.append(looked.sides)
    first = first_of.setdefault(looked.hash, index)
    if first != index:
        findings.twice.append((split.files.name(first), name))


def sample_grid(dataset: Dataset, findings: Findings, seed: int = 0) -> bytes | None:  # PNG
    """Images at random, of those that were looked at and can be read, as squares; None where there are none."""
    whole = np.setdiff1d(findings.indices, list(findings.broken))
    if not len(whole):
        return None
    chosen = np.sort(np.random.default_rng(seed).permutation(whole)[:IN_GRID])
    return to_png(image_grid(dataset.train.read(chosen), columns=8, scale=max(1, 64 // dataset.image_size)))


def bucket_line(buckets: Buckets) -> str:
    """How many images go into each bucket."""
    counts = np.bincount(buckets.chosen, minlength=len(buckets.sides))
    shown = (f"{count:,} of {width}x{height}" for count, (height, width) in zip(counts, buckets.sides, strict=True))
    return f"buckets: {', '.join(shown)} pixels"


def class_rows(findings: Findings) -> list[dict[str, str]]:
    """The classes with most images and with fewest."""
    ordered = sorted(findings.classes.items(), key=lambda each: -each[1])
    shown = ordered if len(ordered) <= 2 * SHOWN_AT_ENDS else [*ordered[:SHOWN_AT_ENDS], *ordered[-SHOWN_AT_ENDS:]]
    return [{"class": name, "images": f"{count:,}"} for name, count in shown]


def summary(findings: Findings, image_size: int) -> list[str]:
    """What was found, a line each."""
    counts = sorted(findings.classes.values())
    lines = [
        f"classes: {len(counts):,}, of {counts[0]:,} to {counts[-1]:,} images, median {counts[len(counts) // 2]:,}",
        f"looked at: {findings.looked_at:,} images, {len(findings.broken):,} of them broken",
        f"captions: {findings.captions:,}",
        "formats: " + ", ".join(f"{count:,} {name}" for name, count in findings.formats.most_common()),
    ]
    if findings.sides:
        widths, heights = np.array(findings.sides).T
        for name, sides in (("width", widths), ("height", heights)):
            low, middle, high = np.percentile(sides, [0, 50, 100]).astype(int)
            lines.append(f"{name}: {low:,} to {high:,} pixels, median {middle:,}")
        lines.append(f"smaller than {image_size} pixels on a side, so enlarged: {findings.smaller_than(image_size):,}")
    if findings.twice:
        lines.append(
            f"twice there: {len(findings.twice):,}, such as {findings.twice[0][1]}, the same as {findings.twice[0][0]}"
        )
    return lines
