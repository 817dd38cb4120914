"""A folder of pictures, with one sub-folder for each class: on a disk, or in an object store.

Every file is decoded once, by threads, before anything is trained on it. What that found is kept in the store as an
index, so that the next start only lists the folder.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from unlatent.platform.buckets import Sides
from unlatent.platform.image_decoding import BROKEN, centre_square, decode, decode_all, open_upright
from unlatent.platform.parquet import parse
from unlatent.platform.store import File, Store

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
CROP_RULE = "adm-centre-square-1"  # changes when the same file would give other pixels
DECODED_AT_ONCE = 4096  # files handed to the threads before more are; bounds what waits in memory
NAMED_IN_ERRORS = 3
INDEX = pa.schema(
    {"path": pa.string(), "class": pa.string(), "width": pa.int64(), "height": pa.int64(), "error": pa.string()}
)


@dataclass(kw_only=True)
class ImageFolder:
    """The usable pictures of a folder, ordered by class and path."""

    hash: str
    classes: list[str]
    paths: list[str]
    labels: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    sides: NDArray[np.int64]  # (N, 2) height and width of each, upright
    broken: list[str]  # path and reason of each file left out


class FolderPixels:
    """Decodes pictures when they are asked for. Pickles as their names alone."""

    def __init__(self, root: Store, paths: list[str], image_size: int) -> None:
        self.root, self.image_size = root, image_size
        self.paths = pa.array(paths, pa.string())  # a tenth of a list's memory in every decoding process

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def image_bytes(self) -> int:
        return 3 * self.image_size**2

    def read_parts(
        self, parts: Sequence[NDArray[np.int64]], sides: Sequence[Sides], threads: int | None
    ) -> Iterator[NDArray[np.uint8]]:  # (n, 3, H, W) each
        for indices, (height, width) in zip(parts, sides, strict=True):
            yield decode_all(partial(self.decode, height=height, width=width), indices, threads)

    def contents(self, indices: NDArray[np.int64]) -> list[bytes]:
        """The files as they are."""
        with ThreadPoolExecutor() as threads:
            return list(threads.map(lambda index: self.root.read_bytes(self.path(index)), indices))

    def captions(self, indices: NDArray[np.int64]) -> list[str]:
        """Of `7.jpg`, what is in `7.txt`; an empty one where there is none."""
        with ThreadPoolExecutor() as threads:
            return list(threads.map(self.caption, indices))

    def caption(self, index: int) -> str:
        try:
            return self.root.read_bytes(self.path(index).rpartition(".")[0] + ".txt").decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    @property
    def captions_hash(self) -> str:
        """Identity of all captions there are: the names of their files, and their sizes in bytes."""
        return files_hash("captions ", [file for file in self.root.walk() if file.path.endswith(".txt")])

    def embeddings(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Raises ValueError: pictures have none."""
        raise ValueError(f"{self.root.root} holds no embedded captions; `unlatent data embed` writes shards with them")

    def path(self, index: int) -> str:
        return self.paths[int(index)].as_py()

    def name(self, index: int) -> str:
        """Of an image, for who has to look for it."""
        return self.root.uri(self.path(index))

    def decode(self, index: int, height: int, width: int) -> NDArray[np.uint8]:  # (3, height, width)
        content = io.BytesIO(self.root.read_bytes(self.path(index)))
        try:
            return decode(content, height, width)
        except BROKEN as error:
            raise ValueError(f"{self.name(index)} was a picture when the data set was indexed: {error}") from error


def open_folder(root: Store, image_size: int, held_out: float, skip_broken: bool, store: Store) -> ImageFolder:
    """Raises ValueError for a missing folder, a class without pictures, or a broken file that is not to be skipped."""
    files = list_images(root)
    listed = listing_hash("", root, files)
    index = read_index(store, listed) or write_index(store, listed, root, files, image_size)
    rows = index.to_pylist()
    usable = [row for row in rows if row["error"] is None]
    broken = [f"{row['path']}: {row['error']}" for row in rows if row["error"] is not None]
    if broken and not skip_broken:
        raise ValueError(describe_broken(root, broken, len(rows)))

    classes = sorted({class_of(file) for file in files})
    for name in set(classes) - {row["class"] for row in usable}:
        found = next(line for line in broken if line.startswith(f"{name}/"))
        raise ValueError(f"data.root={root.root}: class {name!r} has no picture that can be read ({found})")
    number = {name: label for label, name in enumerate(classes)}
    paths, labels = [row["path"] for row in usable], np.array([number[row["class"]] for row in usable])
    return ImageFolder(
        hash=dataset_hash("", files, image_size, held_out),
        classes=classes,
        paths=paths,
        labels=labels,
        held_out=choose_held_out(paths, labels, held_out),
        sides=np.array([(row["height"], row["width"]) for row in usable]),
        broken=broken,
    )


