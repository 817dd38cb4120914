"""What a pipeline's steps have left behind: their outputs, with the key that they were made under."""

import hashlib
import json
from dataclasses import asdict, dataclass, field

from unlatent.platform.store import Store


@dataclass(frozen=True)
class Outputs:
    """What a step hands on: values by name, and files in the store that must stay as they are."""

    values: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    message: str = ""  # said at the end of the pipeline


@dataclass(frozen=True)
class Record:
    """A step that has succeeded: its key, and its outputs with the hash of each file."""

    key: str
    values: dict[str, str]
    sha256: dict[str, str]
    message: str

    @property
    def digest(self) -> str:
        """Identity of the outputs, for the keys of the steps that need them."""
        return content_hash({"values": self.values, "files": self.sha256})


def content_hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def file_hash(store: Store, path: str) -> str:
    return hashlib.sha256(store.read_bytes(path)).hexdigest()


def path(pipeline: str, step: str) -> str:
    return f"artifacts/pipelines/{pipeline}/{step}.json"


def write(store: Store, pipeline: str, step: str, key: str, outputs: Outputs) -> Record:
    hashes = {file: file_hash(store, file) for file in outputs.files}
    record = Record(key, outputs.values, hashes, outputs.message)
    store.write_bytes(path(pipeline, step), json.dumps(asdict(record), indent=2).encode())
    return record


def read(store: Store, pipeline: str, step: str) -> Record | None:
    try:
        return Record(**json.loads(store.read_bytes(path(pipeline, step))))
    except (FileNotFoundError, ValueError, TypeError):  # none yet, or not as we write them: the step runs again
        return None


def damage(store: Store, record: Record) -> str | None:
    """What is no longer as a step left it, or None."""
    for file, sha256 in record.sha256.items():
        if not store.exists(file):
            return f"{file} is gone"
        if file_hash(store, file) != sha256:
            return f"{file} has changed"
    return None
