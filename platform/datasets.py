"""The images to learn from, whatever they come from: built-in digits or a folder of pictures."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.platform import digits
from unlatent.platform.image_folder import FolderPixels, open_folder
from unlatent.platform.store import Store

KINDS = ("digits", "imagefolder")
ON_BROKEN = ("refuse", "skip")


@dataclass(kw_only=True)
class DataConfig:
    kind: str = "digits"  # digits or imagefolder
    root: str | None = None  # the image folder; made absolute
    image_size: int = 8  # pixels on a side
    broken: str = "refuse"  # what to do about files that are no readable pictures: refuse or skip
    held_out: float = 0.1  # share of an image folder that is never trained on; of the digits it is a fifth
    workers: int = 0  # processes that decode; 0 decodes in the training process

    def __post_init__(self) -> None:
        for name, choices in (("kind", KINDS), ("broken", ON_BROKEN)):
            if getattr(self, name) not in choices:
                raise ValueError(f"data.{name}={getattr(self, name)!r} is not one of {', '.join(choices)}")
        if self.image_size < 1:
            raise ValueError(f"data.image_size={self.image_size} is not a size; 1 or more would do")
        if self.kind == "digits" and self.image_size != digits.IMAGE_SIZE:
            raise ValueError(f"data.image_size={self.image_size}: digits are {digits.IMAGE_SIZE} pixels on a side")
        if self.kind == "imagefolder" and not self.root:
            raise ValueError("data.root is not set; data.kind=imagefolder needs the folder of pictures")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"data.held_out={self.held_out} is not in 0 … 1 (1 excluded); 0.1 would do")
        if self.workers < 0:
            raise ValueError(f"data.workers={self.workers} is below 0")
        if self.root:
            self.root = str(Path(self.root).expanduser().absolute())


class Pixels(Protocol):
    """Something indexable that gives images as uint8 (C, H, W): an array, or files decoded on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...


class ImageSplit(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images with their labels. Pickles, so that it can go to other processes."""

    def __init__(self, pixels: Pixels, labels: NDArray[np.int64]) -> None:
        assert len(pixels) == len(labels)
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:  # uint8 (C, H, W), label
        return torch.tensor(self.pixels[index]), int(self.labels[index])

    def read(self, indices: Iterable[int]) -> Tensor:  # uint8 (N, C, H, W)
        """Several images at once, decoded by threads."""
        with ThreadPoolExecutor() as threads:
            return torch.from_numpy(np.stack(list(threads.map(self.pixels.__getitem__, indices))))


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
    return open_digits() if config.kind == "digits" else open_image_folder(config, store)


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
        train=ImageSplit(pixels[~mask], labels[~mask]),
        held_out=ImageSplit(pixels[mask], labels[mask]),
    )


def open_image_folder(config: DataConfig, store: Store) -> Dataset:
    assert config.root is not None
    root = Path(config.root)
    folder = open_folder(root, config.image_size, config.held_out, config.broken == "skip", store)

    def split(mask: NDArray[np.bool_]) -> ImageSplit:
        paths = [path for path, chosen in zip(folder.paths, mask, strict=True) if chosen]
        return ImageSplit(FolderPixels(root, paths, config.image_size), folder.labels[mask])

    return Dataset(
        name=root.name,
        hash=folder.hash,
        classes=folder.classes,
        image_size=config.image_size,
        channels=3,
        train=split(~folder.held_out),
        held_out=split(folder.held_out),
        skipped=folder.broken,
    )
