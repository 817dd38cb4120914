"""A folder of pictures, with one sub-folder for each class.

Every file is decoded once, by threads, before anything is trained on it. What that found is kept in the store as an
index, so that the next start only lists the folder.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unlatent.platform.image_decoding import BROKEN, centre_square, decode, open_upright
from unlatent.platform.parquet import parse
from unlatent.platform.store import Store

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
CROP_RULE = "adm-centre-square-1"  # changes when the same file would give other pixels
DECODED_AT_ONCE = 4096  # files handed to the threads before more are; bounds what waits in memory
NAMED_IN_ERRORS = 3
INDEX = pa.schema(
    {"path": pa.string(), "class": pa.string(), "width": pa.int64(), "height": pa.int64(), "error": pa.string()}
)


@dataclass(frozen=True)
class ImageFile:
    path: str  # relative to the data set's folder, with forward slashes; its first part is the class
    size_bytes: int

    @property
    def class_name(self) -> str:
        return self.path.partition("/")[0]


@dataclass(kw_only=True)
class ImageFolder:
    """The usable pictures of a folder, ordered by class and path."""

    hash: str
    classes: list[str]
    paths: list[str]
    labels: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    broken: list[str]  # path and reason of each file left out


class FolderPixels:
    """Decodes pictures when they are asked for. Pickles as their names alone."""

    def __init__(self, root: Path, paths: list[str], image_size: int) -> None:
        self.root, self.image_size = root, image_size
        self.paths = pa.array(paths, pa.string())  # a tenth of a list's memory in every decoding process

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:  # (3, S, S)
        path = self.root / self.paths[int(index)].as_py()
        try:
            return decode(path, self.image_size)
        except BROKEN as error:
            raise ValueError(f"{path} was a picture when the data set was indexed: {error}") from error


def open_folder(root: Path, image_size: int, held_out: float, skip_broken: bool, store: Store) -> ImageFolder:
    """Raises ValueError for a missing folder, a class without pictures, or a broken file that is not to be skipped."""
    files = list_images(root)
    identity = folder_hash(files, image_size, held_out)
    index = read_index(store, identity) or write_index(store, identity, root, files, image_size)
    rows = index.to_pylist()
    usable = [row for row in rows if row["error"] is None]
    broken = [f"{row['path']}: {row['error']}" for row in rows if row["error"] is not None]
    if broken and not skip_broken:
        raise ValueError(describe_broken(root, broken, len(rows)))

    classes = sorted({file.class_name for file in files})
    for name in set(classes) - {row["class"] for row in usable}:
        raise ValueError(f"data.root={root}: class {name!r} has no picture that can be read")
    number = {name: label for label, name in enumerate(classes)}
    paths, labels = [row["path"] for row in usable], np.array([number[row["class"]] for row in usable])
    mask = choose_held_out(paths, labels, held_out)
    return ImageFolder(hash=identity, classes=classes, paths=paths, labels=labels, held_out=mask, broken=broken)


def list_images(root: Path) -> list[ImageFile]:
    """Every image file below every class's folder, ordered; hidden files and folders are not looked at."""
    if not root.is_dir():
        raise ValueError(f"data.root={root} is not a folder")
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise ValueError(f"data.root={root} has no sub-folders; it needs one for each class, with its pictures in it")
    files = []
    for folder in classes:
        found = sorted(images_below(root, folder), key=lambda file: file.path)
        if not found:
            raise ValueError(f"data.root={root}: class {folder.name!r} is empty; it needs {describe_suffixes()} files")
        files += found
    return files


def images_below(root: Path, folder: Path) -> Iterator[ImageFile]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and path.is_file():
                yield ImageFile(path.relative_to(root).as_posix(), path.stat().st_size)


def folder_hash(files: list[ImageFile], image_size: int, held_out: float) -> str:
    """Identity of the data set: names and sizes in bytes of its files, how they are cropped, what is held out.

    The content is not read: a file changed without a change of its size keeps the hash.
    """
    digest = hashlib.sha256(f"{CROP_RULE} {image_size} {held_out}\n".encode())
    for file in files:
        digest.update(f"{file.path}\0{file.size_bytes}\n".encode())
    return digest.hexdigest()


def index_path(identity: str) -> str:
    return f"artifacts/datasets/{identity}/index.parquet"


def read_index(store: Store, identity: str) -> pa.Table | None:
    if not store.exists(index_path(identity)):
        return None
    return parse(store.read_bytes(index_path(identity)))


def write_index(store: Store, identity: str, root: Path, files: list[ImageFile], image_size: int) -> pa.Table:
    with ThreadPoolExecutor() as threads:
        rows: list[dict[str, Any]] = []
        for start in range(0, len(files), DECODED_AT_ONCE):
            some = files[start : start + DECODED_AT_ONCE]
            rows += threads.map(lambda file: inspect_image(root, file, image_size), some)
    index = pa.Table.from_pylist(rows, INDEX)
    sink = pa.BufferOutputStream()
    pq.write_table(index, sink)
    store.write_bytes(index_path(identity), sink.getvalue().to_pybytes())
    return index


def inspect_image(root: Path, file: ImageFile, image_size: int) -> dict[str, Any]:
    """A row of the index: the picture's own size, or why it cannot be used."""
    row = {"path": file.path, "class": file.class_name, "width": None, "height": None, "error": None}
    try:
        picture = open_upright(root / file.path)
        centre_square(picture, image_size)
    except BROKEN as error:
        reason = " ".join(str(error).split()).replace(f"{root}/", "")
        return {**row, "error": reason or type(error).__name__}
    return {**row, "width": picture.width, "height": picture.height}


def choose_held_out(paths: list[str], labels: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Marks pictures by a hash of their paths, so that files added later change nothing for those there are.

    Of each class at least one picture is left to train on.
    """
    position = np.array([int(hashlib.sha256(path.encode()).hexdigest()[:13], 16) / 16**13 for path in paths])
    mask = position < share
    in_training = np.bincount(labels[~mask], minlength=labels.max() + 1)
    for label in np.flatnonzero(in_training == 0):
        members = np.flatnonzero(labels == label)
        mask[members[position[members].argmax()]] = False
    return mask


def describe_broken(root: Path, broken: list[str], files: int) -> str:
    named = "; ".join(broken[:NAMED_IN_ERRORS]) + ("; …" if len(broken) > NAMED_IN_ERRORS else "")
    return (
        f"data.root={root}: {len(broken)} of {files} files cannot be read as pictures ({named}); "
        "data.broken=skip would leave them out"
    )


def describe_suffixes() -> str:
    return ", ".join(sorted(suffix.removeprefix(".") for suffix in SUFFIXES))
