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
EMBEDDING = "caption_embedding"  # float16 tokens, one after the other


def look_through(file: pa.NativeFile) -> tuple[pa.Table, list[str] | None]:
    """A row for each image: its chunk, its row in it, its label if it has one; and the labels' names if they have any.

    Reads no image. Raises ValueError where there is no column of images.
    """
    try:
        shard = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"is no whole Parquet file: {first_line(error)}") from None
    schema = shard.schema_arrow
    require_columns(schema)
    counts = [shard.metadata.row_group(number).num_rows for number in range(shard.num_row_groups)]
    rows = np.concatenate([np.arange(count) for count in counts]) if counts else np.empty(0, dtype=np.int64)
    label = column_of(schema, LABEL)
    values = shard.read([label])[label].combine_chunks() if label else pa.nulls(len(rows), pa.int64())
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    sizes = [shard.metadata.row_group(number).total_byte_size for number in range(shard.num_row_groups)]
    index = {
        "chunk": np.repeat(np.arange(len(counts)), counts),
        "row": rows,
        "chunk_bytes": np.repeat(np.array(sizes, dtype=np.int64), counts),
        "label": values,
    }
    return pa.table(index), class_names(schema)


def require_columns(schema: pa.Schema) -> None:
    """Raises ValueError where there is no column of image files, or labels are of no type that can be one."""
    image = column_of(schema, IMAGE)
    if image is None:
        raise ValueError(f"has none of the columns {', '.join(IMAGE)}, but {', '.join(schema.names)}")
    kind = schema.field(image).type
    if pa.types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else kind
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise ValueError(f"has the column {image} of {kind}; the bytes of image files would do, or a struct with bytes")
    label = column_of(schema, LABEL)
    kind = schema.field(label).type if label else pa.int64()
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_integer(kind) or is_text(kind) or pa.types.is_null(kind)):
        raise ValueError(f"has the column {label} of {kind}; numbers or names would do")


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


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
    """The captions of some rows of one row group; empty ones where there are none.

    Raises ValueError for a column that is not of texts.
    """
    schema = pq.ParquetFile(file).schema_arrow
    name = column_of(schema, CAPTION)
    if name and not is_text(schema.field(name).type):
        raise ValueError(f"a shard has the column {name} of {schema.field(name).type}; texts would do")
    return [caption or "" for caption in column(rows, file, CAPTION) or [""] * len(rows)]


def read_embeddings(rows: pa.Table, file: pa.NativeFile) -> list[bytes]:
    """The embedded captions of some rows of one row group.

    Raises ValueError where there are none.
    """
    found = column(rows, file, (EMBEDDING,))
    if found is None:
        raise ValueError(f"a shard has no column {EMBEDDING}; `unlatent data embed` writes shards with it")
    return found


def count_captioned(file: pa.NativeFile) -> int:
    """How many rows a shard has.

    Raises ValueError for one without captions.
    """
    shard = pq.ParquetFile(file)
    if column_of(shard.schema_arrow, CAPTION) is None:
        raise ValueError(
            f"a shard has none of the columns {', '.join(CAPTION)}, but {', '.join(shard.schema_arrow.names)}"
        )
    return shard.metadata.num_rows


def captions_of(rows: pa.Table) -> list[str]:
    """Of whole rows."""
    name = column_of(rows.schema, CAPTION)
    assert name, "the shard was looked at"
    return [caption or "" for caption in rows[name].to_pylist()]


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
