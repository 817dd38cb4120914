"""Images decoded by tasks of Ray while the network learns, in an order that is kept.

Each training worker has a stream of its own, decoded on its own node. The tasks ask Ray for no CPU: they take turns
with the training worker on those that it has been given, and can always be placed. What is decoded ahead is bounded: a
task that has handed on as many parts as may wait stands still. Where one is lost with its process, Ray runs it again.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import ray

from unlatent.platform.batches import Part, read_window
from unlatent.platform.conditions import Conditions
from unlatent.platform.data_order import Indices
from unlatent.platform.image_split import ImageSplit

WAITING = 2  # parts of one window that may wait to be taken


def stream(split: ImageSplit, conditions: Conditions, windows: Iterator[Indices], workers: int) -> Iterator[Part]:
    """The images of each window, in order, decoded ahead by so many tasks beside the one whose parts are being taken.

    Raises ValueError, naming the file, for an image that cannot be read.
    """
    shared = ray.put((split, conditions))
    decode = ray.remote(decode_window).options(
        num_cpus=0,
        num_returns="streaming",
        label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
        _generator_backpressure_num_objects=WAITING,
    )
    decoded = deque(decode.remote([shared], window) for window in islice(windows, workers + 1))
    try:
        while decoded:
            for part in decoded[0]:
                yield ray.get(part)
            decoded.popleft()
            decoded += (decode.remote([shared], window) for window in islice(windows, 1))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise ValueError(str(error.cause).splitlines()[0]) from None  # then come Ray's own lines
        raise
    finally:
        if ray.is_initialized():  # whoever takes no more would leave them standing
            for task in decoded:
                ray.cancel(task)


def decode_window(shared: list[Any], indices: Indices) -> Iterator[Part]:
    """What a task does: the images of one window, part by part."""
    split, conditions = ray.get(shared[0])
    yield from read_window(split, conditions, np.asarray(indices), threads=1)
