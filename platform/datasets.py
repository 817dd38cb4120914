"""The images to learn from, whatever they come from: built-in ones, a folder of pictures, or shards."""

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import fs

from unlatent.models.config import divisors, listed
from unlatent.platform import digits, photographs
from unlatent.platform.buckets import Buckets, Sides, nearest, sides_of_buckets, step_of_buckets
from unlatent.platform.image_decoding import LONGEST_STRIP
from unlatent.platform.image_folder import FolderPixels, listing_hash, open_folder
from unlatent.platform.image_split import ArrayPixels, ImageSplit
from unlatent.platform.scenes import CLASSES, ScenePlan, write_scenes
from unlatent.platform.shards import FORMATS, open_shards
from unlatent.platform.store import Store

BUILT_IN = {"digits": digits, "photographs": photographs}  # modules that say what they hold, and load it
KINDS = (*BUILT_IN, "scenes", "imagefolder", *FORMATS)
ON_BROKEN = ("refuse", "skip")


@dataclass(kw_only=True)
class ScenesConfig:
    images: int = 20_000  # to train on, or to hold out from that
    pairs: int = 200  # held-out scenes, each with the same scene edited
    seed: int = 0  # of all that is drawn


@dataclass(kw_only=True)
class DataConfig:
    kind: str = "digits"  # digits, photographs, scenes, imagefolder, parquet or webdataset
    root: str | None = None  # the folder of pictures or shards, made absolute; or an object store's address
    image_size: int = 8  # pixels on a side
    broken: str = "refuse"  # what to do about files that are no readable pictures: refuse or skip
    max_aspect_ratio: float = 1.0  # 1: all images are cropped to squares; above: to buckets of up to this proportion
    bucket_step: int | None = None  # pixels that the sides of buckets are multiples of; None: an eighth of image_size
    held_out: float = 0.1  # share that is never trained on, 0 for none; of built-in images it is a fifth
    scenes: ScenesConfig = field(default_factory=ScenesConfig)  # without effect on other kinds
    workers: int | None = None  # tasks of Ray that decode for each training worker; 0: it does so itself; None: as fits

    def __post_init__(self) -> None:
        for name, choices in (("kind", KINDS), ("broken", ON_BROKEN)):
            if getattr(self, name) not in choices:
                raise ValueError(f"data.{name}={getattr(self, name)!r} is not one of {', '.join(choices)}")
        if self.image_size < 1:
            raise ValueError(f"data.image_size={self.image_size} is not a size; 1 or more would do")
        if self.is_built_in:
            BUILT_IN[self.kind].require_image_size(self.image_size)
        if self.kind == "scenes":
            scene_plan(self)
        elif not self.is_built_in and not self.root:
            raise ValueError(f"data.root is not set; data.kind={self.kind} needs the folder of pictures or shards")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"data.held_out={self.held_out} is not in 0 … 1 (1 excluded); 0.1 would do")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"data.workers={self.workers} is below 0")
        require_buckets(self)
        if self.root and "://" not in self.root:
            self.root = str(Path(self.root).expanduser().absolute())

    @property
    def is_built_in(self) -> bool:
        """Whether its images come with a package, and lie decoded in memory."""
        return self.kind in BUILT_IN

    @property
    def decoders(self) -> int:
        """Tasks of Ray for each training worker."""
        return int(not self.is_built_in) if self.workers is None else self.workers


def require_buckets(config: DataConfig) -> None:
    """Raises ValueError for buckets that cannot be."""
    ratio, step = config.max_aspect_ratio, bucket_step(config)
    if not 1 <= ratio <= LONGEST_STRIP:
        raise ValueError(f"data.max_aspect_ratio={ratio} is not in 1 … {LONGEST_STRIP}; 2 would do, or 1 for squares")
    if ratio == 1:
        return
    if config.is_built_in:
        raise ValueError(f"data.max_aspect_ratio={ratio}: {config.kind} are squares; 1 would do")
    if not 1 <= step <= config.image_size or config.image_size % step:
        raise ValueError(
            f"data.bucket_step={step} does not divide data.image_size={config.image_size}; "
            f"{listed(divisors(config.image_size))} would"
        )


def bucket_step(config: DataConfig) -> int:
    """Pixels that the sides of buckets are multiples of."""
    return step_of_buckets(config.image_size, config.bucket_step)


def buckets_of(config: DataConfig) -> list[Sides]:
    """Height and width of each bucket; none where all images are cropped to squares."""
    if config.max_aspect_ratio == 1:
        return []
    return sides_of_buckets(config.image_size, bucket_step(config), config.max_aspect_ratio)


@dataclass(kw_only=True)
class Dataset:
    name: str
    hash: str  # of what is in it and how it is split
    classes: list[str]  # by label
    image_size: int
    channels: int
    train: ImageSplit
    held_out: ImageSplit
    skipped: list[str] = field(default_factory=list)  # path and reason of each broken file left out


def open_dataset(config: DataConfig, store: Store) -> Dataset:
    """The data set that the config names, in an order that is always the same.

    Raises ValueError if it cannot be used as it is.
    """
    if config.is_built_in:
        return open_built_in(config)
    if config.kind == "scenes":
        return open_scenes(config, store)
    return open_image_folder(config, store) if config.kind == "imagefolder" else open_sharded(config, store)


