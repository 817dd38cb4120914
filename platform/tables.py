"""The results tables: Parquet, one folder a table, read by plain `pandas.read_parquet(folder)`.

One write is one file with a name of its own, whole or not there, so any number of writers lose and double nothing.
A row that changes is a file named by its key; rewriting that file is the only update there is. Rows of one run are in
files whose names begin with it, so that they are found among those of thousands.

`compact` merges files. What has been merged and changes again becomes a file of its own again.
"""

import contextlib
import ctypes
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
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

MERGED = "merged+"  # what names of merged files begin with: no run's name has a plus
ROW_GROUP = 1 << 16  # rows of a merged file that are read, or passed over, together


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
    path, content = file(table, row[key]), content_of(table, [row])
    with store.lock(lock_path(table), shared=True):
        if store.exists(path) or merged_row(store, table, row[key]) is None:
            store.write_bytes(path, to_bytes(content))
            return
    take_out(store, table, content, row[key])


def write(store: Store, table: str, name: str, rows: Sequence[Row]) -> None:
    content = content_of(table, rows)
    with store.lock(lock_path(table), shared=True):
        store.write_bytes(file(table, name), to_bytes(content))


def content_of(table: str, rows: Sequence[Row]) -> pa.Table:
    schema = TABLES[table].schema
    for row in rows:
        if odd := row.keys() ^ set(schema.names) - {"schema_version"}:
            raise ValueError(f"{table}: row and schema disagree on columns {sorted(odd)}")
    return pa.Table.from_pylist([{**row, "schema_version": SCHEMA_VERSION} for row in rows], schema)


def remove(store: Store, table: str, name: str) -> None:
    """Takes back the rows written under `name`."""
    with store.lock(lock_path(table), shared=True):
        store.delete(file(table, name))


def remove_rows(store: Store, table: str, run: str, where: pc.Expression) -> None:
    """Takes back the rows of a run that meet a condition, out of whatever files hold them."""
    if read(store, table, where, run).empty:
        return
    where &= pc.field("run_id") == run
    with store.lock(lock_path(table)):
        for name in names_of_run(store, table, run):
            path = file(table, name)
            content = parse(store.read_bytes(path))
            kept = content.filter(~where)
            if kept.num_rows < content.num_rows:
                store.write_bytes(path, to_bytes(kept))


def names(store: Store, table: str) -> list[str]:
    """The names that rows were written under."""
    return [name.removesuffix(".parquet") for name in store.list(folder(table)) if name.endswith(".parquet")]


def names_of_run(store: Store, table: str, run_id: str) -> list[str]:
    """The names under which rows of a run may be: its own, and those that say of no run that they are its."""
    return [name for name in names(store, table) if name.rpartition(".")[0] in ("", run_id)]


def read(store: Store, table: str, where: pc.Expression | None = None, run: str | None = None) -> pd.DataFrame:
    """All rows, or those of one run, or those that meet a condition such as `pyarrow.dataset.field("loss") < 1`.

    Raises ValueError for a table that does not exist.
    """
    require_table(table)
    for _ in range(20):
        try:
            return scan(store, table, where, run).to_pandas()
        except FileNotFoundError:  # a file was listed, then taken back or merged before it was opened: list again
            time.sleep(0.05)
    raise TimeoutError(f"{store.uri(folder(table))} changes faster than it can be read")


def scan(store: Store, table: str, where: pc.Expression | None, run: str | None) -> pa.Table:
    schema = TABLES[table].schema
    listed = names(store, table) if run is None else names_of_run(store, table, run)
    if run is not None:
        of_run = pc.field("run_id") == run
        where = of_run if where is None else where & of_run
    if not listed:
        return schema.empty_table()
    if store.is_local:
        paths = [store.inside(file(table, name)) for name in listed]
        return ds.dataset(paths, schema, "parquet", filesystem=store.files).to_table(filter=where)

    def read_one(name: str) -> pa.Table:  # whole, as a row that is replaced between two requests would be a mixture
        return parse(store.read_bytes(file(table, name)), schema, where)

    with ThreadPoolExecutor() as threads:
        return pa.concat_tables(threads.map(read_one, listed))


def require_table(table: str) -> None:
    """Raises ValueError for a table that does not exist."""
    if table not in TABLES:
        raise ValueError(f"table={table!r} is not one of {', '.join(TABLES)}")


def row(store: Store, table: str, key: str) -> Row | None:
    """The one row of a key, as plain Python values, or None."""
    found = own_row(store, table, key) or merged_row(store, table, key)
    if found is None and store.is_local:  # it may just have become a file of its own
        found = own_row(store, table, key)
    return found and {name: found.get(name) for name in TABLES[table].schema.names if name != "schema_version"}


def own_row(store: Store, table: str, key: str) -> Row | None:
    try:
        [found] = parse(store.read_bytes(file(table, key))).to_pylist()
    except FileNotFoundError:
        return None
    return found


