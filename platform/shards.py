"""Images that lie together in shards: Parquet files, or WebDataset's tar files, in a folder or an object store.

Shards are looked through once, without decoding an image. What that found is kept in the store as an index, so that
the next start only lists the folder.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import fs

from unlatent.platform import parquet_shards, webdataset_shards
from unlatent.platform.buckets import Sides
from unlatent.platform.image_decoding import BROKEN, decode, decode_all, upright_sides
from unlatent.platform.image_folder import (
    choose_held_out,
    dataset_hash,
    describe_broken,
    listing_hash,
    read_index,
    reason_of,
    save_index,
)
from unlatent.platform.store import File, Store

FORMATS: dict[str, Any] = {"parquet": parquet_shards, "webdataset": webdataset_shards}
MEASURED_AT_ONCE = 1024  # images; bounds what waits in memory
UNLABELLED = "image"  # the one class of images that have no label
CLASSES = b"classes"  # of the index's metadata: names by label, one a line

Content = TypeVar("Content")


@dataclass(kw_only=True)
class Shards:
    """What the shards of a folder hold, in the order in which it lies there."""

    hash: str
    classes: list[str]
    labels: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    pixels: "ShardPixels"
    sides: NDArray[np.int64] | None  # (N, 2) height and width of each, upright, where they were measured
    broken: list[str]  # place and reason of each image left out


@dataclass
class ShardPixels:
    """Decodes images when they are asked for, and reads each chunk once for that. Pickles as where they lie."""

    root: Store
    kind: str
    names: list[str]  # of the shards
    index: pa.Table = field(repr=False)  # a row an image, in the order in which they lie
    image_size: int
    listed: str  # hash of the shards as they lie there, by which it is known what is broken in them

    def __len__(self) -> int:
        return len(self.index)

    @property
    def image_bytes(self) -> int:
        return 3 * self.image_size**2

    def chosen(self, mask: NDArray[np.bool_]) -> "ShardPixels":
        return replace(self, index=self.index.filter(pa.array(mask)))

    def sides(self, store: Store) -> NDArray[np.int64]:  # (N, 2)
        """Height and width of every image, upright; kept in the store. Of one that has no header that says so: 1, 1."""
        identity = hashlib.sha256(f"{self.listed} sides".encode()).hexdigest()
        kept = read_index(store, identity)
        if kept is None:
            found: list[Sides] = []
            with ThreadPoolExecutor() as threads:
                for start in range(0, len(self), MEASURED_AT_ONCE):
                    some = np.arange(start, min(start + MEASURED_AT_ONCE, len(self)))
                    found += threads.map(sides_or_square, self.contents(some))
            heights, widths = zip(*found, strict=True)
            kept = save_index(store, identity, pa.table({"height": heights, "width": widths}))
        return np.stack([kept["height"].to_numpy(), kept["width"].to_numpy()], axis=1)

    @property
    def chunk_lengths(self) -> NDArray[np.int64]:
        """Images in each chunk, in their order."""
        places = self.index.select(["shard", "chunk"])
        return (
            places.group_by(["shard", "chunk"], use_threads=False)
            .aggregate([([], "count_all")])["count_all"]
            .to_numpy()
        )

    def read_parts(
        self, parts: Sequence[NDArray[np.int64]], sides: Sequence[Sides], threads: int | None
    ) -> Iterator[NDArray[np.uint8]]:  # (n, 3, H, W) each
        indices = np.concatenate(parts)
        contents = self.contents(indices)
        ends = np.cumsum([len(part) for part in parts])
        for (height, width), places in zip(sides, np.split(np.arange(len(indices)), ends[:-1]), strict=True):

            def decode_one(place: int, height: int = height, width: int = width) -> NDArray[np.uint8]:
                return self.decode(contents[place], int(indices[place]), height, width)

            yield decode_all(decode_one, places, threads)

    def contents(self, indices: NDArray[np.int64]) -> list[bytes]:
        """The image files as they are."""
        return self.fetch(indices, FORMATS[self.kind].read)

    def captions(self, indices: NDArray[np.int64]) -> list[str]:
        """Empty ones where there are none."""
        return self.fetch(indices, FORMATS[self.kind].read_captions)

    def embeddings(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Captions as an encoder reads them. Raises ValueError where there are none."""
        return self.fetch(indices, parquet_shards.read_embeddings)

    def fetch(
        self, indices: NDArray[np.int64], read: Callable[[pa.Table, pa.NativeFile], list[Content]]
    ) -> list[Content]:
        """What `read` finds for each image; it is given the images of one chunk at a time."""
        rows = self.index.take(indices)
        places = np.stack([rows["shard"].to_numpy(), rows["chunk"].to_numpy()])
        found: list[Any] = [None] * len(indices)
        for shard, chunk in np.unique(places, axis=1).T.tolist():
            wanted = np.flatnonzero((places[0] == shard) & (places[1] == chunk))
            contents = self.root.read_with(self.names[shard], partial(read, rows.take(wanted)))
            for place, content in zip(wanted, contents, strict=True):
                found[place] = content
        return found

    def decode(self, content: bytes, index: int, height: int, width: int) -> NDArray[np.uint8]:  # (3, height, width)
        try:
            return decode(io.BytesIO(content), height, width)
        except BROKEN as error:
            raise ValueError(f"{self.name(index)} is no readable picture: {reason_of(error)}") from None

    def name(self, index: int) -> str:
        """Of an image, for who has to look for it."""
        shard, chunk, row = (self.index[name][index].as_py() for name in ("shard", "chunk", "row"))
        part = "row group" if self.kind == "parquet" else "part"
        return f"{self.root.uri(self.names[shard])}, {part} {chunk}, image {row}"


