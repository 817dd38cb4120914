import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.picture_files import (
    CLASSES,
    COUNT,
    WRITERS,
    label_of,
    make_pictures,
    write_parquet,
    write_tar,
    write_webdataset,
)
from unlatent.platform import shards
from unlatent.platform.data_order import ChunkShuffle, FullShuffle
from unlatent.platform.datasets import DataConfig, open_dataset


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return make_pictures()


def opened(root, store, kind, **settings):
    return open_dataset(DataConfig(kind=kind, root=str(root), image_size=8, **{"held_out": 0.0, **settings}), store)


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_shards_hold_what_a_folder_of_the_same_files_holds(tmp_path, store, pictures, kind):
    for each in ("imagefolder", kind):
        WRITERS[each](tmp_path / each, pictures)

    folder, sharded = (opened(tmp_path / each, store, each) for each in ("imagefolder", kind))

    assert sharded.classes == folder.classes == CLASSES and len(sharded.train) == COUNT
    assert np.array_equal(sharded.train.labels, folder.train.labels)
    assert torch.equal(sharded.train.read(range(COUNT)), folder.train.read(range(COUNT)))


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_images_and_captions_come_in_the_order_asked_for(tmp_path, store, pictures, kind):
    WRITERS[kind](tmp_path / kind, pictures)
    split = opened(tmp_path / kind, store, kind).train
    wanted = np.array([149, 3, 77, 3, 70, 69])

    images, captions = split.read(wanted), split.pixels.captions(wanted)

    assert torch.equal(images, split.read(range(COUNT))[wanted])
    assert captions == [f"picture {number}" for number in wanted]


@pytest.mark.parametrize("kind", ["imagefolder", "parquet", "webdataset"])
def test_a_share_is_held_out_without_overlap_or_loss(tmp_path, store, pictures, kind):
    WRITERS[kind](tmp_path / kind, pictures)

    dataset = opened(tmp_path / kind, store, kind, held_out=0.3)

    parts = [
        {bytes(image.numpy()) for image in split.read(range(len(split)))} for split in (dataset.train, dataset.held_out)
    ]
    assert len(parts[0] | parts[1]) == COUNT and not parts[0] & parts[1]
    assert 20 <= len(dataset.held_out) <= 70
    again = opened(tmp_path / kind, store, kind, held_out=0.3)
    assert np.array_equal(again.held_out.labels, dataset.held_out.labels) and again.hash == dataset.hash


def test_shards_are_shuffled_by_chunks_and_folders_image_by_image(tmp_path, store, pictures):
    for kind, write in WRITERS.items():
        write(tmp_path / kind, pictures)

    orders = {kind: opened(tmp_path / kind, store, kind).train.order(5, 24) for kind in WRITERS}

    assert isinstance(orders["imagefolder"], FullShuffle)
    assert isinstance(orders["parquet"], ChunkShuffle) and sum(orders["parquet"].lengths) == COUNT
    assert list(orders["parquet"].lengths) == [16, 16, 16, 16, 6, 16, 16, 16, 16, 6, 10]
    assert list(orders["webdataset"].lengths) == [64, 6, 64, 6, 10]


def test_a_chunk_is_read_once_for_all_its_images(tmp_path, store, pictures, monkeypatch):
    write_parquet(tmp_path / "shards", pictures)
    split, reads = opened(tmp_path / "shards", store, "parquet").train, []
    real = shards.parquet_shards.read
    monkeypatch.setattr(shards.parquet_shards, "read", lambda rows, file: reads.append(len(rows)) or real(rows, file))

    split.read([0, 100, 5, 2, 101])

    assert sorted(reads) == [2, 3]


def test_labels_may_be_names_numbers_or_missing(tmp_path, store, pictures):
    write_parquet(
        tmp_path / "names", pictures, [CLASSES[::-1][label_of(number)] for number in range(COUNT)], named=False
    )
    write_parquet(tmp_path / "numbers", pictures, named=False, plain=True)
    write_parquet(tmp_path / "none", pictures, [None] * COUNT, named=False)

    names, numbers, none = (opened(tmp_path / each, store, "parquet") for each in ("names", "numbers", "none"))

    assert names.classes == CLASSES and names.train.labels[0] == 2
    assert numbers.classes == ["0", "1", "2"] and numbers.train.labels[0] == 0
    assert none.classes == ["image"] and set(none.train.labels) == {0}


def test_the_second_start_looks_through_no_shard(tmp_path, store, pictures, monkeypatch):
    write_webdataset(tmp_path / "shards", pictures)
    first = opened(tmp_path / "shards", store, "webdataset")
    monkeypatch.setattr(shards, "look_through", None)

    again = opened(tmp_path / "shards", store, "webdataset")

    assert np.array_equal(again.train.labels, first.train.labels) and again.classes == first.classes


