"""Images with their labels, wherever their pixels come from, and the order in which training sees them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.platform.buckets import BucketOrder, Buckets, Sides
from unlatent.platform.data_order import LANES, ChunkShuffle, FullShuffle, Indices, Order
from unlatent.platform.shards import ShardPixels


class Pixels(Protocol):
    """Images by number: an array, or files decoded on demand. Pickles, so that it can go to other processes."""

    def __len__(self) -> int: ...

    @property
    def image_size(self) -> int:
        """Pixels on a side of a square."""

    @property
    def image_bytes(self) -> int:
        """Of one square image, decoded."""

    def read_parts(
        self, parts: Sequence[NDArray[np.int64]], sides: Sequence[Sides], threads: int | None
    ) -> Iterator[NDArray[Any]]:  # (n, C, H, W) each, uint8; latents are float32
        """The images of each part in order, cropped to that part's sides.

        By so many threads; None: as many as the machine is good for.
        """


@dataclass
class ArrayPixels:
    array: NDArray[np.uint8]  # (N, C, H, W)

    def __len__(self) -> int:
        return len(self.array)

    @property
    def image_size(self) -> int:
        return self.array.shape[-1]

    @property
    def image_bytes(self) -> int:
        return int(np.prod(self.array.shape[1:]))

    def read_parts(
        self, parts: Sequence[NDArray[np.int64]], sides: Sequence[Sides], threads: int | None
    ) -> Iterator[NDArray[np.uint8]]:
        for indices in parts:
            yield self.array[indices]


class Files(Pixels, Protocol):
    """Images that are files, or parts of one."""

    def contents(self, indices: NDArray[np.int64]) -> list[bytes]: ...

    def captions(self, indices: NDArray[np.int64]) -> list[str]: ...

    def embeddings(self, indices: NDArray[np.int64]) -> list[bytes]: ...

    def name(self, index: int) -> str: ...


@dataclass
class LatentPixels:
    """An autoencoder's latents of images, in memory; what else is known of the images comes from their files."""

    latents: NDArray[np.float32]  # (N, c, h, w)
    images: Pixels

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def image_size(self) -> int:
        return self.latents.shape[-1]

    @property
    def image_bytes(self) -> int:
        return int(self.latents[0].nbytes)

    def read_parts(
        self, parts: Sequence[NDArray[np.int64]], sides: Sequence[Sides], threads: int | None
    ) -> Iterator[NDArray[np.float32]]:  # (n, c, h, w) each
        for indices in parts:
            yield self.latents[indices]

    def contents(self, indices: NDArray[np.int64]) -> list[bytes]:
        return cast(Files, self.images).contents(indices)

    def captions(self, indices: NDArray[np.int64]) -> list[str]:
        return cast(Files, self.images).captions(indices)

    def embeddings(self, indices: NDArray[np.int64]) -> list[bytes]:
        return cast(Files, self.images).embeddings(indices)

    def name(self, index: int) -> str:
        return cast(Files, self.images).name(index)


class ImageSplit:
    """Images with their labels, and with the bucket of each where they are not trained on as squares."""

    def __init__(self, pixels: Pixels, labels: NDArray[np.int64], buckets: Buckets | None = None) -> None:
        assert len(pixels) == len(labels)
        self.pixels, self.labels, self.buckets = pixels, labels, buckets

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Iterable[int]) -> Tensor:  # uint8 (N, C, H, W)
        """Several images at once, as squares."""
        square = (self.pixels.image_size, self.pixels.image_size)
        return torch.from_numpy(next(self.pixels.read_parts([np.fromiter(indices, np.int64)], [square], None)))

    @property
    def files(self) -> Files:
        """Raises ValueError for images that are none, as built-in ones."""
        if isinstance(self.pixels, ArrayPixels):
            raise ValueError("built-in images are no files; data.kind=imagefolder or shards would do")
        return cast(Files, self.pixels)

    def order(self, seed: int, batch_size: int) -> Order:
        """Which image comes when in training."""
        if self.buckets is None:
            return self.order_of(np.arange(len(self)), seed)
        members = self.buckets.members()
        orders = [self.order_of(each, seed) for each in members]
        return BucketOrder(members, orders, batch_size, seed)

    def order_of(self, members: Indices, seed: int) -> Order:
        """The order of some of the images, as if there were no others.

        Chunks of shards come in the same order for all: what lies together is then read together.
        """
        pixels = self.pixels.images if isinstance(self.pixels, LatentPixels) else self.pixels
        if not isinstance(pixels, ShardPixels):
            return FullShuffle(len(members), seed)
        lengths = pixels.chunk_lengths
        chunks = np.repeat(np.arange(len(lengths)), lengths)[members]
        window = ChunkShuffle.window * len(members) // len(self) // LANES * LANES
        return ChunkShuffle(np.bincount(chunks, minlength=len(lengths)), seed, max(LANES, window))

    def parts(self, indices: Indices, size: int) -> Iterator[tuple[Indices, Sides]]:
        """Images in order, cut into parts of up to so many that are of the same sides."""
        number = np.zeros(len(indices), np.int64) if self.buckets is None else self.buckets.chosen[indices]
        for stretch in np.split(indices, np.flatnonzero(np.diff(number)) + 1):
            for start in range(0, len(stretch), size):
                yield stretch[start : start + size], self.sides(int(stretch[0]))

    def sides(self, index: int) -> Sides:
        """Height and width that an image is cropped to in training."""
        if self.buckets is None:
            return self.pixels.image_size, self.pixels.image_size
        return self.buckets.sides[self.buckets.chosen[index]]