def sides_or_square(content: bytes) -> Sides:
    """Of an image file; 1, 1 for one that cannot be read, whoever decodes it names it."""
    try:
        return upright_sides(io.BytesIO(content))
    except BROKEN:
        return 1, 1


def open_shards(
    root: Store, kind: str, image_size: int, held_out: float, skip_broken: bool, store: Store, measured: bool = False
) -> Shards:
    """What shards hold; with the sides of every image only if `measured`, for which all of them are read once.

    Raises ValueError for a folder without shards, for a shard that is not what its name says, and for broken images
    that a check has found, unless they are to be skipped.
    """
    files = list_shards(root, FORMATS[kind].SUFFIX)
    listed = listing_hash(f"{kind} ", root, files)
    index = read_index(store, listed) or save_index(store, listed, look_through(root, kind, files))
    identity = index_hash(dataset_hash(f"{kind} ", files, image_size, held_out), index)
    classes = index.schema.metadata[CLASSES].decode().split("\n")
    labels = index["label"].to_numpy()
    names = [file.path for file in files]
    broken = read_broken(store, listed)
    if broken and not skip_broken:
        raise ValueError(describe_broken(root, list(broken.values()), len(index)))
    pixels = ShardPixels(root, kind, names, index.drop_columns(["label"]), image_size, listed)
    sides = pixels.sides(store) if measured else None
    if broken:
        whole = np.ones(len(index), dtype=np.bool_)
        whole[list(broken)] = False
        pixels, labels, sides = pixels.chosen(whole), labels[whole], None if sides is None else sides[whole]
        identity = hashlib.sha256(f"{identity} without {sorted(broken)}".encode()).hexdigest()
    return Shards(
        hash=identity,
        classes=classes,
        labels=labels,
        held_out=choose_held_out(image_names(names, pixels.index) if held_out else [], labels, held_out),
        pixels=pixels,
        sides=sides,
        broken=list(broken.values()),
    )


def index_hash(files: str, index: pa.Table) -> str:
    """Identity of what shards of certain names and sizes hold: labels, and where everything lies."""
    digest = hashlib.sha256(files.encode())
    for name in sorted(index.column_names):
        digest.update(pc.fill_null(index[name], 0).to_numpy().tobytes())
    return digest.hexdigest()