def test_another_shard_is_another_data_set(tmp_path, store, pictures):
    write_parquet(tmp_path / "shards", pictures)
    before = opened(tmp_path / "shards", store, "parquet").hash
    assert opened(tmp_path / "shards", store, "parquet", held_out=0.1).hash != before

    write_parquet(tmp_path / "shards" / "more", pictures[:9])

    assert opened(tmp_path / "shards", store, "parquet").hash != before


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_a_picture_that_cannot_be_read_is_named_by_its_place(tmp_path, store, pictures, kind):
    WRITERS[kind](tmp_path / kind, [*pictures[:80], b"no picture", *pictures[81:]])
    split = opened(tmp_path / kind, store, kind).train

    place = "train-00070.parquet, row group 0, image 10" if kind == "parquet" else "00070.tar, part 0, image 10"
    with pytest.raises(ValueError, match=f"{place} is no readable picture: cannot identify image file") as refused:
        split.read([79, 80])
    assert "\n" not in str(refused.value) and "BytesIO" not in str(refused.value)


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        (
            "parquet",
            lambda root: cut(root / "train-00070.parquet", 500),
            r"train-00070\.parquet is no whole Parquet file",
        ),
        ("webdataset", lambda root: cut(root / "00000.tar", 20_000), r"00000\.tar is no whole tar file"),
        ("webdataset", lambda root: (root / "00000.tar").write_bytes(b"x" * 2000), r"00000\.tar is no whole tar file"),
        ("parquet", lambda root: [path.unlink() for path in root.iterdir()], r"holds no \.parquet files"),
        (
            "parquet",
            lambda root: pq.write_table(pa.table({"a": [1]}), root / "b.parquet"),
            "b.parquet has none of the columns image, img",
        ),
        (
            "webdataset",
            lambda root: write_tar(root / "x.tar", [("1.png", b"x")]),
            "1 of 151 images have no label",
        ),
    ],
)
def test_shards_that_are_not_whole_are_refused_by_name(tmp_path, store, pictures, kind, spoil, message):
    WRITERS[kind](tmp_path / kind, pictures)
    spoil(tmp_path / kind)

    with pytest.raises(ValueError, match=message) as refused:
        opened(tmp_path / kind, store, kind)
    assert "\n" not in str(refused.value)


def test_a_class_without_an_image_is_refused_by_name(tmp_path, store, pictures):
    write_parquet(tmp_path / "gap", pictures, [2 * (number % 2) for number in range(COUNT)])

    with pytest.raises(ValueError, match="class 'dog' has no image"):
        opened(tmp_path / "gap", store, "parquet")


def test_a_root_that_is_not_there_is_refused_by_name(tmp_path, store):
    for kind in ("imagefolder", "parquet"):
        with pytest.raises(ValueError, match=r"data\.root=.*/nowhere is not a folder"):
            opened(tmp_path / "nowhere", store, kind)


def test_shards_of_the_same_names_and_sizes_keep_labels_of_their_own(tmp_path, store, pictures):
    for name, labels in (("one", [0, 1] * 4), ("two", [1, 0] * 4)):
        write_parquet(tmp_path / name, pictures[:8], labels, named=False)
    one, two = (opened(tmp_path / name, store, "parquet") for name in ("one", "two"))

    assert one.train.labels.tolist() == [0, 1] * 4 and two.train.labels.tolist() == [1, 0] * 4
    assert one.hash != two.hash


def test_labels_that_are_corrected_in_place_are_noticed(tmp_path, store, pictures):
    def write(first: bytes, second: bytes) -> None:
        members = [("0.png", pictures[0]), ("0.cls", first), ("1.png", pictures[1]), ("1.cls", second)]
        write_tar(tmp_path / "shards" / "0.tar", members)

    write(b"0", b"1")
    before = opened(tmp_path / "shards", store, "webdataset")
    write(b"1", b"0")
    after = opened(tmp_path / "shards", store, "webdataset")

    assert (before.train.labels.tolist(), after.train.labels.tolist()) == ([0, 1], [1, 0])
    assert before.hash != after.hash


def test_names_of_a_categorical_column_are_labels(tmp_path, store, pictures):
    names = pa.array(["dog", "cat", "dog"]).dictionary_encode()
    (tmp_path / "shards").mkdir()
    pq.write_table(pa.table({"image": pictures[:3], "label": names}), tmp_path / "shards" / "0.parquet")

    dataset = opened(tmp_path / "shards", store, "parquet")

    assert dataset.classes == ["cat", "dog"] and dataset.train.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a.jpg", "b.jpg"]}, r"has the column image of string; the bytes of image files would do"),
        ({"image": [{"path": "a.jpg"}, {"path": "b.jpg"}]}, r"has the column image of struct<path: string>"),
        ({"image": [b"", b""], "label": [[1], [2]]}, r"has the column label of list<.*>; numbers or names would do"),
        ({"image": [b"", b""], "label": [0.5, 1.0]}, r"has the column label of double; numbers or names would do"),
        ({"image": [b"", b""], "label": [0, 30_000_000]}, r"label 30000000 is above the 2 images there are"),
    ],
)
def test_columns_of_other_types_are_refused_by_name(tmp_path, store, columns, message):
    (tmp_path / "shards").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "shards" / "0.parquet")

    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "shards", store, "parquet")


def test_captions_that_are_no_texts_are_refused_where_they_are_wanted(tmp_path, store, pictures):
    (tmp_path / "shards").mkdir()
    pq.write_table(pa.table({"image": pictures[:2], "caption": [["a"], ["b"]]}), tmp_path / "shards" / "0.parquet")

    dataset = opened(tmp_path / "shards", store, "parquet")

    assert dataset.train.read([0, 1]).shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"column caption of list<.*>; texts would do"):
        dataset.train.files.captions(np.arange(2))
