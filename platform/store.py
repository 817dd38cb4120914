"""The one root that holds everything: `checkpoints/`, `results/`, `artifacts/`.

A local folder or an object store (`s3://bucket/folder`, `gs://…`), both through `pyarrow.fs`. Paths are relative to
the root, with forward slashes. What is written appears whole or not at all: on a file system by writing aside and
renaming, on an object store because an object exists only once its upload is complete. An object store that does not
answer is waited for (`outages`); a full disk is told as one.
"""

import contextlib
import errno
import fcntl
import functools
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pyarrow import NativeFile, fs

from unlatent.platform.outages import OutageError, outlast

Result = TypeVar("Result")

FULL = (errno.ENOSPC, errno.EDQUOT)


class StoreFullError(OSError):
    """There is no room for what was to be written; nothing of it was."""


@dataclass(frozen=True)
class File:
    path: str  # relative to the root, with forward slashes
    size_bytes: int
    changed_ns: int  # since 1970

    @property
    def is_hidden(self) -> bool:
        return self.path.startswith(".") or "/." in self.path


class Store:
    """Reads and writes under one root. Cheap to make, and pickles as its root alone."""

    def __init__(self, root: str | Path) -> None:
        self.is_local = "://" not in str(root)
        self.root = str(Path(root).expanduser().absolute()) if self.is_local else tidy(str(root))

    @property
    def files(self) -> fs.FileSystem:
        return fs.LocalFileSystem() if self.is_local else open_address(self.root)[0]

    @property
    def base(self) -> str:
        return self.root if self.is_local else open_address(self.root)[1]

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.root,)

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    def outlast(self, call: Callable[[], Result]) -> Result:
        """What `call` returns, made again while an object store does not answer."""
        return call() if self.is_local else outlast(self.root, call)

    def inside(self, path: str) -> str:
        """The path as `pyarrow.fs` wants it."""
        if ".." in path.split("/") or path.startswith("/"):
            raise ValueError(f"path={path!r} leaves the store; give one relative to its root")
        return f"{self.base}/{path}" if path else self.base

    def uri(self, path: str) -> str:
        """The path as a user would write it: absolute, or with the store's scheme."""
        if self.is_local:
            return f"{self.root}/{path}"
        address, _, options = self.root.partition("?")
        return f"{address}/{path}" + (f"?{options}" if options else "")

    def local(self, path: str) -> Path:
        """The path on this machine's disk.

        Raises ValueError for an object store.
        """
        if not self.is_local:
            raise ValueError(f"store={self.root} is not on this machine's disk")
        return Path(self.inside(path))

    def exists(self, path: str) -> bool:
        return self.kind(path) != fs.FileType.NotFound

    def kind(self, path: str) -> fs.FileType:
        inside = self.inside(path)
        return self.outlast(lambda: self.files.get_file_info(inside)).type

    def require_folder(self, named: str) -> None:
        """Raises ValueError where the root is no folder that can be written into, and cannot become one.

        Tried on the nearest folder that is there, in which nothing stays. `named` is what a user calls the root.
        """
        if not self.is_local:
            return
        nearest = next(path for path in Path(self.root, "_").parents if os.path.lexists(path))
        if not nearest.is_dir():
            raise ValueError(f"{named}={self.root} cannot be a folder: {nearest} is none; name another")
        try:
            tempfile.TemporaryFile(dir=nearest).close()
        except OSError as error:
            raise ValueError(f"{named}={self.root}: {nearest} cannot be written to: {error.strerror}") from None

    def list(self, folder: str) -> list[str]:
        """Names in a folder, sorted, without what is still being written; none for a missing folder."""
        selector = fs.FileSelector(self.inside(folder), allow_not_found=True)
        names = {info.base_name for info in self.outlast(lambda: self.files.get_file_info(selector))}
        return sorted(name for name in names if not name.startswith("."))  # some servers list twice what is replaced

    def walk(self, folder: str = "") -> Sequence[File]:
        """Every file below a folder, in the order of their paths; nothing hidden is looked at."""
        selector = fs.FileSelector(self.inside(folder), recursive=True)
        skipped = len(self.inside("").rstrip("/")) + 1
        infos = self.outlast(lambda: self.files.get_file_info(selector))
        found = (File(info.path[skipped:], info.size, info.mtime_ns or 0) for info in infos if info.is_file)
        return sorted((file for file in found if not file.is_hidden), key=lambda file: file.path)

    def read_bytes(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        if self.is_local:
            return self.local(path).read_bytes()
        try:
            return self.outlast(lambda: self.read_object(path))
        except OutageError:
            raise
        except OSError as error:  # also where the object went between two requests, which pyarrow does not tell apart
            if self.exists(path):
                raise
            raise FileNotFoundError(f"{self.uri(path)} does not exist") from error

    def read_object(self, path: str) -> bytes:
        """pyarrow asks for the size, then for so many bytes. They count if the object has stayed the same meanwhile."""
        for _ in range(20):
            with self.files.open_input_file(self.inside(path)) as file:
                version, data = file.metadata(), file.read()
            with self.files.open_input_file(self.inside(path)) as file:
                if file.metadata() == version:
                    return data
        raise TimeoutError(f"{self.uri(path)} changes faster than it can be read")

    def read_with(self, path: str, read: Callable[[NativeFile], Result]) -> Result:
        """What `read` makes of an open file, which it may read here and there: of one that nobody changes meanwhile."""

        def read_open() -> Result:
            with self.files.open_input_file(self.inside(path)) as file:
                return read(file)

        return self.outlast(read_open)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Readers see the old content or the new, never a part.

        Raises StoreFullError where a disk has no room for it.
        """
        if not self.is_local:
            self.outlast(lambda: self.write_object(path, data))
            return
        target = self.local(path)
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        with self.fullness_told(len(data)):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                aside.write_bytes(data)
                aside.replace(target)
            finally:
                aside.unlink(missing_ok=True)

    def write_object(self, path: str, data: bytes) -> None:
        with self.files.open_output_stream(self.inside(path)) as stream:
            stream.write(data)

    @contextlib.contextmanager
    def fullness_told(self, size: int) -> Iterator[None]:
        """Raises StoreFullError for the system's word that the disk, or one's share of it, is full."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            disk = shutil.disk_usage(next(folder for folder in Path(self.root, "_").parents if folder.exists()))
            raise StoreFullError(
                f"store={self.root} is full: {size:,} bytes to write, {disk.free:,} free of {disk.total:,}; "
                "free some, and the same command goes on"
            ) from error

    def write_folder(self, path: str, contents: dict[str, bytes]) -> None:
        """Writes a folder of files that appears whole, as `new_folder` says."""
        with self.new_folder(path) as begun:
            for name, data in contents.items():
                self.write_bytes(f"{begun}/{name}", data)

    @contextlib.contextmanager
    def new_folder(self, path: str) -> Iterator[str]:
        """Where to write the files of a folder, which then appears whole at its path, in the place of one before.

        On a file system by renaming the folder. An object store has no folders to rename: there the file that is
        written last is for readers the sign that the rest is there.
        """
        if not self.is_local:
            self.delete(path)
            yield path
            return
        target = self.local(path)
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            yield aside.relative_to(self.root).as_posix()
            self.delete(path)
            aside.rename(target)
        finally:
            if aside.exists():
                self.files.delete_dir(str(aside))

    def delete_unfinished(self, folder: str) -> None:
        """Deletes what a writer that was killed has left half-written in a folder of a local store."""
        if self.is_local and self.local(folder).is_dir():
            for path in self.local(folder).glob(f".*.{'[0-9a-f]' * 32}"):
                self.delete(path.relative_to(self.root).as_posix())

    def delete(self, path: str) -> None:
        """Deletes a file or a folder; it is well if there is none."""
        self.outlast(lambda: self.delete_found(path))

    def delete_found(self, path: str) -> None:
        inside = self.inside(path)
        kind = self.files.get_file_info(inside).type
        if kind == fs.FileType.Directory:
            self.files.delete_dir(inside)
        elif kind == fs.FileType.File:
            self.files.delete_file(inside)

    @contextlib.contextmanager
    def lock(self, path: str, shared: bool = False, wait: bool = True) -> Iterator[None]:
        """Holds a lock file of a local store; let go by the system when a process dies.

        On an object store there is nothing to hold: the block just runs. Raises BlockingIOError, where it is not to
        wait, for a lock that another holds.
        """
        if not self.is_local:
            yield
            return
        file = self.local(path)
        with self.fullness_told(0):
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = file.open("a")
        with handle:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            yield


def tidy(address: str) -> str:
    """An object store's address without a slash at the end of its path.

    Raises ValueError for one with a password in it: the address is kept with every result.
    """
    path, question, options = address.partition("?")
    user, _, _ = path.partition("://")[2].partition("/")[0].rpartition("@")
    if ":" in user:
        raise ValueError("store: the address holds a password; give it in the environment, as AWS_SECRET_ACCESS_KEY")
    return path.rstrip("/") + question + options


@functools.cache
def open_address(address: str) -> tuple[fs.FileSystem, str]:
    """The file system of an object store, and where in it the address points; asks once whether the bucket is there.

    Raises ValueError for an address that leads nowhere.
    """
    try:
        files, base = fs.FileSystem.from_uri(address)
        found = files.get_file_info(base.partition("/")[0]).type
    except (OSError, ValueError) as error:
        raise ValueError(f"store={address}: {error}") from None
    if not base or found == fs.FileType.NotFound:
        raise ValueError(f"store={address} names no bucket that is there")
    return files, base


def split_address(address: str) -> tuple[Store, str]:
    """The store that a folder lies in, and the folder's name there: what `Store.uri` has joined, taken apart."""
    path, question, options = address.partition("?") if "://" in address else (address, "", "")
    root, _, name = path.rstrip("/").rpartition("/")
    return Store((root or ".") + question + options), name
