"""Writes scenes as Parquet shards, by several processes: images to train on, and held-out pairs.

A shard is there as a whole or not at all, and follows from the plan alone, so that the same command goes on after a
kill, with any number of processes.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import pyarrow as pa

from unlatent.platform.scenes.images import IMAGES, image_row
from unlatent.platform.scenes.pairs import PAIRS, pair_row
from unlatent.platform.scenes.plan import ScenePlan, Shard
from unlatent.platform.scenes.scene import CLASSES, SPLITS
from unlatent.platform.scenes.textures import require_photographs
from unlatent.platform.shard_folder import begin, to_shard
from unlatent.platform.store import Store

ROWS: dict[str, tuple[Callable[[int, int, int], dict[str, Any]], pa.Schema]] = {
    "images": (image_row, IMAGES),
    "pairs": (pair_row, PAIRS),
}


def write_scenes(
    planned: ScenePlan, out: Store, workers: int, on_scenes: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Writes what is still missing. `on_scenes` is told how many images and pairs are there, of how many.

    Raises ValueError for a folder that holds something else, and where scikit-image is not installed.
    """
    require_photographs()
    begin(out, asdict(planned))
    shards = [shard for split in SPLITS for shard in planned.shards(split)]
    missing = [shard for shard in shards if not out.exists(shard.path)]
    total = planned.images + planned.pairs
    done = total - sum(len(shard.indices) for shard in missing)
    with mapping(min(workers, len(missing))) as each:
        for written in each(partial(write_shard, planned, out), missing):
            done += written
            on_scenes(done, total)


def write_shard(planned: ScenePlan, out: Store, shard: Shard) -> int:
    """How many scenes it has."""
    row, schema = ROWS[shard.split]
    rows = [row(planned.seed, index, planned.image_size) for index in shard.indices]
    out.write_bytes(shard.path, to_shard(pa.Table.from_pylist(rows, schema), CLASSES))
    return len(rows)


@contextmanager
def mapping(workers: int) -> Iterator[Callable[..., Iterator[int]]]:
    """`map`, or one like it that has processes at work."""
    if workers <= 1:
        yield map
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
        yield pool.map


def end_with_parent() -> None:
    """Has this process finish its shard on Ctrl-C, and end when the one that started it is killed.

    Else a pool's process waits for more work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
