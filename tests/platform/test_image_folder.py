import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from unlatent.platform import image_folder
from unlatent.platform.image_folder import choose_held_out, list_images, open_folder
from unlatent.platform.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def root(tmp_path):
    for path in ("b/1.png", "b/2.jpg", "a/deep/er/3.PNG", "a/4.bmp"):
        add_picture(tmp_path / "pictures" / path)
    return tmp_path / "pictures"


def add_picture(path, size=(10, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path)


def opened(root, store, skip_broken=False, image_size=8, held_out=0.1):
    return open_folder(Store(root), image_size, held_out, skip_broken, store)


def test_classes_are_the_sub_folders_and_everything_is_in_order(root, store):
    folder = opened(root, store)

    assert folder.classes == ["a", "b"]
    assert folder.paths == ["a/4.bmp", "a/deep/er/3.PNG", "b/1.png", "b/2.jpg"]
    assert folder.labels.tolist() == [0, 0, 1, 1]


def test_what_is_hidden_or_no_picture_is_not_looked_at(root, store):
    add_picture(root / "a" / ".hidden.png")
    add_picture(root / "a" / ".cache" / "5.png")
    add_picture(root / ".trash" / "6.png")
    (root / "a" / "notes.txt").write_text("no picture")
    (root / "loose.png").write_bytes(b"outside every class")

    assert len(list_images(Store(root))) == 4


def test_a_broken_file_is_refused_by_name(root, store):
    (root / "a" / "bad.png").write_bytes(b"broken")

    with pytest.raises(
        ValueError, match=r"1 of 5 files .*a/bad\.png: .*data\.broken=skip would leave them out"
    ) as refused:
        opened(root, store)

    assert "\n" not in str(refused.value)


def test_a_broken_file_is_skipped_and_named_if_so_configured(root, store):
    (root / "a" / "bad.png").write_bytes(b"broken")

    folder = opened(root, store, skip_broken=True)

    assert len(folder.paths) == 4
    assert folder.broken[0].startswith("a/bad.png: cannot identify image file")


def test_a_class_of_broken_files_alone_is_refused(root, store):
    (root / "c").mkdir()
    (root / "c" / "bad.png").write_bytes(b"")

    with pytest.raises(ValueError, match="class 'c' has no picture that can be read"):
        opened(root, store, skip_broken=True)


def test_a_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path, store):
    with pytest.raises(ValueError, match=r"data\.root=.*/missing is not a folder"):
        opened(tmp_path / "missing", store)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="has no sub-folders"):
        opened(tmp_path / "bare", store)
    (tmp_path / "bare" / "cat").mkdir()
    with pytest.raises(ValueError, match="class 'cat' is empty"):
        opened(tmp_path / "bare", store)


def test_the_second_start_decodes_nothing(root, store, monkeypatch):
    first = opened(root, store)
    monkeypatch.setattr(image_folder, "inspect_image", None)

    assert opened(root, store).paths == first.paths


def test_the_index_is_plain_parquet(root, store):
    opened(root, store)

    [path] = store.local("artifacts/datasets").glob("*/index.parquet")
    index = pd.read_parquet(path)

    assert index[["path", "class", "width", "height"]].to_numpy().tolist()[0] == ["a/4.bmp", "a", 10, 12]
    assert index["error"].isna().all()


def test_a_folder_is_looked_through_once_whatever_it_is_cropped_to_and_however_it_is_split(root, store, monkeypatch):
    opened(root, store)
    monkeypatch.setattr(image_folder, "inspect_image", None)

    assert opened(root, store, image_size=4, held_out=0.5).paths == opened(root, store).paths


def test_the_hash_follows_names_sizes_crop_and_split(root, store):
    before = opened(root, store).hash

    assert opened(root, store, image_size=4).hash != before
    assert opened(root, store, held_out=0.2).hash != before
    os.utime(root / "b" / "1.png", (0, 0))
    assert opened(root, store).hash == before
    add_picture(root / "b" / "1.png", size=(90, 80))
    assert opened(root, store).hash != before


def test_a_picture_that_goes_bad_later_is_named(root, store):
    pixels = image_folder.FolderPixels(Store(root), opened(root, store).paths, 8)
    (root / "a" / "4.bmp").write_bytes(b"broken")

    with pytest.raises(ValueError, match=r"a/4\.bmp was a picture"):
        list(pixels.read_parts([np.array([0])], [(8, 8)], 1))


def test_files_added_later_leave_the_split_of_the_others_as_it_was():
    paths = [f"a/{index}.png" for index in range(200)]

    few = choose_held_out(paths[:100], np.zeros(100, np.int64), 0.3)
    many = choose_held_out(paths, np.zeros(200, np.int64), 0.3)

    assert np.array_equal(few, many[:100])
    assert 0.2 < many.mean() < 0.4


def test_of_every_class_something_is_left_to_train_on():
    paths = [f"{label}/{index}.png" for label in range(30) for index in range(2)]

    mask = choose_held_out(paths, np.repeat(np.arange(30), 2), 0.95)

    assert (~mask).reshape(30, 2).any(axis=1).all()
