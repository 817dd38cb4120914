"""Parquet shards: a column of image files' bytes, one of labels, one of captions, as Hugging Face's data sets have them.

A row group is what is read at once.
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

SUFFIX = ".parquet"
IMAGE, LABEL = ("image", "img", "jpg", "png"), ("label", "labels", "class", "cls")  # columns, the first that is there


def look_through(file: pa.NativeFile) -> pa.Table:
    """A row for each image: its chunk, its row in it, and its label if it has one. Reads no image.

    Raises ValueError where there is no column of images.
    """
    shard = pq.ParquetFile(file)
    column_of(shard.schema_arrow, IMAGE, required=True)
    counts = [shard.metadata.row_group(number).num_rows for number in range(shard.num_row_groups)]
    rows = np.concatenate([np.arange(count) for count in counts]) if counts else np.empty(0, dtype=np.int64)
    columns = {"chunk": np.repeat(np.arange(len(counts)), counts), "row": rows}
    table = pa.table({**columns, "offset": pa.nulls(len(rows), pa.int64()), "size": pa.nulls(len(rows), pa.int64())})
    label = column_of(shard.schema_arrow, LABEL)
    values = shard.read([label], use_threads=False)[label].combine_chunks() if label else pa.nulls(len(rows), pa.int64())
    return table.append_column("label", values)


def column_of(schema: pa.Schema, names: tuple[str, ...], required: bool = False) -> str | None:
    found = next((name for name in names if name in schema.names), None)
    if required and found is None:
        raise ValueError(f"has none of the columns {', '.join(names)}, but {', '.join(schema.names)}")
    return found


def class_names(file: pa.NativeFile) -> list[str] | None:
    """Names by label, where the file says them as Hugging Face's data sets do."""
    schema = pq.read_schema(file)
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    label = features.get(column_of(schema, LABEL) or "", {})
    return label.get("names")


def read(file: pa.NativeFile, chunk: int, rows: NDArray[np.int64], *_: Any) -> list[bytes]:
    """The image files of some rows of a row group."""
    shard = pq.ParquetFile(file, pre_buffer=False)
    name = column_of(shard.schema_arrow, IMAGE, required=True)
    column = shard.read_row_group(chunk, columns=[name], use_threads=False)[name].take(pa.array(rows))
    found = column.to_pylist()
    return [each["bytes"] if isinstance(each, dict) else each for each in found]
