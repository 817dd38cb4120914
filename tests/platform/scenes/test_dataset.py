"""Scenes as a data set: `data=scenes`."""

import multiprocessing
import os
import signal

import pytest

from unlatent.platform.config import compose_config
from unlatent.platform.datasets import draw_scenes, listing, open_dataset
from unlatent.platform.scenes import CLASSES, read_pairs
from unlatent.platform.store import Store

FEW = ["data=scenes", "model=text_tiny", "data.scenes.images=300", "data.scenes.pairs=4"]


def config_of(*overrides):
    return compose_config([*FEW, *overrides]).data


def test_they_are_drawn_once_and_are_the_same_in_every_store(tmp_path):
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    dataset = open_dataset(config_of(), first)
    shards = sorted((tmp_path / "first").rglob("*.parquet"))
    written = [(path, path.stat().st_mtime_ns) for path in shards]

    again, elsewhere = open_dataset(config_of(), first), open_dataset(config_of(), second)

    assert len(dataset.train) + len(dataset.held_out) == 300 and dataset.classes == CLASSES
    assert dataset.name == "scenes" and dataset.hash == again.hash == elsewhere.hash
    assert [(path, path.stat().st_mtime_ns) for path in shards] == written
    assert len(list(read_pairs(draw_scenes(config_of(), first)))) == 4


def test_their_identity_is_known_before_they_are_drawn(tmp_path):
    one, other = config_of(), config_of("data.scenes.seed=1")

    assert listing(one) != listing(other)
    before = listing(one)
    open_dataset(one, Store(tmp_path))
    assert listing(one) == before


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("data.image_size=40", r"data\.image_size=40 is not a multiple of 16 from 64 to 512"),
        ("data.scenes.images=7", r"data\.scenes\.images=7 is below 30"),
        ("data.scenes.pairs=-1", r"data\.scenes\.pairs=-1 is below 0"),
    ],
)
def test_scenes_that_cannot_be_drawn_are_refused(setting, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_of(setting)


def open_it(folder: str) -> None:
    open_dataset(config_of("data.scenes.images=2000"), Store(folder))


@pytest.mark.slow
def test_what_was_killed_while_it_drew_goes_on(tmp_path):
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=open_it, args=(str(tmp_path),))
    process.start()
    while not list(tmp_path.rglob("*.parquet")):
        assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    dataset = open_dataset(config_of("data.scenes.images=2000"), Store(tmp_path))

    assert len(dataset.train) + len(dataset.held_out) == 2000
