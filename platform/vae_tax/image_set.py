"""The images that are measured: a folder's, or some of them at random, as squares of one size."""

import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from pyarrow import fs
from torch import Tensor

from unlatent.platform.image_decoding import BROKEN, centre_square, open_upright, to_pixels
from unlatent.platform.image_folder import describe_suffixes, is_image, reason_of
from unlatent.platform.store import Store

SMALLEST = 16  # pixels on a side; below, no text finds room, nor SSIM's window
LOOKED_AT_TOGETHER = 64  # files


@dataclass(kw_only=True)
class ImageSet:
    """Images of a folder that can be read and are large enough, in the order of their names."""

    root: Store
    image_size: int  # pixels on a side
    seed: int  # of the choice among them
    found: int  # image files in the folder
    names: list[str] = field(default_factory=list)  # of the files chosen, below the root
    contents: list[str] = field(default_factory=list)  # sha256 of each
    broken: list[str] = field(default_factory=list)  # name and reason of each file left out
    small: list[str] = field(default_factory=list)  # name and sides of each left out, since it would be enlarged

    def __len__(self) -> int:
        return len(self.names)

    @property
    def hash(self) -> str:
        """Of the names and contents of the files chosen, and of the size they are brought to."""
        lines = [f"{name}\0{content}\n" for name, content in zip(self.names, self.contents, strict=True)]
        return hashlib.sha256("".join([f"{self.image_size}\n", *lines]).encode()).hexdigest()

    def read(self, indices: Sequence[int]) -> Tensor:  # uint8 (N, 3, S, S)
        """Scaled down until the shorter side is `image_size`, then cropped to the centre.

        Raises ValueError for a file that has changed since it was chosen.
        """
        with ThreadPoolExecutor() as threads:
            return torch.stack(list(threads.map(self.read_one, indices)))

    def read_one(self, index: int) -> Tensor:  # uint8 (3, S, S)
        content = self.root.read_bytes(self.names[index])
        if hashlib.sha256(content).hexdigest() != self.contents[index]:
            raise ValueError(f"{self.root.uri(self.names[index])} has changed while it was being measured")
        return torch.from_numpy(to_pixels(centre_square(open_upright(io.BytesIO(content)), self.image_size)))


@dataclass(frozen=True)
class Look:
    """At one file."""

    name: str
    content: str = ""  # its sha256
    sides: tuple[int, int] = (0, 0)  # width, height
    error: str = ""


def find_images(
    root: Store, image_size: int, limit: int | None, seed: int, on_images: Callable[[int, int], None]
) -> ImageSet:
    """All images of a folder and the folders below it, or `limit` of them at random; each is decoded once to see.

    `on_images` is told how many are chosen, of how many. Raises ValueError where none is left.
    """
    if image_size < SMALLEST:
        raise ValueError(f"image_size={image_size} is below {SMALLEST}")
    if root.kind("") != fs.FileType.Directory:
        raise ValueError(f"images={root.root} is not a folder")
    names = [file.path for file in root.walk("") if is_image(file.path)]
    if not names:
        raise ValueError(f"images={root.root} has no images in it; {describe_suffixes()} files would do")
    images, wanted = ImageSet(root=root, image_size=image_size, seed=seed, found=len(names)), limit or len(names)
    order = np.random.default_rng(seed).permutation(len(names)) if wanted < len(names) else np.arange(len(names))
    looks: list[Look] = []
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(names), LOOKED_AT_TOGETHER):
            some = [names[index] for index in order[start : start + LOOKED_AT_TOGETHER]]
            for look in threads.map(lambda name: look_at(root, name), some):
                note(images, looks, look, wanted)
            if looks:
                on_images(len(looks), min(wanted, len(names)))
            if len(looks) == wanted:
                break
    looks.sort(key=lambda look: look.name)
    images.names, images.contents = [look.name for look in looks], [look.content for look in looks]
    if not looks:
        raise ValueError(f"images={root.root}: none of {len(names)} can be used: {left_out(images)}")
    return images


def look_at(root: Store, name: str) -> Look:
    content = root.read_bytes(name)
    try:
        picture = open_upright(io.BytesIO(content))
        centre_square(picture, 1)
    except BROKEN as error:
        return Look(name, error=reason_of(error))
    return Look(name, hashlib.sha256(content).hexdigest(), picture.size)


def note(images: ImageSet, looks: list[Look], look: Look, wanted: int) -> None:
    """Takes a file that can be used, while any is wanted; keeps why another cannot."""
    if look.error:
        images.broken.append(f"{look.name}: {look.error}")
    elif min(look.sides) < images.image_size:
        images.small.append(f"{look.name}: {look.sides[0]}x{look.sides[1]}")
    elif len(looks) < wanted:
        looks.append(look)


def left_out(images: ImageSet) -> str:
    """How many files are not measured and why, with an example of each; empty where all are."""
    said = []
    if images.small:
        said.append(
            f"{len(images.small):,} smaller than {images.image_size} pixels on a side, such as {images.small[0]}"
        )
    if images.broken:
        said.append(f"{len(images.broken):,} that cannot be read, such as {images.broken[0]}")
    return "; ".join(said)
