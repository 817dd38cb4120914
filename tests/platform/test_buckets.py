"""Images cropped to one of several sizes of about the same area, and batches of one size each."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.picture_files import WRITERS, write_tar
from unlatent.models.network import PixelTransformer
from unlatent.platform import checkpoints, cluster, runs
from unlatent.platform.batches import batches
from unlatent.platform.buckets import BucketOrder, nearest, sides_of_buckets
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.data_order import FullShuffle
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.image_decoding import decode
from unlatent.platform.training import Worker, train

COUNT = 150
SIDES = [(16, 16), (16, 32), (12, 17), (40, 10), (20, 18), (9, 9), (30, 21)]  # heights and widths of pictures, in turns


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Each of one colour that no other has."""
    files = []
    for number in range(COUNT):
        height, width = SIDES[number % len(SIDES)]
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (number, 0, 255 - number)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files


@pytest.fixture(params=list(WRITERS))
def split(request, tmp_path, store, pictures):
    """The same pictures as a folder and as shards of both kinds."""
    WRITERS[request.param](tmp_path / "pictures", pictures)
    return opened(tmp_path / "pictures", store, request.param).train


def opened(root, store, kind, **settings):
    told = {"image_size": 16, "held_out": 0.0, "max_aspect_ratio": 2.0, "bucket_step": 4, **settings}
    return open_dataset(DataConfig(kind=kind, root=str(root), **told), store)


def seen(split, first=0, steps=50, rank=0, world=1, batch_size=12, decoders=0):
    """The sides of some batches, and which pictures each has."""
    order, positions = split.order(3, batch_size), range(first * batch_size, (first + steps) * batch_size, batch_size)
    found = []
    for images, _ in batches(split, order, positions, rank, world, decoders):
        found.append((tuple(images.shape[2:]), images[:, 0, 0, 0].tolist()))
    return found


def test_buckets_are_of_about_one_area_and_of_no_wider_proportion():
    for image_size, step, ratio in ((256, 32, 2.0), (512, 64, 4.0), (1024, 128, 2.5), (16, 2, 3.0)):
        sides = sides_of_buckets(image_size, step, ratio)

        assert (image_size, image_size) in sides and len(sides) == len(set(sides)) > 2
        assert all(height % step == 0 == width % step for height, width in sides)
        assert all(max(each) <= ratio * min(each) for each in sides)
        assert all(0.8 < height * width / image_size**2 < 1.25 for height, width in sides)
        assert {(width, height) for height, width in sides} == set(sides)


def test_an_image_goes_where_least_of_it_is_cut_off():
    sides = [(16, 8), (12, 12), (8, 16)]
    images = np.array([(100, 100), (100, 130), (100, 150), (90, 100), (300, 100), (500, 1000)])

    assert nearest(sides, images).tolist() == [1, 1, 2, 1, 0, 2]


def test_a_batch_is_of_one_bucket_and_each_image_in_the_bucket_of_its_proportion(split):
    found = seen(split)

    assert len({sides for sides, _ in found}) == len(split.buckets.sides) == 5
    heights_and_widths = np.array([SIDES[number % len(SIDES)] for number in range(COUNT)])
    wanted = nearest(sides_of_buckets(16, 4, 2.0), heights_and_widths)
    all_sides = sides_of_buckets(16, 4, 2.0)
    assert all(all_sides[wanted[number]] == sides for sides, numbers in found for number in numbers)


def test_every_image_comes_once_before_any_comes_twice_and_none_is_lost(split):
    times = np.bincount([number for _, numbers in seen(split, steps=100) for number in numbers], minlength=COUNT)

    assert times.sum() == 1200
    for members in split.buckets.members():
        of_bucket = times[[split.read([index])[0, 0, 0, 0].item() for index in members]]
        assert of_bucket.max() - of_bucket.min() <= 1
        assert abs(of_bucket.mean() - 1200 / COUNT) <= 12 / len(members) + 1, "in proportion to how many there are"


@pytest.mark.parametrize("world", [2, 3, 4])
def test_workers_share_each_batch_without_overlap_or_loss(split, world):
    shares = [seen(split, rank=rank, world=world) for rank in range(world)]

    for parts, (sides, numbers) in zip(zip(*shares, strict=True), seen(split), strict=True):
        assert all(each == sides for each, _ in parts)
        assert sorted(number for _, part in parts for number in part) == sorted(numbers)


@pytest.mark.parametrize("first", [1, 12, 13, 49])
def test_from_any_step_on_they_are_the_rest_of_the_whole(split, first):
    assert seen(split, first, 50 - first) == seen(split)[first:]


@pytest.mark.slow
def test_tasks_give_the_same_batches(split):
    cluster.connect(ClusterConfig(cpus=2))
    try:
        assert seen(split, 7, decoders=1) == seen(split, 7)
    finally:
        cluster.disconnect()


