"""Held-out edits with a known right answer: a scene, and the same with its object's colour or shape changed.

Their signs' texts, and their parts of photographs, are in no image to train on.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageFilter

from unlatent.platform import parquet
from unlatent.platform.image_decoding import BROKEN, open_upright, to_pixels
from unlatent.platform.lettering import Colour, Line
from unlatent.platform.scenes.images import (
    ATTRIBUTES,
    SIGN,
    attribute_columns,
    image_file,
    mask_file,
    read_mask,
    sign_columns,
)
from unlatent.platform.scenes.painting import Mask, Pixels, paint
from unlatent.platform.scenes.plan import ScenePlan, Shard, drawing_packages, read_plan
from unlatent.platform.scenes.scene import Scene, pair_at
from unlatent.platform.shard_folder import IMAGE
from unlatent.platform.store import Store

MARGIN = 2  # pixels around either object that count as neither object nor background
PAIRS = pa.schema(
    [
        ("source", IMAGE),
        ("target", IMAGE),
        ("source_caption", pa.string()),
        ("target_caption", pa.string()),
        ("source_label", pa.int64()),
        ("target_label", pa.int64()),
        ("changed", pa.string()),  # colour or shape
        ("background_mask", pa.binary()),
        ("source_object_mask", pa.binary()),
        ("target_object_mask", pa.binary()),
        ("sign_mask", pa.binary()),
        *SIGN,
        *ATTRIBUTES,  # the source's
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class EditPair:
    scene: Scene  # the source's
    source: Pixels  # (3, H, W)
    target: Pixels  # (3, H, W), what a perfect edit would give
    source_caption: str
    target_caption: str
    source_label: int
    target_label: int
    changed: str  # colour or shape
    background_mask: Mask  # (H, W), where source and target are the same, the sign included
    source_object_mask: Mask
    target_object_mask: Mask
    sign_mask: Mask
    line: Line  # on the sign
    ink: Colour
    paper: Colour


def read_pairs(store: Store) -> Iterator[EditPair]:
    """The pairs of a folder that `unlatent data scenes` has written, in order; some are in memory at once.

    Raises ValueError for a folder that holds none, or not all of them yet, and, as they are read, for damaged files and
    for scenes that are not those that their plan makes here.
    """
    planned = read_plan(store)
    shards = list(planned.shards("pairs"))
    if not shards:
        raise ValueError(f"{store.root} was written without pairs; another folder, with --pairs, would do")
    for shard in shards:
        if not store.exists(shard.path):
            raise ValueError(f"{store.root} lacks {shard.path}; the command that began it goes on")
    return (pair for shard in shards for pair in pairs_of(store, planned, shard))


def pairs_of(store: Store, planned: ScenePlan, shard: Shard) -> Iterator[EditPair]:
    """A shard's, each with its scene, which no file holds: it follows from the plan."""
    for index, row in zip(shard.indices, rows_of(store, shard), strict=True):
        scene, _, _ = pair_at(planned.seed, index, planned.image_size)
        if (row["source_caption"], tuple(row["sign_box"])) != (scene.caption, scene.sign.plate):
            raise ValueError(
                f"{store.root}: pair {index} is another scene than {drawing_packages()} makes of it; it was drawn by "
                f"{planned.drawn_by}, which would do"
            )
        try:
            pair = pair_of(row, scene)
        except BROKEN:
            raise ValueError(damaged(store, shard, f"an image of pair {index} cannot be read")) from None
        yield pair


def rows_of(store: Store, shard: Shard) -> list[dict[str, Any]]:
    """Raises ValueError for a shard that is not as it was written."""
    try:
        table = parquet.parse(store.read_bytes(shard.path))
    except (OSError, ValueError):  # what Arrow raises
        raise ValueError(damaged(store, shard, "it is cut off, or no Parquet")) from None
    if odd := [item.name for item in PAIRS if item not in list(table.schema) or table[item.name].null_count]:
        raise ValueError(
            damaged(store, shard, f"of its columns, {', '.join(odd)} is missing, or not as it was written")
        )
    if len(table) != len(shard.indices):
        raise ValueError(damaged(store, shard, f"it has {len(table)} pairs, not {len(shard.indices)}"))
    return table.to_pylist()


def damaged(store: Store, shard: Shard, how: str) -> str:
    return f"{store.root}: {shard.path} is damaged: {how}; without it, the command that drew the scenes draws it again"


def captions_of_pairs(planned: ScenePlan, count: int) -> list[str]:
    """Of sources and targets of the first so many pairs, which need not be drawn yet."""
    pairs = (pair_at(planned.seed, index, planned.image_size) for index in range(min(count, planned.pairs)))
    return [scene.caption for source, target, _ in pairs for scene in (source, target)]


def pair_of(row: dict[str, Any], scene: Scene) -> EditPair:
    left, top = row["sign_letters_at"]
    return EditPair(
        scene=scene,
        source=pixels_of(row["source"]),
        target=pixels_of(row["target"]),
        source_caption=row["source_caption"],
        target_caption=row["target_caption"],
        source_label=row["source_label"],
        target_label=row["target_label"],
        changed=row["changed"],
        background_mask=read_mask(row["background_mask"]),
        source_object_mask=read_mask(row["source_object_mask"]),
        target_object_mask=read_mask(row["target_object_mask"]),
        sign_mask=read_mask(row["sign_mask"]),
        line=Line(text=row["sign_text"], letter_pixels=row["sign_pixels"], left=left, top=top),
        ink=tuple(row["sign_ink"]),
        paper=tuple(row["sign_paper"]),
    )


def pixels_of(image: dict[str, Any]) -> Pixels:  # (3, H, W)
    return to_pixels(open_upright(io.BytesIO(image["bytes"])))


def pair_row(seed: int, index: int, image_size: int) -> dict[str, Any]:
    source, target, changed = pair_at(seed, index, image_size)
    before, after = paint(source), paint(target)
    return {
        "source": image_file(before.image),
        "target": image_file(after.image),
        "source_caption": source.caption,
        "target_caption": target.caption,
        "source_label": source.label,
        "target_label": target.label,
        "changed": changed,
        "background_mask": mask_file(~widened(before.object_mask | after.object_mask)),
        "source_object_mask": mask_file(before.object_mask),
        "target_object_mask": mask_file(after.object_mask),
        "sign_mask": mask_file(before.sign_mask),
        **sign_columns(source.sign),
        **attribute_columns(source),
    }


def widened(mask: Mask) -> Mask:
    """With all pixels that are at most `MARGIN` away, along rows and columns."""
    picture = Image.fromarray(mask).convert("L")
    return np.asarray(picture.filter(ImageFilter.MaxFilter(2 * MARGIN + 1))) > 0
