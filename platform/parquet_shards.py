"""Parquet shards: columns of image files' bytes, labels and captions, as Hugging Face's data sets have them.

A row group is what is read at once.
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

SUFFIX = ".parquet"

# The first of these columns that is there.
IMAGE = ("image", "img", "jpg", "png", "webp")
LABEL = ("label", "labels", "fine_label", "class", "cls")
CAPTION = ("caption", "text", "txt")


def look_through(file: pa.NativeFile) -> tuple[pa.Table, list[str] | None]:
    """A row for each image: its chunk, its row in it, its label if it has one; and the labels' names if they have any.

    Reads no image. Raises ValueError where there is no column of images.
    """
    try:
        shard = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"is no whole Parquet file: {first_line(error)}") from None
    schema = shard.schema_arrow
    if column_of(schema, IMAGE) is None:
        raise ValueError(f"has none of the columns {', '.join(IMAGE)}, but {', '.join(schema.names)}")
    counts = [shard.metadata.row_group(number).num_rows for number in range(shard.num_row_groups)]
    rows = np.concatenate([np.arange(count) for count in counts]) if counts else np.empty(0, dtype=np.int64)
    label = column_of(schema, LABEL)
    values = shard.read([label])[label].combine_chunks() if label else pa.nulls(len(rows), pa.int64())
    index = {"chunk": np.repeat(np.arange(len(counts)), counts), "row": rows, "label": values}
    return pa.table(index), class_names(schema)


def column_of(schema: pa.Schema, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in schema.names), None)


def class_names(schema: pa.Schema) -> list[str] | None:
    """Names by label, where the file says them as Hugging Face's data sets do."""
    said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    label = said.get("info", {}).get("features", {}).get(column_of(schema, LABEL) or "", {})
    return label.get("names")


def read(rows: pa.Table, file: pa.NativeFile) -> list[bytes]:
    """The image files of some rows of one row group."""
    found = column(rows, file, IMAGE)
    assert found is not None, "it was there when the shard was looked through"
    contents = (each["bytes"] if isinstance(each, dict) else each for each in found)
    return [content or b"" for content in contents]


def read_captions(rows: pa.Table, file: pa.NativeFile) -> list[str]:
    """The captions of some rows of one row group; empty ones where there are none."""
    return [caption or "" for caption in column(rows, file, CAPTION) or [""] * len(rows)]


def column(rows: pa.Table, file: pa.NativeFile, names: tuple[str, ...]) -> list[Any] | None:
    shard = pq.ParquetFile(file)
    name = column_of(shard.schema_arrow, names)
    if name is None:
        return None
    chunk = rows["chunk"][0].as_py()
    values: NDArray[Any] = shard.read_row_group(chunk, columns=[name], use_threads=False)[name]
    return values.take(rows["row"]).to_pylist()


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
