import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unlatent.platform import data_commands
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.scenes import CLASSES, ScenePlan, write_scenes
from unlatent.platform.scenes.images import read_mask
from unlatent.platform.scenes.painting import paint
from unlatent.platform.scenes.scene import scene_at
from unlatent.platform.shard_folder import ROW_GROUP
from unlatent.platform.store import Store

COUNT = 80  # images


def written(folder, workers=1, **settings):
    """The files of a folder of scenes, by their paths, once they are written."""
    planned = ScenePlan(**{"images": COUNT, "pairs": 4, "image_size": 64, **settings})
    write_scenes(planned, Store(folder), workers, lambda done, total: None)
    return files_of(folder)


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")}


def rows_of(folder) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(path) for path in sorted((folder / "images").glob("*.parquet")))


def test_training_reads_images_labels_and_captions(tmp_path, store):
    written(tmp_path / "out", shard_images=32)

    told = {"kind": "parquet", "root": str(tmp_path / "out" / "images"), "image_size": 64, "held_out": 0.0}
    dataset = open_dataset(DataConfig(**told), store)

    assert (dataset.classes, len(dataset.train), dataset.channels) == (CLASSES, COUNT, 3)
    scenes = [scene_at(0, "images", index, 64) for index in range(COUNT)]
    assert list(dataset.train.labels) == [scene.label for scene in scenes]
    assert (dataset.train.read([0, 70]).numpy() == [paint(scenes[index]).image for index in (0, 70)]).all()
    assert dataset.train.files.captions(np.arange(COUNT)) == [scene.caption for scene in scenes]


def test_each_row_says_what_its_image_shows(tmp_path):
    written(tmp_path / "out")

    for index, (_, row) in enumerate(rows_of(tmp_path / "out").iterrows()):
        scene = scene_at(0, "images", index, 64)
        painting = paint(scene)
        assert (read_mask(row["object_mask"]) == painting.object_mask).all()
        assert (read_mask(row["sign_mask"]) == painting.sign_mask).all()
        assert (row["sign_text"], row["sign_pixels"]) == (scene.sign.line.text, scene.sign.line.letter_pixels)
        assert tuple(row["sign_box"]) == scene.sign.plate
        for name in ("shape", "colour", "place", "size", "texture"):
            assert row[name] == getattr(scene, name)


def test_shards_are_read_a_row_group_at_once(tmp_path):
    written(tmp_path / "out")

    shard = pq.ParquetFile(tmp_path / "out" / "images" / "00000-of-00001.parquet")
    assert shard.metadata.row_group(0).num_rows == ROW_GROUP


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(tmp_path):
    first, again = written(tmp_path / "a"), written(tmp_path / "b")
    other = written(tmp_path / "c", seed=1)

    assert first == again and first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


def test_an_image_does_not_depend_on_how_many_there_are(tmp_path):
    written(tmp_path / "few", images=30)
    written(tmp_path / "many", shard_images=7)

    few, many = rows_of(tmp_path / "few"), rows_of(tmp_path / "many")
    assert list(few["caption"]) == list(many["caption"])[:30]
    assert [image["bytes"] for image in few["image"]] == [image["bytes"] for image in many["image"]][:30]


def test_what_is_there_is_not_written_again(tmp_path):
    out, told = tmp_path / "out", []
    written(out, shard_images=32)
    shards = sorted(out.rglob("*.parquet"))
    times = {path: path.stat().st_mtime_ns for path in shards}
    shards[1].unlink()

    planned = ScenePlan(images=COUNT, pairs=4, image_size=64, shard_images=32)
    write_scenes(planned, Store(out), 1, lambda done, total: told.append((done, total)))

    assert [path for path in shards if path.stat().st_mtime_ns != times[path]] == [shards[1]]
    assert told == [(COUNT + 4, COUNT + 4)]


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    written(tmp_path / "out", images=30, pairs=0)
    with pytest.raises(ValueError, match="was prepared with image_size=64, not 80; another folder would do"):
        written(tmp_path / "out", images=30, pairs=0, image_size=80)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("…")
    with pytest.raises(ValueError, match=r"full is not empty: it holds thesis\.doc"):
        written(tmp_path / "full")


def test_what_cannot_be_drawn_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match="image_size=100 is not a multiple of 16 from 64 to 512; 64 would do"):
        data_commands.scenes(str(tmp_path / "out"), image_size=100)
    with pytest.raises(ValueError, match="images=29 is below 30, one of each class"):
        data_commands.scenes(str(tmp_path / "out"), images=29)

    assert not (tmp_path / "out").exists()


def test_the_command_says_how_to_train_on_what_it_wrote(tmp_path, capsys):
    data_commands.scenes(str(tmp_path / "out"), images=30, pairs=1, image_size=64, seed=0, workers=1)

    said = capsys.readouterr().out
    root = f"data.root={tmp_path / 'out' / 'images'} data.image_size=64"
    assert f"next: unlatent train model=text_tiny data=parquet {root}" in said
    with Image.open(io.BytesIO(rows_of(tmp_path / "out")["image"].iloc[0]["bytes"])) as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")


@pytest.mark.slow
def test_any_number_of_processes_writes_the_same_bytes(tmp_path):
    settings = {"images": 120, "pairs": 8, "shard_images": 16, "shard_pairs": 4}

    alone, together = (written(tmp_path / str(workers), workers, **settings) for workers in (1, 3))

    assert alone == together and len(alone) == 10


@pytest.mark.slow
def test_a_command_that_is_killed_leaves_no_process_and_goes_on_to_the_same_shards(tmp_path):
    whole = written(tmp_path / "whole", images=800, pairs=40)
    asked = [sys.executable, "-m", "unlatent.pipelines", "data", "scenes", str(tmp_path / "cut")]
    asked += ["--images", "800", "--pairs", "40", "--workers", "2"]

    running = subprocess.Popen(asked, stdout=subprocess.DEVNULL)
    while not list((tmp_path / "cut").rglob("*.parquet")):
        assert running.poll() is None
        time.sleep(0.01)
    started = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGKILL)
    running.wait()
    _, left = psutil.wait_procs(started, timeout=20)
    there = len(files_of(tmp_path / "cut"))
    done = subprocess.run(asked, capture_output=True, text=True)

    assert len(started) > 2 and not left
    assert done.returncode == 0, done.stderr
    assert there < len(whole) == 9 and files_of(tmp_path / "cut") == whole


@pytest.mark.slow
def test_ctrl_c_is_one_line(tmp_path):
    asked = [sys.executable, "-m", "unlatent.pipelines", "data", "scenes", str(tmp_path / "out"), "--images", "40000"]
    running = subprocess.Popen(
        [*asked, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list(tmp_path.rglob("*.parquet")):
        assert running.poll() is None
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)  # a terminal tells every process of the group
    said, complaints = running.communicate(timeout=60)

    assert running.returncode == 130 and complaints == ""
    assert said.strip().splitlines() == ["stopped; the same command goes on from here"]
