"""The images to learn from, whatever they come from: built-in digits, a folder of pictures, or shards."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.platform import digits
from unlatent.platform.data_order import ChunkShuffle, FullShuffle, Order
from unlatent.platform.image_folder import FolderPixels, open_folder
from unlatent.platform.shards import FORMATS, ShardPixels, open_shards
from unlatent.platform.store import Store

KINDS = ("digits", "imagefolder", *FORMATS)
ON_BROKEN = ("refuse", "skip")


@dataclass(kw_only=True)
class DataConfig:
    kind: str = "digits"  # digits, imagefolder, parquet or webdataset
    root: str | None = None  # the folder of pictures or shards, made absolute; or an object store's address
    image_size: int = 8  # pixels on a side
    broken: str = "refuse"  # what to do about files that are no readable pictures: refuse or skip
    held_out: float = 0.1  # share that is never trained on, 0 for none; of the digits it is a fifth
    workers: int | None = None  # of Ray Data that decode for each training worker; 0: it does so itself; None: as fits

    def __post_init__(self) -> None:
        for name, choices in (("kind", KINDS), ("broken", ON_BROKEN)):
            if getattr(self, name) not in choices:
                raise ValueError(f"data.{name}={getattr(self, name)!r} is not one of {', '.join(choices)}")
        if self.image_size < 1:
            raise ValueError(f"data.image_size={self.image_size} is not a size; 1 or more would do")
        if self.kind == "digits" and self.image_size != digits.IMAGE_SIZE:
            raise ValueError(f"data.image_size={self.image_size}: digits are {digits.IMAGE_SIZE} pixels on a side")
        if self.kind != "digits" and not self.root:
            raise ValueError(f"data.root is not set; data.kind={self.kind} needs the folder of pictures or shards")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"data.held_out={self.held_out} is not in 0 … 1 (1 excluded); 0.1 would do")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"data.workers={self.workers} is below 0")
        if self.root and "://" not in self.root:
            self.root = str(Path(self.root).expanduser().absolute())

    @property
    def decoders(self) -> int:
        """Workers of Ray Data for each training worker. Digits lie decoded in memory."""
        return int(self.kind != "digits") if self.workers is None else self.workers


class Pixels(Protocol):
    """Images by number: an array, or files decoded on demand. Pickles, so that it can go to other processes."""

    def __len__(self) -> int: ...

    @property
    def image_bytes(self) -> int:
        """Of one image, decoded."""

    def read_parts(
        self, indices: NDArray[np.int64], size: int, threads: int | None
    ) -> Iterator[NDArray[np.uint8]]:  # (n, C, H, W) each, n up to `size`
        """Some images in order, part by part, by so many threads; None: as many as the machine is good for."""


@dataclass
class ArrayPixels:
    array: NDArray[np.uint8]  # (N, C, H, W)

    def __len__(self) -> int:
        return len(self.array)

    @property
    def image_bytes(self) -> int:
        return int(np.prod(self.array.shape[1:]))

    def read_parts(self, indices: NDArray[np.int64], size: int, threads: int | None) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(indices), size):
            yield self.array[indices[start : start + size]]


class Files(Pixels, Protocol):
    """Images that are files, or parts of one."""

    def contents(self, indices: NDArray[np.int64]) -> list[bytes]: ...

    def captions(self, indices: NDArray[np.int64]) -> list[str]: ...

    def name(self, index: int) -> str: ...


class ImageSplit:
    """Images with their labels."""

    def __init__(self, pixels: Pixels, labels: NDArray[np.int64]) -> None:
        assert len(pixels) == len(labels)
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Iterable[int]) -> Tensor:  # uint8 (N, C, H, W)
        """Several images at once."""
        wanted = np.fromiter(indices, np.int64)
        return torch.from_numpy(next(self.pixels.read_parts(wanted, len(wanted), None)))

    @property
    def files(self) -> Files:
        """Raises ValueError for images that are none, as the digits."""
        if isinstance(self.pixels, ArrayPixels):
            raise ValueError("data.kind=digits: these images are no files; a folder or shards would do")
        return cast(Files, self.pixels)

    def order(self, seed: int) -> Order:
        """Which image comes when in training."""
        if isinstance(self.pixels, ShardPixels):
            return ChunkShuffle(self.pixels.chunk_lengths, seed)
        return FullShuffle(len(self), seed)


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
    if config.kind == "digits":
        return open_digits()
    return open_image_folder(config, store) if config.kind == "imagefolder" else open_sharded(config, store)


def open_digits() -> Dataset:
    pixels, labels = digits.load()
    mask = digits.held_out(labels)
    digest = hashlib.sha256()
    for array in (pixels, labels, mask):
        digest.update(array.tobytes())
    return Dataset(
        name="digits",
        hash=digest.hexdigest(),
        classes=digits.CLASSES,
        image_size=digits.IMAGE_SIZE,
        channels=digits.CHANNELS,
        train=ImageSplit(ArrayPixels(pixels[~mask]), labels[~mask]),
        held_out=ImageSplit(ArrayPixels(pixels[mask]), labels[mask]),
    )


def open_image_folder(config: DataConfig, store: Store) -> Dataset:
    root = open_root(config)
    folder = open_folder(root, config.image_size, config.held_out, config.broken == "skip", store)

    def split(mask: NDArray[np.bool_]) -> ImageSplit:
        paths = [path for path, chosen in zip(folder.paths, mask, strict=True) if chosen]
        return ImageSplit(FolderPixels(root, paths, config.image_size), folder.labels[mask])

    return Dataset(
        name=name_of(root),
        hash=folder.hash,
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
    shards = open_shards(root, config.kind, config.image_size, config.held_out, skip, store)

    def split(mask: NDArray[np.bool_]) -> ImageSplit:
        return ImageSplit(shards.pixels.chosen(mask), shards.labels[mask])

    return Dataset(
        name=name_of(root),
        hash=shards.hash,
        classes=shards.classes,
        image_size=config.image_size,
        channels=3,
        train=split(~shards.held_out),
        held_out=split(shards.held_out),
        skipped=shards.broken,
    )


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
