"""Images to train on as the latents that a network models: each is encoded once, and kept in the store."""

import hashlib
import io

import numpy as np
import torch
from numpy.typing import NDArray

from unlatent.platform.datasets import Dataset
from unlatent.platform.image_split import ImageSplit, LatentPixels
from unlatent.platform.spaces import Space
from unlatent.platform.store import Store

MOST_BYTES = 2 << 30  # of latents that are held in memory; of more, images are encoded as they come
ENCODED_AT_ONCE = 256  # always the same images together, so that a run that goes on sees the same latents


def encoded_once(dataset: Dataset, space: Space, store: Store, device: torch.device) -> ImageSplit | None:
    """The training split with latents for pixels. None where pixels are modelled, or memory would not hold all latents.

    Of several processes that ask at once one encodes and the others wait, on a local store.
    """
    split = dataset.train
    if space.identity is None or bytes_of(dataset, space) > MOST_BYTES:
        return None
    said = f"{space.identity} {dataset.hash}"
    path = f"artifacts/latents/{hashlib.sha256(said.encode()).hexdigest()[:16]}.npy"
    with store.lock(f"{path}.lock"):
        if not store.exists(path):
            file = io.BytesIO()
            np.save(file, encode(split, space, device))
            store.write_bytes(path, file.getvalue())
    return ImageSplit(LatentPixels(np.load(io.BytesIO(store.read_bytes(path))), split.pixels), split.labels)


def bytes_of(dataset: Dataset, space: Space) -> int:
    shape = space.shape((dataset.channels, dataset.image_size, dataset.image_size))
    return len(dataset.train) * int(np.prod(shape)) * np.dtype(np.float32).itemsize


def encode(split: ImageSplit, space: Space, device: torch.device) -> NDArray[np.float32]:  # (N, c, h, w)
    """The latents of all images, in their order."""
    starts = range(0, len(split), ENCODED_AT_ONCE)
    parts = (split.read(range(start, min(start + ENCODED_AT_ONCE, len(split)))) for start in starts)
    return np.concatenate([space.encode(part.to(device)).cpu().numpy() for part in parts])
