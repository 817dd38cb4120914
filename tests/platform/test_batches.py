"""The stream of training images: every worker's, from any position, decoded here or by tasks of Ray."""

import io
import time
from dataclasses import replace
from itertools import chain

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unlatent.platform import cluster
from unlatent.platform.batches import batches, rebatched
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.conditions import Classes
from unlatent.platform.data_order import ChunkShuffle
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.image_split import ImageSplit
from unlatent.platform.store import Store

COUNT, BATCH = 500, 24


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """500 pictures in shards, each of one colour that no other has."""
    root = tmp_path_factory.mktemp("data")
    for start in range(0, COUNT, 125):
        images = []
        for number in range(start, start + 125):
            buffer = io.BytesIO()
            Image.new("RGB", (9, 8), (number // 256, number % 256, 0)).save(buffer, "PNG")
            images.append(buffer.getvalue())
        table = pa.table({"image": images, "label": [number % 5 for number in range(start, start + 125)]})
        pq.write_table(table, root / f"{start:03d}.parquet", row_group_size=16)
    return open_dataset(DataConfig(kind="parquet", root=str(root), held_out=0.0), Store(root / "store")).train


def numbers(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0, 0].int() * 256 + images[:, 1, 0, 0]).tolist()


def seen(split, first=0, steps=42, rank=0, world=1, decoders=0, seed=3):
    """Batches from `first` on, as lists of the numbers of their images."""
    order = ChunkShuffle(split.pixels.chunk_lengths, seed, window=64)
    positions = range(first, first + steps * BATCH, BATCH)
    found = []
    for images, labels in batches(split, order, positions, rank, world, decoders):
        assert labels.tolist() == [number % 5 for number in numbers(images)]
        found.append(numbers(images))
    return found


def test_an_epoch_has_every_image_once(split):
    flat = [number for batch in seen(split) for number in batch]

    assert sorted(flat[:COUNT]) == list(range(COUNT)) == sorted(flat[COUNT : 2 * COUNT])
    assert flat[:COUNT] != flat[COUNT : 2 * COUNT] and len(flat) == 42 * BATCH


@pytest.mark.parametrize("world", [2, 3, 8])
def test_workers_together_see_the_batches_that_one_sees(split, world):
    shares = [seen(split, rank=rank, world=world) for rank in range(world)]

    together = [sorted(chain.from_iterable(parts)) for parts in zip(*shares, strict=True)]
    assert together == [sorted(batch) for batch in seen(split)]
    assert all(len(batch) == BATCH // world for share in shares for batch in share)


@pytest.mark.parametrize("step", [1, 20, 21, 41])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_from_any_step_on_they_are_the_rest_of_the_whole(split, step, rank, world):
    whole = seen(split, rank=rank, world=world)

    assert seen(split, step * BATCH, 42 - step, rank, world) == whole[step:]


def test_parts_of_any_size_become_batches_of_one():
    def parts():
        for start, size in ((0, 3), (3, 10), (13, 1), (14, 2), (16, 0), (16, 5)):
            yield np.arange(start, start + size, dtype=np.uint8), np.arange(start, start + size)

    assert [labels.tolist() for _, labels in rebatched(parts(), 4)] == [list(range(n, n + 4)) for n in range(0, 20, 4)]


def test_a_batch_may_be_written_to(split):
    order = ChunkShuffle(split.pixels.chunk_lengths, 3, window=64)

    images, labels = next(batches(split, order, range(0, BATCH, BATCH), 0, 1, 0))

    assert images.add_(1).dtype == torch.uint8 and labels.dtype == torch.int64


@pytest.fixture(scope="module")
def ray_cluster():
    cluster.connect(ClusterConfig(cpus=2))
    yield
    cluster.disconnect()


@pytest.mark.slow
@pytest.mark.parametrize("decoders", [1, 2])
def test_tasks_give_the_same_images_in_the_same_order(split, ray_cluster, decoders):
    assert seen(split, 480, decoders=decoders) == seen(split, 480)
    assert seen(split, 48, 9, rank=1, world=2, decoders=decoders) == seen(split, 48, 9, rank=1, world=2)


def decoding_processes() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if "decode_window" in process.cmdline()[0]]


@pytest.mark.slow
def test_tasks_stand_still_when_parts_wait_and_end_when_nobody_takes_more(split, ray_cluster):
    from unlatent.platform.streaming import stream

    large = ImageSplit(replace(split.pixels, image_size=512), split.labels)  # five parts, of which two may wait
    parts = stream(large, Classes(), iter([np.arange(200)] * 3), 1)
    next(parts)
    time.sleep(5)
    standing = decoding_processes()

    parts.close()

    assert len(standing) == 2
    deadline = time.monotonic() + 20
    while decoding_processes():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_picture_that_a_task_cannot_read_is_named_in_one_line(ray_cluster, tmp_path):
    table = pa.table({"image": [b"no picture"] * 30, "label": [0] * 30})
    pq.write_table(table, tmp_path / "bad.parquet")
    bad = open_dataset(DataConfig(kind="parquet", root=str(tmp_path), held_out=0.0), Store(tmp_path / "store")).train

    with pytest.raises(ValueError, match=r"bad\.parquet, row group 0, image \d+ is no readable picture") as refused:
        next(batches(bad, bad.order(0, 24), range(0, 24, 24), 0, 1, 1))
    assert "\n" not in str(refused.value)
