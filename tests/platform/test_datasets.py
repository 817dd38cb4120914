import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        for index in range(20):
            path = tmp_path / "pets" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (10, 12), (index, 0, 0)).save(path)
    return tmp_path / "pets"


def config_of(folder):
    return DataConfig(kind="imagefolder", root=str(folder), image_size=8, held_out=0.3)


def test_digits_split_into_images_to_train_on_and_images_held_out(store):
    dataset = open_dataset(DataConfig(), store)

    assert (len(dataset.train), len(dataset.held_out)) == (1442, 355)
    assert (dataset.channels, dataset.image_size, len(dataset.classes)) == (1, 8, 10)
    assert dataset.hash == open_dataset(DataConfig(), store).hash


def test_images_are_uint8_and_in_the_order_asked_for(store, folder):
    for config, channels in ((DataConfig(), 1), (config_of(folder), 3)):
        split = open_dataset(config, store).train

        images = split.read([5, 0, 5])

        assert (images.dtype, images.shape) == (torch.uint8, (3, channels, 8, 8))
        assert torch.equal(images, torch.cat([split.read([index]) for index in (5, 0, 5)]))


def test_changing_an_image_leaves_the_dataset_as_it_was(store):
    split = open_dataset(DataConfig(), store).train
    before = split.read([0]).clone()

    split.read([0]).zero_()

    assert torch.equal(split.read([0]), before)


def test_a_folder_is_split_without_overlap_or_loss(store, folder):
    dataset = open_dataset(config_of(folder), store)

    splits = [set(split.pixels.paths.to_pylist()) for split in (dataset.train, dataset.held_out)]

    assert len(splits[0] | splits[1]) == 40 and not splits[0] & splits[1]
    assert 5 <= len(splits[1]) <= 20


def test_datasets_pickle(store, folder):
    for config in (DataConfig(), config_of(folder)):
        dataset = open_dataset(config, store)

        copy = pickle.loads(pickle.dumps(dataset))

        assert torch.equal(copy.train.read([1]), dataset.train.read([1]))
        assert np.array_equal(copy.held_out.labels, dataset.held_out.labels)


def test_the_folder_becomes_absolute_at_once(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert DataConfig(kind="imagefolder", root="pets").root == str(tmp_path / "pets")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "imagenet"}, "data.kind='imagenet' is not one of digits, photographs, scenes, imagefolder, parquet"),
        ({"broken": "ignore"}, "data.broken='ignore' is not one of refuse, skip"),
        ({"image_size": 16}, "data.image_size=16: digits are 8 pixels"),
        ({"image_size": 0}, "data.image_size=0"),
        ({"kind": "imagefolder"}, "data.root is not set"),
        ({"kind": "parquet"}, "data.root is not set; data.kind=parquet needs the folder of pictures or shards"),
        ({"held_out": 1.0}, "data.held_out=1.0"),
        ({"workers": -1}, "data.workers=-1"),
    ],
)
def test_what_cannot_work_is_refused_by_name_and_value(settings, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**settings)
