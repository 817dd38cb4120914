"""What a folder of scenes is to hold, and in which files."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import PIL

from unlatent.platform.scenes.scene import CLASSES, require_image_size
from unlatent.platform.shard_folder import PLAN, read_settings, shard_names
from unlatent.platform.store import Store

SOURCE = "generated scenes"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Shard:
    split: str
    path: str  # relative to the folder
    indices: range  # of its scenes


def drawing_packages() -> str:
    return f"Pillow {PIL.__version__}, NumPy {np.__version__}"


@dataclass(frozen=True, kw_only=True)
class ScenePlan:
    """All that decides what is written. Raises ValueError for scenes that cannot be drawn."""

    source: str = SOURCE
    images: int  # to train on
    pairs: int  # held out, each a scene and the same scene edited
    image_size: int  # pixels on a side
    seed: int = 0
    shard_images: int = 128
    shard_pairs: int = 32
    drawn_by: str = field(default_factory=drawing_packages)  # other versions may draw other pixels
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        require_image_size(self.image_size)
        if self.images < len(CLASSES):
            raise ValueError(f"images={self.images} is below {len(CLASSES)}, one of each class")

    @property
    def hash(self) -> str:
        """Of all that is written."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]

    def shards(self, split: str) -> Iterator[Shard]:
        count, size = {"images": (self.images, self.shard_images), "pairs": (self.pairs, self.shard_pairs)}[split]
        for number, name in enumerate(shard_names(count, size)):
            first = number * size
            yield Shard(split, f"{split}/{name}", range(first, min(first + size, count)))


def read_plan(folder: Store) -> ScenePlan:
    """Raises ValueError for a folder that no scenes were written into, or whose plan is damaged."""
    said = read_settings(folder) or {}
    if said.get("source") != SOURCE:
        raise ValueError(f"{folder.root} holds no scenes; `unlatent data scenes` writes some")
    if odd := odd_settings(said):
        raise ValueError(
            f"{folder.root}: {PLAN} is not as `unlatent data scenes` writes it ({odd}); another folder would do"
        )
    try:
        return ScenePlan(**said)
    except ValueError as error:
        raise ValueError(f"{folder.root}: {PLAN}: {error}") from None


def odd_settings(said: dict[str, Any]) -> str:
    """Names of those that are missing, not a plan's, or of another kind than a plan's."""
    kinds = {item.name: item.type for item in fields(ScenePlan)}
    kept = {name for name, kind in kinds.items() if type(said.get(name)) is kind}
    return ", ".join(sorted(said.keys() ^ kept | kinds.keys() ^ kept))
