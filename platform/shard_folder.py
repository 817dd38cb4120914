"""A folder of Parquet shards that says in a file what it is to hold, so that what began to write it can go on."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unlatent.platform.store import Store

PLAN = "prepared.json"
ROW_GROUP = 64  # images, which training reads at once
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def begin(out: Store, settings: dict[str, Any]) -> None:
    """Says in a folder what it is to hold: all that decides what is written.

    Raises ValueError unless it is empty, or holds a part of just this.
    """
    refuse_other_content(out, settings)
    out.write_bytes(PLAN, json.dumps(settings, indent=2).encode())


def refuse_other_content(out: Store, settings: dict[str, Any]) -> None:
    """Raises ValueError unless a folder is empty, or holds a part of what these settings lead to."""
    before = read_settings(out)
    if before is None:
        if held := out.list(""):
            raise ValueError(f"{out.root} is not empty: it holds {held[0]}; a new folder would do")
        return
    for name, now in settings.items():
        if before.get(name) != now:
            raise ValueError(
                f"{out.root} was prepared with {name}={before.get(name)}, not {now}; another folder would do"
            )


def read_settings(folder: Store) -> dict[str, Any] | None:
    """What a folder says that it is to hold; None where it says nothing.

    Raises ValueError where that cannot be read.
    """
    if not folder.exists(PLAN):
        return None
    try:
        said = json.loads(folder.read_bytes(PLAN))
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ValueError(f"{folder.root}: {PLAN}, which says what the folder holds, is damaged; another one would do")
    return said


def shard_names(images: int, shard_images: int) -> list[str]:
    count = -(-images // shard_images)
    return [f"{number:05d}-of-{count:05d}.parquet" for number in range(count)]


def to_shard(table: pa.Table, classes: list[str]) -> bytes:
    """A Parquet file whose columns are described for Hugging Face's readers."""
    sink = io.BytesIO()
    described = table.replace_schema_metadata({"huggingface": json.dumps(features(classes))})
    pq.write_table(described, sink, row_group_size=ROW_GROUP, compression="none")  # image files are compressed
    return sink.getvalue()


def features(classes: list[str]) -> dict[str, object]:
    """What tells Hugging Face's readers what the columns are."""
    return {
        "info": {
            "features": {
                "image": {"_type": "Image"},
                "label": {"names": classes, "_type": "ClassLabel"},
                "caption": {"dtype": "string", "_type": "Value"},
            }
        }
    }
