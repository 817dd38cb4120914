import json

import numpy as np
import pytest

from unlatent.platform.legibility import read
from unlatent.platform.scenes import CLASSES, ScenePlan, read_pairs, write_scenes
from unlatent.platform.scenes.pairs import MARGIN, widened
from unlatent.platform.scenes.signs import is_held_out
from unlatent.platform.store import Store


def written(folder, **settings) -> Store:
    """A folder of scenes, few of them to train on."""
    planned = ScenePlan(**{"images": 30, "pairs": 24, "image_size": 64, "shard_pairs": 16, **settings})
    write_scenes(planned, Store(folder), 1, lambda done, total: None)
    return Store(folder)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return list(read_pairs(written(tmp_path_factory.mktemp("scenes") / "out")))


def test_source_and_target_are_the_same_wherever_the_background_is(pairs):
    assert len(pairs) == 24
    for pair in pairs:
        differs = (pair.source != pair.target).any(axis=0)

        assert not (differs & pair.background_mask).any() and differs.any()
        assert pair.background_mask.mean() > 0.4 and pair.background_mask[pair.sign_mask].all()


def test_the_background_keeps_a_margin_of_both_objects(pairs):
    for pair in pairs:
        objects = pair.source_object_mask | pair.target_object_mask
        assert (widened(objects) == ~pair.background_mask).all()


def test_a_mask_is_widened_by_the_margin_in_every_direction():
    mask = np.zeros((11, 11), bool)
    mask[5, 5] = True

    wide = widened(mask)

    rows, columns = np.nonzero(wide)
    assert wide.sum() == (2 * MARGIN + 1) ** 2 and abs(rows - 5).max() == abs(columns - 5).max() == MARGIN


def test_captions_differ_in_the_one_word_that_was_changed_and_labels_with_them(pairs):
    for pair in pairs:
        words = zip(pair.source_caption.split(), pair.target_caption.split(), strict=True)
        differing = [place for place, (before, after) in enumerate(words) if before != after]

        assert differing == [{"colour": 2, "shape": 3}[pair.changed]]
        for caption, label in ((pair.source_caption, pair.source_label), (pair.target_caption, pair.target_label)):
            assert CLASSES[label] == " ".join(caption.split()[2:4])


def test_only_an_object_of_another_shape_covers_other_pixels(pairs):
    for pair in pairs:
        same = (pair.source_object_mask == pair.target_object_mask).all()
        assert same == (pair.changed == "colour")


def test_signs_are_held_out_and_can_be_read_from_source_and_target(pairs):
    for pair in pairs:
        assert is_held_out(pair.line.text) and f" {pair.line.text} " in pair.source_caption
        for image in (pair.source, pair.target):
            assert read(image, pair.line, pair.ink, pair.paper).share == 1


def test_pairs_are_of_the_size_that_was_asked_for(tmp_path):
    (pair,) = read_pairs(written(tmp_path / "out", pairs=1, image_size=160))

    assert pair.source.shape == pair.target.shape == (3, 160, 160) and pair.sign_mask.shape == (160, 160)


def test_a_folder_without_all_of_its_pairs_is_refused(tmp_path, store):
    with pytest.raises(ValueError, match="holds no scenes; `unlatent data scenes` writes some"):
        read_pairs(store)
    store.write_bytes("prepared.json", json.dumps({"source": "pictures"}).encode())
    with pytest.raises(ValueError, match="holds no scenes"):
        read_pairs(store)
    with pytest.raises(ValueError, match="was written without pairs; another folder, with --pairs, would do"):
        read_pairs(written(tmp_path / "none", pairs=0))
    cut = written(tmp_path / "cut")
    cut.delete("pairs/00001-of-00002.parquet")
    with pytest.raises(ValueError, match=r"lacks pairs/00001-of-00002\.parquet; the command that began it goes on"):
        read_pairs(cut)