def listing(config: DataConfig) -> str:
    """Hash of the files that the data set lies in, by their places, sizes and times of change. Reads none of them.

    One whose folder is not there has a hash of its own.
    """
    if config.is_built_in:
        return open_built_in(config).hash
    if config.kind == "scenes":
        return scene_plan(config).hash
    root = open_root(config)
    return listing_hash(config.kind, root, root.walk() if root.kind("") == fs.FileType.Directory else ())


def open_built_in(config: DataConfig) -> Dataset:
    pixels, labels, mask = BUILT_IN[config.kind].load(config.image_size)
    digest = hashlib.sha256()
    for array in (pixels, labels, mask):
        digest.update(array.tobytes())
    return Dataset(
        name=config.kind,
        hash=digest.hexdigest(),
        classes=BUILT_IN[config.kind].CLASSES,
        image_size=config.image_size,
        channels=BUILT_IN[config.kind].CHANNELS,
        train=ImageSplit(ArrayPixels(pixels[~mask]), labels[~mask]),
        held_out=ImageSplit(ArrayPixels(pixels[mask]), labels[mask]),
    )


def open_image_folder(config: DataConfig, store: Store) -> Dataset:
    root = open_root(config)
    folder = open_folder(root, config.image_size, config.held_out, config.broken == "skip", store)

    def split(mask: NDArray[np.bool_]) -> ImageSplit:
        paths = [path for path, chosen in zip(folder.paths, mask, strict=True) if chosen]
        buckets = choose_buckets(config, folder.sides[mask])
        return ImageSplit(FolderPixels(root, paths, config.image_size), folder.labels[mask], buckets)

    return Dataset(
        name=name_of(root),
        hash=in_buckets(folder.hash, config),
        classes=folder.classes,
        image_size=config.image_size,
        channels=3,
        train=split(~folder.held_out),
        held_out=split(folder.held_out),
        skipped=folder.broken,
    )


def open_sharded(config: DataConfig, store: Store) -> Dataset:
    root = open_root(config)
    skip = config.broken == "skip"
    measured = bool(buckets_of(config))
    shards = open_shards(root, config.kind, config.image_size, config.held_out, skip, store, measured)

    def split(mask: NDArray[np.bool_]) -> ImageSplit:
        buckets = None if shards.sides is None else choose_buckets(config, shards.sides[mask])
        return ImageSplit(shards.pixels.chosen(mask), shards.labels[mask], buckets)

    return Dataset(
        name=name_of(root),
        hash=in_buckets(shards.hash, config),
        classes=shards.classes,
        image_size=config.image_size,
        channels=3,
        train=split(~shards.held_out),
        held_out=split(shards.held_out),
        skipped=shards.broken,
    )


def open_scenes(config: DataConfig, store: Store) -> Dataset:
    """Scenes that lie in the store; they are drawn when they are first asked for."""
    shards = replace(config, kind="parquet", root=draw_scenes(config, store).uri("images"))
    return replace(open_sharded(shards, store), name="scenes")


def draw_scenes(config: DataConfig, store: Store) -> Store:
    """The folder of a config's scenes, with what is missing of them drawn by a process for each CPU."""
    planned = scene_plan(config)
    folder = f"artifacts/scenes/{planned.hash}"
    with store.lock(f"{folder}.lock"):
        scenes = Store(store.uri(folder))
        write_scenes(planned, scenes, len(os.sched_getaffinity(0)))
    return scenes


def scene_plan(config: DataConfig) -> ScenePlan:
    """Raises ValueError for scenes that cannot be drawn."""
    asked = config.scenes
    for name, least in (("pairs", 0), ("seed", 0), ("images", len(CLASSES))):
        if getattr(asked, name) < least:
            raise ValueError(f"data.scenes.{name}={getattr(asked, name)} is below {least}")
    try:
        return ScenePlan(images=asked.images, pairs=asked.pairs, seed=asked.seed, image_size=config.image_size)
    except ValueError as error:
        raise ValueError(f"data.{error}") from None


def choose_buckets(config: DataConfig, sides: NDArray[np.int64]) -> Buckets | None:  # (N, 2)
    """The bucket of each image, of those that any image falls into; None where all are cropped to squares."""
    buckets = buckets_of(config)
    if not buckets:
        return None
    used, chosen = np.unique(nearest(buckets, sides), return_inverse=True)
    return Buckets([buckets[number] for number in used], chosen)


def in_buckets(identity: str, config: DataConfig) -> str:
    """The identity of a data set whose images are cropped to buckets; without, it stays as it is."""
    buckets = buckets_of(config)
    return hashlib.sha256(f"{identity} in {buckets}".encode()).hexdigest() if buckets else identity


def open_root(config: DataConfig) -> Store:
    """Raises ValueError for an address that leads nowhere."""
    assert config.root is not None
    try:
        root = Store(config.root)
        root.kind("")
    except ValueError as error:
        raise ValueError(f"data.root={str(error).removeprefix('store=').removeprefix('store: ')}") from None
    return root


def name_of(root: Store) -> str:
    """The last part of its address."""
    return root.root.partition("?")[0].rpartition("/")[2]
