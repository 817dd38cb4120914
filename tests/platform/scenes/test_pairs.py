import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unlatent.platform.legibility import read
from unlatent.platform.scenes import CLASSES, ScenePlan, captions_of_pairs, read_pairs, write_scenes
from unlatent.platform.scenes.pairs import MARGIN, widened
from unlatent.platform.scenes.plan import read_plan
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


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, bytes]:
    """The two files that pairs are read from."""
    folder = written(tmp_path_factory.mktemp("plain") / "out", pairs=3)
    return {path: folder.read_bytes(path) for path in ("prepared.json", "pairs/00000-of-00001.parquet")}


def with_settings(content: bytes, **changes) -> bytes:
    said = json.loads(content) | changes
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            lambda content: content[:20],
            r"prepared\.json, which says what the folder holds, is damaged; another one would",
        ),
        (lambda content: b"[1]", r"prepared\.json, which says what the folder holds, is damaged"),
        (
            lambda content: with_settings(content, images=None, pairs=None),
            r"writes it \(images, pairs\); another folder",
        ),
        (
            lambda content: with_settings(content, seed="1"),
            r"prepared\.json is not as `unlatent data scenes` .* \(seed\)",
        ),
        (lambda content: with_settings(content, mood="calm"), r"prepared\.json is not as .* \(mood\)"),
        (
            lambda content: with_settings(content, image_size=63),
            r"prepared\.json: image_size=63 is not a multiple of 16",
        ),
    ],
)
def test_a_damaged_plan_is_one_line_that_names_it(store, plain, damage, named):
    for path, content in plain.items():
        store.write_bytes(path, content)
    store.write_bytes("prepared.json", damage(plain["prepared.json"]))

    with pytest.raises(ValueError, match=named) as refused:
        read_pairs(store)

    assert store.root in str(refused.value) and "\n" not in str(refused.value)


def rewritten(content: bytes, change) -> bytes:
    """A shard with other rows."""
    table = pq.read_table(io.BytesIO(content))
    rows = table.to_pylist()
    change(rows)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([item for item in table.schema if item.name in rows[0]])), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda content: content[: len(content) // 2], "it is cut off, or no Parquet"),
        (lambda content: rewritten(content, lambda rows: rows.pop()), "it has 2 pairs, not 3"),
        (
            lambda content: rewritten(content, lambda rows: [row.pop("sign_mask") for row in rows]),
            "of its columns, sign_mask is missing, or not as it was written",
        ),
        (
            lambda content: rewritten(content, lambda rows: rows[1].update(sign_box=None)),
            "of its columns, sign_box is missing, or not as it was written",
        ),
        (
            lambda content: rewritten(content, lambda rows: rows[1].update(source_object_mask=b"no picture")),
            "an image of pair 1 cannot be read",
        ),
    ],
)
def test_a_damaged_shard_is_one_line_and_is_drawn_again_without_it(store, plain, damage, named):
    path = "pairs/00000-of-00001.parquet"
    store.write_bytes("prepared.json", plain["prepared.json"])
    store.write_bytes(path, damage(plain[path]))

    with pytest.raises(
        ValueError, match=f"{path} is damaged: {named}; without it, the command .* draws it again"
    ) as said:
        list(read_pairs(store))

    assert store.root in str(said.value) and "\n" not in str(said.value)
    store.delete(path)
    write_scenes(read_plan(store), store, 1)
    assert store.read_bytes(path) == plain[path]


def test_a_folder_whose_plan_is_damaged_is_not_drawn_into(store, plain):
    store.write_bytes("prepared.json", b"{")

    with pytest.raises(ValueError, match=r"prepared\.json, which says what the folder holds, is damaged"):
        write_scenes(ScenePlan(images=30, pairs=3, image_size=64), store, 1)


def test_captions_are_known_before_pairs_are_drawn(pairs):
    planned = ScenePlan(images=30, pairs=24, image_size=64)

    drawn = [caption for pair in pairs for caption in (pair.source_caption, pair.target_caption)]
    assert captions_of_pairs(planned, 100) == drawn and captions_of_pairs(planned, 2) == drawn[:4]
