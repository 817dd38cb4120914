"""WebDataset shards: tar files in which neighbours of one name are one sample (`7.jpg`, `7.cls`, `7.txt`).

Some dozens of neighbours are what is read at once; a part of them, as one range of bytes.
"""

import tarfile
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unlatent.platform.image_folder import SUFFIXES

SUFFIX = ".tar"
CHUNK = 64  # images


def look_through(file: pa.NativeFile) -> pa.Table:
    """A row for each image: its chunk, its row in it, where its bytes lie, and its label if it has one.

    Raises ValueError for what is no whole tar file.
    """
    samples: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as shard:
            for member in shard:
                if member.isfile():
                    note(shard, member, samples)
    except tarfile.TarError as error:
        raise ValueError(f"is no whole tar file: {error}") from None
    found = [sample for sample in samples.values() if "offset" in sample]
    count = np.arange(len(found))
    columns = {name: [sample.get(name) for sample in found] for name in ("offset", "size", "label")}
    return pa.table({"chunk": count // CHUNK, "row": count % CHUNK, **columns})


def note(shard: tarfile.TarFile, member: tarfile.TarInfo, samples: dict[str, dict[str, Any]]) -> None:
    """Adds what a member says of its sample."""
    path = PurePosixPath(member.name)
    stem, _, kind = path.name.partition(".")
    sample = samples.setdefault(str(path.with_name(stem)), {})
    if f".{kind.lower()}" in SUFFIXES:
        sample |= {"offset": member.offset_data, "size": member.size}
    elif kind == "cls":
        content = shard.extractfile(member)
        assert content, "a file has content"
        text = content.read().decode().strip()
        sample["label"] = int(text) if text.isdigit() else text


def class_names(_: pa.NativeFile) -> None:
    """The format has no place for them."""


def read(
    file: pa.NativeFile, _: int, rows: NDArray[np.int64], offsets: NDArray[np.int64], sizes: NDArray[np.int64]
) -> list[bytes]:
    """The image files at some places, by one read of all that lies between the first and the last."""
    first, last = int(offsets.min()), int((offsets + sizes).max())
    file.seek(first)
    content = file.read(last - first)
    return [content[start - first : start - first + size] for start, size in zip(offsets, sizes, strict=True)]
