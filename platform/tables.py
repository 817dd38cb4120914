"""The results tables: Parquet, one folder a table, read by plain `pandas.read_parquet(folder)`.

One write is one file with a name of its own, whole or not there, so any number of writers lose and double nothing.
A row that changes is a file named by its key; rewriting that file is the only update there is.
"""

import ctypes
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from unlatent.platform.parquet import parse, to_bytes
from unlatent.platform.schemas import SCHEMA_VERSION, TABLES
from unlatent.platform.store import Store

Row = dict[str, Any]


def append(store: Store, table: str, rows: Sequence[Row], name: str | None = None) -> None:
    """Adds `rows` as one new file.

    With a `name`, writing the same name again replaces those rows: for what may be measured again but must not count
    twice.
    """
    write(store, table, name or uuid.uuid4().hex, rows)


def replace(store: Store, table: str, row: Row) -> None:
    """Writes the one row of its key, in the place of the one before."""
    key = TABLES[table].key
    assert key, f"{table} has no rows that change"
    write(store, table, row[key], [row])


def write(store: Store, table: str, name: str, rows: Sequence[Row]) -> None:
    schema = TABLES[table].schema
    for row in rows:
        if odd := row.keys() ^ set(schema.names) - {"schema_version"}:
            raise ValueError(f"{table}: row and schema disagree on columns {sorted(odd)}")
    versioned = [{**row, "schema_version": SCHEMA_VERSION} for row in rows]
    content = pa.Table.from_pylist(versioned, schema)
    with store.lock(lock_path(table), shared=True):
        store.write_bytes(f"{folder(table)}/{name}.parquet", to_bytes(content))


def remove(store: Store, table: str, name: str) -> None:
    """Takes back the rows written under `name`."""
    with store.lock(lock_path(table), shared=True):
        store.delete(f"{folder(table)}/{name}.parquet")


def remove_rows(store: Store, table: str, where: pc.Expression) -> None:
    """Takes back the rows that meet a condition, out of whatever files hold them."""
    if read(store, table, where).empty:
        return
    with store.lock(lock_path(table)):
        for name in names(store, table):
            path = f"{folder(table)}/{name}.parquet"
            content = parse(store.read_bytes(path))
            kept = content.filter(~where)
            if kept.num_rows < content.num_rows:
                store.write_bytes(path, to_bytes(kept))


def names(store: Store, table: str) -> list[str]:
    """The names that rows were written under."""
    return [name.removesuffix(".parquet") for name in store.list(folder(table)) if name.endswith(".parquet")]


def read(store: Store, table: str, where: pc.Expression | None = None) -> pd.DataFrame:
    """All rows, or those that meet a condition such as `pyarrow.dataset.field("run_id") == "a"`.

    Raises ValueError for a table that does not exist.
    """
    require_table(table)
    for _ in range(20):
        try:
            return scan(store, table, where).to_pandas()
        except FileNotFoundError:  # a file was listed, then taken back or merged before it was opened: list again
            time.sleep(0.05)
    raise TimeoutError(f"{store.uri(folder(table))} changes faster than it can be read")


def scan(store: Store, table: str, where: pc.Expression | None) -> pa.Table:
    schema, listed = TABLES[table].schema, names(store, table)
    if not listed:
        return schema.empty_table()
    if store.is_local:
        return ds.dataset(store.inside(folder(table)), schema, "parquet", filesystem=store.files).to_table(filter=where)

    def read_one(name: str) -> pa.Table:  # whole, as a row that is replaced between two requests would be a mixture
        return parse(store.read_bytes(f"{folder(table)}/{name}.parquet"), schema, where)

    with ThreadPoolExecutor() as threads:
        return pa.concat_tables(threads.map(read_one, listed))


def require_table(table: str) -> None:
    """Raises ValueError for a table that does not exist."""
    if table not in TABLES:
        raise ValueError(f"table={table!r} is not one of {', '.join(TABLES)}")


def row(store: Store, table: str, key: str) -> Row | None:
    """The one row of a key, as plain Python values, or None."""
    try:
        content = store.read_bytes(f"{folder(table)}/{key}.parquet")
    except FileNotFoundError:
        return None
    [found] = parse(content).to_pylist()
    return {name: found.get(name) for name in TABLES[table].schema.names if name != "schema_version"}


def table(name: str, store: str | Path = "store") -> pd.DataFrame:
    """A results table as a DataFrame, by its name: `runs`, `steps`, `evaluations` and the others of `TABLES`."""
    require_results(Store(store))
    return read(Store(store), name)


def require_results(store: Store) -> None:
    """Raises ValueError for a store without tables: a mistyped one, most likely."""
    if not store.exists("results"):
        raise ValueError(f"store={store.root} holds no results; store=FOLDER names another")


def folder(table: str) -> str:
    return f"results/{table}"


def lock_path(table: str) -> str:
    return f"results/.{table}.lock"


def compact(store: Store, table: str, only: frozenset[str] | None = None) -> int:
    """Merges the files of an append-only table, or `only` those named, into one. Returns how many were merged.

    The merged folder is built beside the live one out of hard links, then the two are exchanged in one system call:
    who lists the folder sees all of the old files or all of the new. Writers wait that long; readers need no lock.

    Raises ValueError for a table whose rows change, and for an object store, which cannot exchange two folders.
    """
    if TABLES[table].key:
        raise ValueError(f"table={table!r} has rows that change, each a file of its own; there is nothing to merge")
    if not store.is_local:
        raise ValueError(f"store={store.root} is an object store; compact works on a local folder")
    with store.lock(f"results/.{table}.compaction.lock"):
        return merge(store, table, only)


def merge(store: Store, table: str, only: frozenset[str] | None) -> int:
    live = store.local(folder(table))
    for left in live.parent.glob(f".{table}.{'[0-9a-f]' * 32}"):  # by a compaction that was killed
        shutil.rmtree(left)
    old = set(live.glob("*.parquet")) if live.exists() else set()
    if only is not None:
        old = {path for path in old if path.stem in only}
    if len(old) < 2:
        return 0
    beside = live.with_name(f".{table}.{uuid.uuid4().hex}")
    beside.mkdir()
    try:
        seen = {path: path.stat().st_ino for path in old}
        parts = [pq.read_table(path, schema=TABLES[table].schema, partitioning=None) for path in sorted(old)]
        pq.write_table(pa.concat_tables(parts), beside / f"{uuid.uuid4().hex}.parquet")
        with store.lock(lock_path(table)):
            if any(not path.exists() or path.stat().st_ino != inode for path, inode in seen.items()):
                return 0  # a file was replaced meanwhile: the next compaction takes it
            for path in set(live.glob("*.parquet")) - old:
                os.link(path, beside / path.name)
            exchange(live, beside)
        return len(old)
    finally:
        shutil.rmtree(beside)


def exchange(a: Path, b: Path) -> None:
    """Swaps two paths in one step (Linux `renameat2` with RENAME_EXCHANGE)."""
    at_working_folder, exchange_flag = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(at_working_folder, bytes(a), at_working_folder, bytes(b), exchange_flag):
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)}: cannot exchange two folders here", str(a))
