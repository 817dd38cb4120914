"""Images that lie together in shards: Parquet files, or WebDataset's tar files, in a folder or an object store.

Shards are looked through once, without decoding an image. What that found is kept in the store as an index, so that
the next start only lists the folder.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import fs

from unlatent.platform import parquet_shards, webdataset_shards
from unlatent.platform.image_folder import ImageFile, folder_hash, index_path, read_index, save_index
from unlatent.platform.store import Store

FORMATS: dict[str, Any] = {"parquet": parquet_shards, "webdataset": webdataset_shards}
UNLABELLED = "image"  # the one class of images that have no label
CLASS_NAMES = b"classes"


@dataclass(kw_only=True)
class Shards:
    """What the shards of a folder hold, in the order in which it lies there."""

    hash: str
    classes: list[str]
    labels: NDArray[np.int64]
    pixels: "ShardPixels"
    held_out: NDArray[np.bool_]


@dataclass
class ShardPixels:
    """Image files by number, read chunk by chunk. Arrays of one entry an image."""

    root: Store
    kind: str
    names: list[str]  # of the shards
    shard: NDArray[np.int64]
    chunk: NDArray[np.int64]  # in its shard
    row: NDArray[np.int64]  # in its chunk
    offset: NDArray[np.int64]
    size: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def chosen(self, mask: NDArray[np.bool_]) -> "ShardPixels":
        columns = (each[mask] for each in (self.shard, self.chunk, self.row, self.offset, self.size))
        return ShardPixels(self.root, self.kind, self.names, *columns)

    @property
    def chunk_lengths(self) -> NDArray[np.int64]:
        """Images in each chunk, in their order."""
        _, counts = np.unique(np.stack([self.shard, self.chunk]), axis=1, return_counts=True)
        return counts

    def fetch(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Image files, each chunk read once."""
        found: list[bytes] = [b""] * len(indices)
        places = np.stack([self.shard[indices], self.chunk[indices]])
        for shard, chunk in np.unique(places, axis=1).T.tolist():
            wanted = np.flatnonzero((places[0] == shard) & (places[1] == chunk))
            some = indices[wanted]
            with self.root.files.open_input_file(self.root.inside(self.names[shard])) as file:
                contents = FORMATS[self.kind].read(file, chunk, self.row[some], self.offset[some], self.size[some])
            for place, content in zip(wanted, contents, strict=True):
                found[place] = content
        return found

    def name(self, index: int) -> str:
        """Of an image, for who has to look for it."""
        kind = "row group" if self.kind == "parquet" else "part"
        return f"{self.names[self.shard[index]]}, {kind} {self.chunk[index]}, image {self.row[index]}"


def open_shards(root: Store, kind: str, image_size: int, held_out: float, store: Store) -> Shards:
    """Raises ValueError for a folder without shards, and for a shard that is not what its name says."""
    shards = list_shards(root, FORMATS[kind].SUFFIX)
    identity = folder_hash(shards, image_size, held_out)
    index = read_index(store, identity) or write_index(store, identity, root, kind, shards)
    classes, labels = labels_of(index)
    columns = {name: index[name].to_numpy() for name in ("shard", "chunk", "row", "offset", "size")}
    pixels = ShardPixels(root, kind, [shard.path for shard in shards], **columns)
    return Shards(
        hash=identity, classes=classes, labels=labels, pixels=pixels, held_out=choose(pixels, held_out)
    )


def list_shards(root: Store, suffix: str) -> list[ImageFile]:
    selector = fs.FileSelector(root.inside(""), recursive=True, allow_not_found=True)
    found = [info for info in root.files.get_file_info(selector) if info.is_file and info.path.endswith(suffix)]
    if not found:
        raise ValueError(f"data.root={root.root} holds no {suffix} files")
    base = len(root.base.rstrip("/")) + 1
    return sorted((ImageFile(info.path[base:], info.size) for info in found), key=lambda shard: shard.path)


def write_index(store: Store, identity: str, root: Store, kind: str, shards: list[ImageFile]) -> pa.Table:
    """Looks through all shards, several at once."""
    reader = FORMATS[kind]

    def look(number: int) -> tuple[pa.Table, list[str] | None]:
        with root.files.open_input_file(root.inside(shards[number].path)) as file:
            try:
                found = reader.look_through(file)
                file.seek(0)
                names = reader.class_names(file)
            except (ValueError, OSError) as error:
                raise ValueError(f"{root.uri(shards[number].path)} {error}") from None
        return found.append_column("shard", pa.array([number] * len(found), pa.int64())), names

    with ThreadPoolExecutor() as threads:
        looked = list(threads.map(look, range(len(shards))))
    index = pa.concat_tables([table for table, _ in looked], promote_options="permissive")
    names = next((names for _, names in looked if names), None)
    return save_index(store, identity, with_labels(root, index, names))
