"""Images decoded by workers of Ray Data while the network learns, in an order that is kept.

Each training worker has a stream of its own, decoded on its own node. The decoding tasks ask Ray for no CPU: they take
turns with the training worker on those that it has been given, and can always be placed.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.data import DataContext, TaskPoolStrategy

from unlatent.platform.batches import PART_BYTES, Part, read_window
from unlatent.platform.conditions import Conditions
from unlatent.platform.data_order import Indices
from unlatent.platform.image_split import ImageSplit

CHAPTER = 1000  # windows that are planned at once: a run may have millions


def stream(split: ImageSplit, conditions: Conditions, windows: Iterator[Indices], workers: int) -> Iterator[Part]:
    """The images of each window, in order, decoded ahead by so many tasks at a time.

    Raises ValueError, naming the file, for an image that cannot be read.
    """
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is raised
    settings = DataContext.get_current()
    settings.enable_progress_bars = False
    settings.target_max_block_size = PART_BYTES  # or parts are put together again, and come late
    settings.execution_options.preserve_order = True
    shared = ray.put((split, conditions))
    while chapter := list(islice(windows, CHAPTER)):
        yield from read_chapter(shared, chapter, workers)


def read_chapter(shared: Any, chapter: list[Indices], workers: int) -> Iterator[Part]:
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    planned = ray.data.from_items([{"indices": window} for window in chapter], override_num_blocks=len(chapter))
    decoded = planned.map_batches(
        decode_window,
        fn_kwargs={"shared": [shared]},
        batch_size=1,
        num_cpus=0,
        compute=TaskPoolStrategy(size=workers),
        label_selector=here,
    )
    try:
        for block in decoded.iter_batches(batch_size=None, batch_format="numpy"):
            yield from zip(*(block[name] for name in sorted(block)), strict=True)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise ValueError(str(error.cause).splitlines()[0]) from None  # then come Ray's own lines
        raise


def decode_window(row: dict[str, NDArray[Any]], shared: list[Any]) -> Iterator[dict[str, NDArray[Any]]]:
    """What a task of Ray Data does: the images of one window, part by part."""
    split, conditions = ray.get(shared[0])
    for part in read_window(split, conditions, np.asarray(row["indices"][0]), threads=1):
        yield {str(place): each[None] for place, each in enumerate(part)}  # a part is a row: Ray may put rows together