def test_a_bucket_with_fewer_images_than_a_batch_has_its_turn_too():
    order = BucketOrder([np.arange(3), np.arange(3, 100)], [FullShuffle(3, 0), FullShuffle(97, 0)], 16, 0)

    dealt = [order.batch(number)[0] for number in range(625)]  # 100 epochs

    assert dealt.count(0) == pytest.approx(100 * 3 / 16, abs=1)


def test_what_is_evaluated_and_shown_stays_square(split):
    assert split.read(range(5)).shape == (5, 3, 16, 16)


def test_a_crop_fills_both_sides_and_is_of_the_centre():
    pixels = np.zeros((40, 90, 3), dtype=np.uint8)
    pixels[:, 30:60] = 255  # a white square in the middle, three fifths of a crop of 40 x 50
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")

    cropped = decode(io.BytesIO(file.getvalue()), 8, 10)

    assert cropped.shape == (3, 8, 10)
    assert cropped[0, :, 3:7].min() > 250 and cropped[0, :, [0, 9]].max() < 5


def test_a_picture_that_lies_on_its_side_goes_into_the_bucket_that_it_is_seen_in(tmp_path, store):
    picture, exif = Image.new("RGB", (32, 16)), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif)
    write_tar(tmp_path / "shards" / "0.tar", [("0.jpg", file.getvalue())])

    train_split = opened(tmp_path / "shards", store, "webdataset").train

    assert train_split.buckets.sides == [(24, 12)]


def test_another_choice_of_buckets_is_another_data_set_and_none_is_the_same_as_before(tmp_path, store, pictures):
    WRITERS["parquet"](tmp_path / "pictures", pictures)
    told = [{}, {"max_aspect_ratio": 1.5}, {"bucket_step": 2}, {"max_aspect_ratio": 1.0}]

    hashes = [opened(tmp_path / "pictures", store, "parquet", **settings).hash for settings in told]

    assert len(set(hashes)) == 4
    plain = DataConfig(kind="parquet", root=str(tmp_path / "pictures"), image_size=16, held_out=0.0)
    assert open_dataset(plain, store).hash == hashes[-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.max_aspect_ratio=0.5"], r"data\.max_aspect_ratio=0\.5 is not in 1 … 32; 2 would do"),
        (["data.max_aspect_ratio=inf"], r"data\.max_aspect_ratio=inf is not in 1 … 32"),
        (["data.bucket_step=3"], r"data\.bucket_step=3 does not divide data\.image_size=16; 1, 2, 4, 8 or 16 would"),
        (["data.bucket_step=2"], r"model\.patch_size=4 does not divide data\.bucket_step=2"),
        (
            ["data.image_size=1024", "data.max_aspect_ratio=4", "data.bucket_step=32", "cluster.gpus_per_worker=1"],
            r"data\.bucket_step=32 makes 65 buckets, and a compiled network has graphs for 64 sizes; a larger step",
        ),
        (["data=digits", "data.root=null", "data.image_size=8"], r"data\.max_aspect_ratio=2\.0: digits are squares"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(make_config, tmp_path, settings, message):
    told = ["data=imagefolder", f"data.root={tmp_path}", "data.image_size=16", "data.max_aspect_ratio=2"]

    with pytest.raises(ValueError, match=message):
        make_config(*told, "model.patch_size=4", *settings)


class Cut(BaseException):
    """Stands for the death of the process."""


def test_a_network_is_trained_in_buckets_and_resumed_bit_for_bit(store, make_run, tmp_path, pictures, monkeypatch):
    WRITERS["parquet"](tmp_path / "pictures", pictures)
    data = ["data=parquet", f"data.root={tmp_path / 'pictures'}", "data.image_size=16", "data.workers=0"]
    told = [*data, "data.max_aspect_ratio=2", "data.bucket_step=4", "model.patch_size=4", "train.total_images=512"]
    shapes = []

    def noting(network, x, *others, **asked):
        shapes.append(tuple(x.shape[2:]))
        return forward(network, x, *others, **asked)

    forward = PixelTransformer.forward
    monkeypatch.setattr(PixelTransformer, "forward", noting)
    train(make_run(*told, "train.run=undisturbed"), store, Worker())

    def cut(checkpoint):
        if checkpoint.images_seen == 256:
            raise Cut

    with pytest.raises(Cut):
        train(make_run(*told, "train.run=cut"), store, Worker(report=cut))
    train(make_run(*told, "train.run=cut"), store, Worker())

    assert len(set(shapes)) == 5
    ours, theirs = (
        checkpoints.load_weights(store, runs.last_checkpoint(store, name), "raw") for name in ("cut", "undisturbed")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
