"""What a pipeline's steps have left behind: their outputs, with all that decided them."""

import hashlib
import json
from dataclasses import asdict, dataclass, field

import pyarrow.compute as pc
from pyarrow import NativeFile

from unlatent.pipelines.basis import Basis, content_hash
from unlatent.platform import tables
from unlatent.platform.store import Store

PART_BYTES = 1 << 24


@dataclass(frozen=True)
class Rows:
    """Those rows of a results table that have a value in a column, and what of them must stay as it is."""

    table: str
    column: str
    value: str
    kept: tuple[str, ...]  # columns

    def __str__(self) -> str:
        return f"{self.table} where {self.column} is {self.value}"


@dataclass(frozen=True)
class Outputs:
    """What a step hands on: values by name, and files in the store and rows that must stay as they are."""

    values: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    rows: tuple[Rows, ...] = ()
    message: str = ""  # said at the end of the pipeline


@dataclass(frozen=True)
class Record:
    """A step that has succeeded: all that decided its outputs, and these with the hash of each."""

    basis: Basis
    execution_id: str  # of the row of `pipeline_steps` that tells of it
    values: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)  # of each file
    rows: list[tuple[Rows, str]] = field(default_factory=list)  # with the hash of what they hold
    message: str = ""

    @property
    def key(self) -> str:
        return self.basis.key

    @property
    def digest(self) -> str:
        """Identity of the outputs, for the keys of the steps that need them."""
        rows = [sha256 for _, sha256 in self.rows]
        return content_hash({"values": self.values, "files": self.sha256, "rows": rows})


def file_hash(store: Store, path: str) -> str:
    """Of a file of any size, read in parts."""

    def digest(file: NativeFile) -> str:
        found = hashlib.sha256()
        while part := file.read(PART_BYTES):
            found.update(part)
        return found.hexdigest()

    return store.read_with(path, digest)


def rows_hash(store: Store, rows: Rows) -> str | None:
    """Hash of what rows hold, in whatever files they lie; None where there are none."""
    found = tables.read(store, rows.table, pc.field(rows.column) == rows.value)
    if found.empty:
        return None
    return content_hash(sorted(map(str, found[list(rows.kept)].itertuples(index=False, name=None))))


def path(pipeline: str, step: str) -> str:
    return f"artifacts/pipelines/{pipeline}/{step}.json"


def write(store: Store, pipeline: str, step: str, basis: Basis, execution_id: str, outputs: Outputs) -> Record:
    """Keeps what a step has left behind.

    Raises FileNotFoundError for a file that it says is there and is not, and LookupError for such rows.
    """
    sha256 = {file: file_hash(store, file) for file in outputs.files}
    rows = []
    for each in outputs.rows:
        held = rows_hash(store, each)
        if held is None:
            raise LookupError(f"{each}: there is no such row")
        rows.append((each, held))
    record = Record(basis, execution_id, outputs.values, sha256, rows, outputs.message)
    store.write_bytes(path(pipeline, step), json.dumps(asdict(record), indent=2).encode())
    return record


def read(store: Store, pipeline: str, step: str) -> Record | None:
    try:
        return from_json(json.loads(store.read_bytes(path(pipeline, step))))
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # none yet, or not as we write them: it runs again
        return None


def from_json(written: dict) -> Record:
    rows = [(Rows(**{**each, "kept": tuple(each["kept"])}), sha256) for each, sha256 in written["rows"]]
    return Record(**{**written, "basis": Basis(**written["basis"]), "rows": rows})


def damage(store: Store, record: Record) -> str | None:
    """What is no longer as a step left it, or None."""
    for file, sha256 in record.sha256.items():
        if not store.exists(file):
            return f"{file} is gone"
        if file_hash(store, file) != sha256:
            return f"{file} has changed"
    for rows, sha256 in record.rows:
        held = rows_hash(store, rows)
        if held != sha256:
            return f"{rows}: {'the rows are gone' if held is None else 'the rows have changed'}"
    return None
