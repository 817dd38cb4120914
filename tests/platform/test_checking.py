import io
import subprocess
import sys

import pytest
from PIL import Image

from tests.picture_files import COUNT, make_pictures, write_folder, write_parquet
from unlatent.platform.checking import check, class_rows, sample_grid, summary
from unlatent.platform.datasets import DataConfig, open_dataset


def opened(root, store, kind="parquet", **settings):
    return open_dataset(DataConfig(kind=kind, root=str(root), **{"held_out": 0.0, "image_size": 10, **settings}), store)


def found(dataset, most=None):
    return check(dataset, most, lambda done, total: None)


def test_what_there_is_is_counted(tmp_path, store):
    write_folder(tmp_path / "pictures", make_pictures())
    (tmp_path / "pictures" / "cat" / "003.txt").write_text("a cat")

    findings = found(opened(tmp_path / "pictures", store, "imagefolder"))

    assert findings.classes == {"cat": 50, "dog": 50, "owl": 50}
    assert (findings.looked_at, findings.captions, findings.broken, findings.twice) == (COUNT, 1, {}, [])
    assert findings.formats == {"PNG RGB": COUNT}
    assert findings.smaller_than(10) == 30, "a fifth is 9 pixels high"
    lines = summary(findings, 10)
    assert "classes: 3, of 50 to 50 images, median 50" in lines and "height: 9 to 13 pixels, median 11" in lines


def test_broken_images_of_shards_are_named_and_those_twice_there(tmp_path, store):
    pictures = make_pictures()
    write_parquet(tmp_path / "shards", [*pictures[:100], b"", pictures[7], pictures[101][:60], *pictures[103:]])

    findings = found(opened(tmp_path / "shards", store))

    assert list(findings.broken) == [100, 102]
    assert "train-00070.parquet, row group 1, image 14: cannot identify image file" in findings.broken[100]
    [(first, second)] = findings.twice
    assert first.endswith("row group 0, image 7") and second.endswith("row group 1, image 15")


def test_a_sample_is_spread_evenly(tmp_path, store):
    write_parquet(tmp_path / "shards", make_pictures())

    assert found(opened(tmp_path / "shards", store), most=30).looked_at == 30


def test_only_the_ends_of_many_classes_are_shown(tmp_path, store):
    write_parquet(tmp_path / "shards", make_pictures(), [min(number, 30) for number in range(COUNT)], named=False)

    rows = class_rows(found(opened(tmp_path / "shards", store)))

    assert len(rows) == 10 and rows[0] == {"class": "30", "images": "120"}


def test_the_grid_shows_images_that_were_looked_at_and_can_be_read(tmp_path, store):
    write_parquet(tmp_path / "shards", [*make_pictures()[:149], b"broken"])
    dataset = opened(tmp_path / "shards", store)

    everything, some = (check(dataset, most, lambda done, total: None) for most in (None, 5))

    for findings, columns, rows in ((everything, 8, 8), (some, 8, 1)):
        with Image.open(io.BytesIO(sample_grid(dataset, findings))) as grid:
            assert grid.size == ((columns * 11 - 1) * 6, (rows * 11 - 1) * 6)


def test_where_nothing_can_be_read_there_is_no_grid_and_all_is_named(tmp_path, store):
    write_parquet(tmp_path / "shards", [b"broken"] * 3, [0, 1, 2])
    dataset = opened(tmp_path / "shards", store)

    findings = check(dataset, None, lambda done, total: None)

    assert sample_grid(dataset, findings) is None and len(findings.broken) == 3


def unlatent(*arguments):
    return subprocess.run([sys.executable, "-m", "unlatent.pipelines", *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_training_leaves_out_what_a_check_has_found_broken_if_so_configured(tmp_path, store):
    write_parquet(tmp_path / "shards", [*make_pictures()[:149], b"broken"])
    where, kept = str(tmp_path / "shards"), f"store={store.root}"

    for _ in range(2):  # a second check looks at all of them again
        done = unlatent("data", "check", where, kept, "--grid", str(tmp_path / "grid.png"))
        assert done.returncode == 1 and "train-00140.parquet, row group 0, image 9" in done.stdout
        assert done.stderr.startswith("error: 1 images cannot be read") and (tmp_path / "grid.png").exists()

    with pytest.raises(ValueError, match=r"1 of 150 files cannot be read .*data\.broken=skip would leave them out"):
        opened(where, store)
    dataset = opened(where, store, broken="skip", held_out=0.1)
    assert len(dataset.train) + len(dataset.held_out) == 149 and len(dataset.skipped) == 1
    assert dataset.train.read(range(len(dataset.train))).shape[1:] == (3, 10, 10)


@pytest.mark.slow
def test_a_check_tells_how_many_images_go_into_each_bucket(tmp_path):
    write_folder(tmp_path / "pictures", make_pictures())  # 12 pixels wide, and 9 to 13 high

    done = unlatent(
        "data", "check", str(tmp_path / "pictures"), f"store={tmp_path / 'store'}",
        "--image-size", "32", "--max-aspect-ratio", "1.5",
    )  # fmt: skip

    assert done.returncode == 0
    assert "buckets: 90 of 32x32, 60 of 36x28 pixels" in done.stdout


@pytest.mark.slow
def test_buckets_of_another_step_are_asked_for_by_an_override(tmp_path):
    write_folder(tmp_path / "pictures", make_pictures())
    told = ("data", "check", str(tmp_path / "pictures"), f"store={tmp_path / 'store'}", "--image-size", "100")

    refused = unlatent(*told, "--max-aspect-ratio", "2")
    done = unlatent(*told, "--max-aspect-ratio", "2", "data.bucket_step=20")

    assert refused.returncode == 2 and "data.bucket_step=12 does not divide data.image_size=100" in refused.stderr
    assert done.returncode == 0 and "buckets: " in done.stdout


@pytest.mark.slow
def test_a_whole_folder_ends_with_status_0(tmp_path):
    write_folder(tmp_path / "pictures", make_pictures())

    done = unlatent("data", "check", str(tmp_path / "pictures"), f"store={tmp_path / 'store'}", "--sample", "20")

    assert (done.returncode, done.stderr) == (0, "") and "looked at: 20 images, 0 of them broken" in done.stdout
