"""Writes the images of a data set as Parquet shards, in random order: once, so that training reads long stretches.

What is written follows from the source and the settings alone. A shard is there as a whole or not at all, so that the
same command goes on after a kill.
"""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from unlatent.platform.buckets import Sides
from unlatent.platform.data_order import Indices
from unlatent.platform.datasets import Dataset
from unlatent.platform.generation import to_png
from unlatent.platform.image_decoding import BROKEN, centre_crop, open_upright
from unlatent.platform.image_folder import reason_of
from unlatent.platform.shard_folder import IMAGE, begin, shard_names, to_shard
from unlatent.platform.store import Store

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """All that decides what is written."""

    source: str
    source_hash: str
    images: int
    classes: list[str]
    image_size: int | None  # pixels on a side of PNG files; None: the files as they are
    seed: int
    shard_images: int
    max_aspect_ratio: float = 1.0  # above 1, the PNG files' sides are those of buckets
    format_version: int = FORMAT_VERSION

    @property
    def shards(self) -> list[str]:
        return shard_names(self.images, self.shard_images)


def prepare(dataset: Dataset, planned: Preparation, out: Store, on_images: Callable[[int, int], None]) -> None:
    """Writes what is still missing. `on_images` is told how many images are there, of how many.

    Raises ValueError for a folder that holds something else, and for an image that cannot be read.
    """
    begin(out, asdict(planned))
    order = np.random.default_rng(planned.seed).permutation(planned.images)
    for number, name in enumerate(planned.shards):
        first = number * planned.shard_images
        if not out.exists(name):
            out.write_bytes(name, shard_of(dataset, planned, order[first : first + planned.shard_images]))
        on_images(min(first + planned.shard_images, planned.images), planned.images)


def shard_of(dataset: Dataset, planned: Preparation, indices: Indices) -> bytes:
    split = dataset.train
    contents = split.files.contents(indices)
    if planned.image_size:
        with ThreadPoolExecutor() as threads:
            sides = (split.sides(int(index)) for index in indices)
            names = (split.files.name(int(index)) for index in indices)
            contents = list(threads.map(cropped, contents, sides, names))
    table = pa.table(
        {
            "image": pa.array([{"bytes": content, "path": None} for content in contents], IMAGE),
            "label": pa.array(split.labels[indices]),
            "caption": pa.array(split.files.captions(indices), pa.string()),
        }
    )
    return to_shard(table, dataset.classes)


def cropped(content: bytes, sides: Sides, name: str) -> bytes:  # PNG
    """The centre that training would cut out."""
    try:
        return to_png(centre_crop(open_upright(io.BytesIO(content)), *sides))
    except BROKEN as error:
        raise ValueError(f"{name} is no readable picture: {reason_of(error)}") from None