def list_images(root: Store) -> list[File]:
    """Every image file below every class's folder, ordered; hidden files and folders are not looked at."""
    if root.kind("") != fs.FileType.Directory:
        raise ValueError(f"data.root={root.root} is not a folder")
    classes = [name for name in root.list("") if root.kind(name) == fs.FileType.Directory]
    if not classes:
        raise ValueError(
            f"data.root={root.root} has no sub-folders; it needs one for each class, with its pictures in it"
        )
    files = [file for name in classes for file in root.walk(name) if is_image(file.path)]
    for name in sorted(set(classes) - {class_of(file) for file in files}):
        raise ValueError(f"data.root={root.root}: class {name!r} is empty; it needs {describe_suffixes()} files")
    return files


def is_image(path: str) -> bool:
    return any(path.lower().endswith(suffix) for suffix in SUFFIXES)


def class_of(file: File) -> str:
    return file.path.partition("/")[0]


def dataset_hash(kind: str, files: Sequence[File], image_size: int, held_out: float) -> str:
    """Identity of the data set: its files, how they are cropped, what is held out."""
    return files_hash(f"{kind}{CROP_RULE} {image_size} {held_out}\n", files)


def files_hash(used: str, files: Sequence[File]) -> str:
    """Identity of files that are used in some way, by their names and their sizes in bytes.

    The content is not read: a file changed without a change of its size keeps the hash.
    """
    digest = hashlib.sha256(used.encode())
    for file in files:
        digest.update(f"{file.path}\0{file.size_bytes}\n".encode())
    return digest.hexdigest()


def listing_hash(kind: str, root: Store, files: Sequence[File]) -> str:
    """Identity of files as they lie there now: what has been found out about them holds for no others."""
    digest = hashlib.sha256(f"{kind}{root.root}\n".encode())
    for file in files:
        digest.update(f"{file.path}\0{file.size_bytes}\0{file.changed_ns}\n".encode())
    return digest.hexdigest()


def index_path(identity: str) -> str:
    return f"artifacts/datasets/{identity}/index.parquet"


def read_index(store: Store, identity: str) -> pa.Table | None:
    if not store.exists(index_path(identity)):
        return None
    return parse(store.read_bytes(index_path(identity)))


def save_index(store: Store, identity: str, index: pa.Table) -> pa.Table:
    sink = pa.BufferOutputStream()
    pq.write_table(index, sink)
    store.write_bytes(index_path(identity), sink.getvalue().to_pybytes())
    return index


def write_index(store: Store, identity: str, root: Store, files: list[File], image_size: int) -> pa.Table:
    with ThreadPoolExecutor() as threads:
        rows: list[dict[str, Any]] = []
        for start in range(0, len(files), DECODED_AT_ONCE):
            some = files[start : start + DECODED_AT_ONCE]
            rows += threads.map(lambda file: inspect_image(root, file, image_size), some)
    return save_index(store, identity, pa.Table.from_pylist(rows, INDEX))


def inspect_image(root: Store, file: File, image_size: int) -> dict[str, Any]:
    """A row of the index: the picture's own size, or why it cannot be used."""
    row = {"path": file.path, "class": class_of(file), "width": None, "height": None, "error": None}
    content = io.BytesIO(root.read_bytes(file.path))
    try:
        picture = open_upright(content)
        centre_square(picture, image_size)
    except BROKEN as error:
        return {**row, "error": reason_of(error)}
    return {**row, "width": picture.width, "height": picture.height}


def reason_of(error: Exception) -> str:
    """Pillow's words for what is wrong with a file, without the address of its buffer."""
    reason = " ".join(str(error).split())
    return reason.partition(" <_io.BytesIO")[0] or type(error).__name__


def choose_held_out(paths: Sequence[str], labels: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Marks pictures by a hash of their paths, so that files added later change nothing for those there are.

    Of each class at least one picture is left to train on.
    """
    if share == 0:
        return np.zeros(len(labels), dtype=np.bool_)
    position = np.array([int(hashlib.sha256(path.encode()).hexdigest()[:13], 16) / 16**13 for path in paths])
    mask = position < share
    in_training = np.bincount(labels[~mask], minlength=labels.max() + 1)
    for label in np.flatnonzero(in_training == 0):
        members = np.flatnonzero(labels == label)
        mask[members[position[members].argmax()]] = False
    return mask


def describe_broken(root: Store, broken: list[str], files: int) -> str:
    named = "; ".join(broken[:NAMED_IN_ERRORS]) + ("; …" if len(broken) > NAMED_IN_ERRORS else "")
    return (
        f"data.root={root.root}: {len(broken)} of {files} files cannot be read as pictures ({named}); "
        "data.broken=skip would leave them out"
    )


def describe_suffixes() -> str:
    return ", ".join(sorted(suffix.removeprefix(".") for suffix in SUFFIXES))