def broken_path(listed: str) -> str:
    return f"artifacts/datasets/{listed}/broken.json"


def read_broken(store: Store, listed: str) -> dict[int, str]:
    """What a check of all images has found broken: place in the index -> name and reason."""
    if not store.exists(broken_path(listed)):
        return {}
    return {int(place): reason for place, reason in json.loads(store.read_bytes(broken_path(listed))).items()}


def save_broken(store: Store, listed: str, broken: dict[int, str]) -> None:
    store.write_bytes(broken_path(listed), json.dumps(broken).encode())


def image_names(shards: list[str], index: pa.Table) -> list[str]:
    places = index.select(["shard", "chunk", "row"]).to_pylist()
    return [f"{shards[place['shard']]}/{place['chunk']}/{place['row']}" for place in places]


def list_shards(root: Store, suffix: str) -> list[File]:
    if root.kind("") != fs.FileType.Directory:
        raise ValueError(f"data.root={root.root} is not a folder")
    found = [file for file in root.walk() if file.path.endswith(suffix)]
    if not found:
        raise ValueError(f"data.root={root.root} holds no {suffix} files")
    return found


def look_through(root: Store, kind: str, files: list[File]) -> pa.Table:
    """The index of shards, which are looked through several at once."""

    def look(number: int) -> tuple[pa.Table, list[str] | None]:
        try:
            found, names = root.read_with(files[number].path, FORMATS[kind].look_through)
        except ValueError as error:
            raise ValueError(f"{root.uri(files[number].path)} {error}") from None
        return found.append_column("shard", pa.array([number] * len(found), pa.int64())), names

    with ThreadPoolExecutor() as threads:
        looked = list(threads.map(look, range(len(files))))
    index = concatenated([table for table, _ in looked])
    if not len(index):
        raise ValueError(f"data.root={root.root} holds shards, and no image in them")
    labels, classes = numbered(
        root, index["label"].combine_chunks(), next((names for _, names in looked if names), None)
    )
    index = index.set_column(index.schema.get_field_index("label"), "label", labels)
    return index.replace_schema_metadata({CLASSES: "\n".join(classes)})


def concatenated(tables: list[pa.Table]) -> pa.Table:
    """Shards whose labels are names in one and numbers in another have names."""
    kinds = {table.schema.field("label").type for table in tables}
    common = pa.string() if kinds & {pa.string(), pa.large_string()} else pa.int64()
    place = tables[0].schema.get_field_index("label")
    return pa.concat_tables(table.set_column(place, "label", table["label"].cast(common)) for table in tables)


def numbered(root: Store, labels: pa.Array, names: list[str] | None) -> tuple[pa.Array, list[str]]:
    """Labels from 0 on, and their names: those given, or sorted, or the numbers themselves.

    Raises ValueError where some images have no label, or some label no image.
    """
    if labels.null_count == len(labels):
        return pa.array(np.zeros(len(labels), dtype=np.int64)), [UNLABELLED]
    if labels.null_count:
        raise ValueError(f"data.root={root.root}: {labels.null_count:,} of {len(labels):,} images have no label")
    if pa.types.is_string(labels.type):
        names = sorted(labels.unique().to_pylist())
        labels = pc.index_in(labels, pa.array(names)).cast(pa.int64())
    highest = pc.max(labels).as_py()
    if names is None and highest >= len(labels):
        raise ValueError(
            f"data.root={root.root}: label {highest} is above the {len(labels):,} images there are; "
            "labels numbered from 0 on would do, or names"
        )
    classes = names or [str(number) for number in range(highest + 1)]
    if pc.min(labels).as_py() < 0 or highest >= len(classes):
        raise ValueError(f"data.root={root.root}: label {highest} is not one of its {len(classes)} classes, from 0 on")
    without = sorted(set(range(len(classes))) - set(labels.unique().to_pylist()))
    if without:
        raise ValueError(f"data.root={root.root}: class {classes[without[0]]!r} has no image")
    return labels, classes
