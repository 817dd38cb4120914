"""WebDataset shards: tar files in which files of one name are one sample (`7.jpg`, `7.cls`, `7.txt`).

Some dozens of neighbours are what is read at once; a part of them, as one range of bytes.
"""

import tarfile
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from unlatent.platform.image_folder import SUFFIXES

SUFFIX = ".tar"
CHUNK = 64  # images
PLACES = ("offset", "size", "caption_offset", "caption_size")  # in bytes; null for what is not there


def look_through(file: pa.NativeFile) -> tuple[pa.Table, None]:
    """A row for each image: its chunk, its row in it, where its bytes and its caption's lie, its label if it has one.

    The format has no place for names of labels. Raises ValueError for what is no whole tar file.
    """
    samples: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as shard:
            for member in shard:
                if member.isfile():
                    note(shard, member, samples)
            end = shard.offset
    except tarfile.TarError as error:
        raise ValueError(f"is no whole tar file: {error}") from None
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # what tarfile takes for an end is often a cut
        raise ValueError("is no whole tar file: it has no end mark")
    found = [sample for sample in samples.values() if "offset" in sample]
    count = np.arange(len(found))
    columns = {"chunk": count // CHUNK, "row": count % CHUNK}
    places = {name: pa.array([sample.get(name) for sample in found], pa.int64()) for name in PLACES}
    return pa.table({**columns, **places, "label": labels_of(found)}), None


def note(shard: tarfile.TarFile, member: tarfile.TarInfo, samples: dict[str, dict[str, Any]]) -> None:
    """Adds what a member says of its sample."""
    path = PurePosixPath(member.name)
    stem, _, kind = path.name.partition(".")
    sample = samples.setdefault(str(path.with_name(stem or path.name)), {})
    if f".{kind.lower()}" in SUFFIXES:
        sample |= {"offset": member.offset_data, "size": member.size}
    elif kind in ("txt", "caption"):
        sample |= {"caption_offset": member.offset_data, "caption_size": member.size}
    elif kind == "cls":
        content = shard.extractfile(member)
        assert content, "a file has content"
        sample["label"] = content.read().decode().strip()


def labels_of(samples: list[dict[str, Any]]) -> pa.Array:
    """Numbers if all of them are, else names."""
    labels = [sample.get("label") for sample in samples]
    if all(label is None or label.isdigit() for label in labels):
        return pa.array([None if label is None else int(label) for label in labels], pa.int64())
    return pa.array(labels, pa.string())


def read(rows: pa.Table, file: pa.NativeFile) -> list[bytes]:
    """The image files at some places, by one read of all that lies between the first and the last."""
    return between(file, rows["offset"].to_numpy(), rows["size"].to_numpy())


def read_captions(rows: pa.Table, file: pa.NativeFile) -> list[str]:
    """Captions of some rows; empty ones where there are none."""
    places, sizes = (rows[name].fill_null(0).to_numpy() for name in ("caption_offset", "caption_size"))
    return [content.decode(errors="replace") for content in between(file, places, sizes)]


def between(file: pa.NativeFile, places: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any]) -> list[bytes]:
    there = sizes > 0
    if not there.any():
        return [b""] * len(sizes)
    first, last = int(places[there].min()), int((places + sizes).max())
    file.seek(first)
    content = file.read(last - first)
    ends = zip(places - first, places - first + sizes, strict=True)
    return [content[start:end] if end > start else b"" for start, end in ends]
