"""What training tells the network of each image: its class, or its caption.

n images   T tokens   E width of an encoder's tokens
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.models.byte_text import byte_text
from unlatent.models.condition import TOKEN_BYTES, Condition, Text
from unlatent.models.config import PixelTransformerConfig
from unlatent.platform.data_order import Indices
from unlatent.platform.datasets import Dataset
from unlatent.platform.embedded_captions import EmbeddedCaptions
from unlatent.platform.image_folder import FolderPixels
from unlatent.platform.image_split import ArrayPixels, ImageSplit

Arrays = tuple[NDArray[Any], ...]  # of n rows each


class Conditions(Protocol):
    """How they are read, wherever the images are. Pickles, so that it can go to other processes."""

    @property
    def row_bytes(self) -> int:
        """Of what one image's takes in memory."""

    def require_fit(self, split: ImageSplit) -> None:
        """Raises ValueError for images of which this is not known."""

    def identity(self, split: ImageSplit) -> dict[str, str]:
        """What decides them and is not told by the data set's hash."""

    def read(self, split: ImageSplit, indices: Indices) -> Arrays: ...

    def nothing(self, split: ImageSplit) -> Condition | None:
        """The condition of one image that is to show nothing in particular; None: the network's own."""

    def condition(self, tensors: Sequence[Tensor]) -> Condition:
        """What was read, as the network takes it."""


@dataclass(frozen=True)
class Classes:
    row_bytes = 8

    def require_fit(self, split: ImageSplit) -> None:
        """Every image has a class."""

    def identity(self, split: ImageSplit) -> dict[str, str]:
        return {}

    def nothing(self, split: ImageSplit) -> Condition | None:
        return None

    def read(self, split: ImageSplit, indices: Indices) -> Arrays:  # (n,)
        return (split.labels[indices],)

    def condition(self, tensors: Sequence[Tensor]) -> Condition:
        [labels] = tensors
        return labels


@dataclass(frozen=True)
class ByteCaptions:
    """For a network that reads bytes."""

    tokens: int

    @property
    def row_bytes(self) -> int:
        return self.tokens * (TOKEN_BYTES + 1)

    def require_fit(self, split: ImageSplit) -> None:
        if isinstance(split.pixels, ArrayPixels) or split.files.captions(np.array([0])) == [""]:
            said = "model.condition=text needs captions, and these images have none"
            raise ValueError(f"{said}; shards with a column caption would do")

    def identity(self, split: ImageSplit) -> dict[str, str]:
        return {"captions": split.pixels.captions_hash} if isinstance(split.pixels, FolderPixels) else {}

    def nothing(self, split: ImageSplit) -> Condition | None:
        return None

    def read(self, split: ImageSplit, indices: Indices) -> Arrays:  # (n, T, TOKEN_BYTES), (n, T)
        return tuple(np.asarray(each) for each in byte_text(split.files.captions(indices), self.tokens))

    def condition(self, tensors: Sequence[Tensor]) -> Condition:
        return Text(*tensors)


def examples(dataset: Dataset, model: PixelTransformerConfig, count: int) -> Condition:
    """What a grid of so many images shows: each class in its turn, or the captions of images that are held out."""
    if model.condition == "class":
        return torch.arange(count) % model.classes
    split, conditions = captioned(dataset), conditions_of(model)
    read = conditions.read(split, np.arange(count) % len(split))
    return conditions.condition([torch.from_numpy(each) for each in read])


def captioned(dataset: Dataset) -> ImageSplit:
    """The images whose captions are drawn: held out, where any are."""
    return dataset.held_out if len(dataset.held_out) else dataset.train


def conditions_of(model: PixelTransformerConfig) -> Conditions:
    if model.condition == "class":
        return Classes()
    return ByteCaptions(model.text.tokens) if model.text.learned else EmbeddedCaptions(model.text)