def merged_row(store: Store, table: str, key: str) -> Row | None:
    """The row of a key that has no file of its own."""
    of_key = pc.field(TABLES[table].key) == key
    for _ in range(20):
        try:
            files = (store.read_bytes(file(table, name)) for name in merged_names(store, table))
            return next((row for content in files for row in parse(content, where=of_key).to_pylist()), None)
        except FileNotFoundError:  # merged anew since it was listed
            time.sleep(0.05)
    raise TimeoutError(f"{store.uri(folder(table))} changes faster than it can be read")


def merged_names(store: Store, table: str) -> list[str]:
    return [name for name in names(store, table) if name.startswith(MERGED)] if store.is_local else []


def table(name: str, store: str | Path = "store", run: str | None = None) -> pd.DataFrame:
    """A results table as a DataFrame, by its name: `runs`, `steps`, `evaluations` and the others of `TABLES`.

    Of one run, for which few files need to be read, or of all.
    """
    require_results(Store(store))
    return read(Store(store), name, run=run)


def require_results(store: Store) -> None:
    """Raises ValueError for a store without tables: a mistyped one, most likely."""
    if not store.exists("results"):
        raise ValueError(f"store={store.root} holds no results; store=FOLDER names another")


def folder(table: str) -> str:
    return f"results/{table}"


def file(table: str, name: str) -> str:
    return f"{folder(table)}/{name}.parquet"


def lock_path(table: str) -> str:
    return f"results/.{table}.lock"


def compact(store: Store, table: str, only: frozenset[str] | None = None) -> int:
    """Merges the files of a table, or `only` those named, into one. Returns how many were merged.

    The merged folder is built beside the live one out of hard links, then the two are exchanged in one system call:
    who lists the folder sees all of the old files or all of the new. Writers wait that long; readers need no lock.

    Raises ValueError for an object store, which cannot exchange two folders.
    """
    if not store.is_local:
        raise ValueError(f"store={store.root} is an object store; compact works on a local folder")
    with store.lock(f"results/.{table}.compaction.lock"):
        return merge(store, table, only)


def merge(store: Store, table: str, only: frozenset[str] | None) -> int:
    live = store.local(folder(table))
    for left in live.parent.glob(f".{table}.{'[0-9a-f]' * 32}"):  # by a compaction that was killed
        shutil.rmtree(left)
    old = sorted(live.glob("*.parquet")) if live.exists() else []
    if only is not None:
        old = [path for path in old if path.stem in only]
    if len(old) < 2:
        return 0
    seen = {path: path.stat().st_ino for path in old}
    merged = ds.dataset([str(path) for path in old], TABLES[table].schema, "parquet").to_table()
    with beside(live) as new:
        pq.write_table(merged, new / f"{MERGED}{uuid.uuid4().hex}.parquet", row_group_size=ROW_GROUP)
        with store.lock(lock_path(table)):
            if any(not path.exists() or path.stat().st_ino != inode for path, inode in seen.items()):
                return 0  # a file was replaced meanwhile: the next compaction takes it
            put_in_place(live, new, without=set(old))
    return len(old)


def take_out(store: Store, table: str, content: pa.Table, key: str) -> None:
    """Gives a row that has been merged a file of its own again: readers see the old one or the new one, never both."""
    live, column = store.local(folder(table)), TABLES[table].key
    with store.lock(f"results/.{table}.compaction.lock"), beside(live) as new, store.lock(lock_path(table)):
        (new / f"{key}.parquet").write_bytes(to_bytes(content))
        merged = {live / f"{name}.parquet" for name in merged_names(store, table)}
        for path in merged:
            others = parse(path.read_bytes(), TABLES[table].schema, pc.field(column) != key)
            pq.write_table(others, new / path.name, row_group_size=ROW_GROUP)
        put_in_place(live, new, without={*merged, live / f"{key}.parquet"})


@contextlib.contextmanager
def beside(live: Path) -> Iterator[Path]:
    """A new hidden folder next to one, which is gone at the end, whatever it holds then."""
    new = live.with_name(f".{live.name}.{uuid.uuid4().hex}")
    new.mkdir()
    try:
        yield new
    finally:
        shutil.rmtree(new)


def put_in_place(live: Path, new: Path, without: set[Path]) -> None:
    """Exchanges two folders, once the new one has the other files of the live one too."""
    for path in set(live.glob("*.parquet")) - without:
        os.link(path, new / path.name)
    exchange(live, new)


def exchange(a: Path, b: Path) -> None:
    """Swaps two paths in one step (Linux `renameat2` with RENAME_EXCHANGE)."""
    at_working_folder, exchange_flag = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(at_working_folder, bytes(a), at_working_folder, bytes(b), exchange_flag):
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)}: cannot exchange two folders here", str(a))
