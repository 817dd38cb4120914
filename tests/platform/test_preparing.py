import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from tests.picture_files import CLASSES, COUNT, label_of, make_pictures, write_folder, write_webdataset
from unlatent.platform import shard_folder
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.preparing import Preparation, prepare
from unlatent.platform.store import Store


@pytest.fixture
def source(tmp_path, store):
    """A folder of 150 pictures, one of them with a caption, opened."""
    write_folder(tmp_path / "pictures", make_pictures())
    (tmp_path / "pictures" / "cat" / "003.txt").write_text("a cat\n")
    return open_folder(tmp_path / "pictures", store)


def open_folder(root, store, image_size=8):
    return open_dataset(DataConfig(kind="imagefolder", root=str(root), image_size=image_size, held_out=0.0), store)


def planned(dataset, **settings):
    shared = {"source": "pictures", "source_hash": dataset.hash, "images": COUNT, "classes": dataset.classes}
    return Preparation(**shared, **{"image_size": None, "seed": 0, "shard_images": 64, **settings})


def prepared(dataset, out, **settings) -> pd.DataFrame:
    """Writes the shards. Returns their rows, in order."""
    prepare(dataset, planned(dataset, **settings), Store(out), lambda done, total: None)
    return pd.concat(pd.read_parquet(path) for path in sorted(out.glob("*.parquet")))


def test_files_are_copied_bit_for_bit_with_labels_and_captions_in_random_order(source, tmp_path):
    rows = prepared(source, tmp_path / "out")

    pictures = make_pictures()
    places = [pictures.index(image["bytes"]) for image in rows["image"]]
    assert sorted(places) == list(range(COUNT)) != places
    assert list(rows["label"]) == [label_of(place) for place in places]
    assert [place for place, caption in zip(places, rows["caption"], strict=True) if caption] == [3]
    assert set(rows["caption"]) == {"", "a cat"}


def test_images_are_cropped_to_the_buckets_that_training_would_choose(source, tmp_path, store):
    told = {"image_size": 8, "held_out": 0.0, "max_aspect_ratio": 2.0}
    folder = open_dataset(DataConfig(kind="imagefolder", root=str(tmp_path / "pictures"), **told), store)

    prepared(folder, tmp_path / "out", image_size=8, max_aspect_ratio=2.0)

    shards = open_dataset(DataConfig(kind="parquet", root=str(tmp_path / "out"), **told), store)
    ours, theirs = (
        sorted(
            (sides, image.tobytes())
            for part, sides in split.parts(np.arange(COUNT), COUNT)
            for image in next(split.pixels.read_parts([part], [sides], 1))
        )
        for split in (shards.train, folder.train)
    )
    assert ours == theirs and len({sides for sides, _ in ours}) > 1


def test_what_is_trained_on_is_the_same_from_the_folder_and_from_its_shards(source, tmp_path, store):
    for size in (None, 8):
        prepared(source, tmp_path / f"out-{size}", image_size=size)
        shards = open_dataset(
            DataConfig(kind="parquet", root=str(tmp_path / f"out-{size}"), image_size=8, held_out=0.0), store
        )

        assert shards.classes == CLASSES and sorted(shards.train.labels) == sorted(source.train.labels)
        ours, theirs = (split.read(range(COUNT)).flatten(1) for split in (shards.train, source.train))
        assert sorted(map(bytes, ours.numpy())) == sorted(map(bytes, theirs.numpy()))


def test_shards_of_tar_files_become_parquet(tmp_path, store):
    write_webdataset(tmp_path / "tar", make_pictures())
    dataset = open_dataset(DataConfig(kind="webdataset", root=str(tmp_path / "tar"), held_out=0.0), store)

    rows = prepared(dataset, tmp_path / "out")

    assert sorted(rows["caption"]) == sorted(f"picture {number}" for number in range(COUNT))


def test_the_same_source_and_seed_give_the_same_bytes(source, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepared(source, tmp_path / name, seed=seed)

    first, again, other = ((tmp_path / name / "00000-of-00003.parquet").read_bytes() for name in "abc")
    assert first == again != other


def test_shards_that_are_there_are_not_written_again(source, tmp_path):
    prepared(source, tmp_path / "out")
    shards = sorted((tmp_path / "out").glob("*.parquet"))
    times = {path: path.stat().st_mtime_ns for path in shards}
    shards[1].unlink()

    prepared(source, tmp_path / "out")

    assert [path for path in shards if path.stat().st_mtime_ns != times[path]] == [shards[1]]


def test_a_folder_that_holds_something_else_is_refused(source, tmp_path):
    prepared(source, tmp_path / "out")
    with pytest.raises(ValueError, match="was prepared with seed=0, not 1; another folder would do"):
        prepared(source, tmp_path / "out", seed=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("…")
    with pytest.raises(ValueError, match=r"full is not empty: it holds thesis\.doc"):
        prepared(source, tmp_path / "full")


def test_the_columns_are_described_for_hugging_faces_readers(source, tmp_path):
    import pyarrow.parquet as pq

    prepared(source, tmp_path / "out")

    shard = pq.ParquetFile(tmp_path / "out" / "00000-of-00003.parquet")
    said = json.loads(shard.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    assert said["label"] == {"names": CLASSES, "_type": "ClassLabel"} and said["image"] == {"_type": "Image"}
    assert shard.metadata.row_group(0).num_rows == shard_folder.ROW_GROUP


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_and_ends_with_the_same_shards(tmp_path):
    write_folder(tmp_path / "pictures", make_pictures())
    asked = [sys.executable, "-m", "unlatent.pipelines", "data", "prepare", str(tmp_path / "pictures")]
    options = ["--shard-images", "1", f"store={tmp_path / 'store'}"]
    subprocess.run([*asked, str(tmp_path / "whole"), *options], check=True, capture_output=True)

    running = subprocess.Popen([*asked, str(tmp_path / "cut"), *options], stdout=subprocess.DEVNULL)
    while len(list((tmp_path / "cut").glob("*.parquet"))) < 5:
        assert running.poll() is None
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait()
    there = len(list((tmp_path / "cut").glob("*.parquet")))
    done = subprocess.run([*asked, str(tmp_path / "cut"), *options], capture_output=True, text=True)

    assert there < COUNT and done.returncode == 0, done.stderr
    folders = (tmp_path / name for name in ("whole", "cut"))
    whole, cut = ({path.name: path.read_bytes() for path in folder.glob("*.parquet")} for folder in folders)
    assert whole == cut and len(whole) == COUNT
    assert "next: unlatent train data=parquet data.root=" in done.stdout


def test_a_picture_that_cannot_be_cropped_is_named(source, tmp_path):
    (tmp_path / "pictures" / "dog" / "060.png").write_bytes(b"gone bad")

    with pytest.raises(ValueError, match=r"dog/060\.png is no readable picture"):
        prepared(source, tmp_path / "out", image_size=8)
