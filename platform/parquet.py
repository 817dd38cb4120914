"""Parquet content in memory: from a table and to one."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def parse(content: bytes, schema: pa.Schema | None = None, where: pc.Expression | None = None) -> pa.Table:
    """All rows, or those that meet a condition.

    In this thread alone, and from memory of Arrow's own: a thread of its pool that still holds Python's bytes when
    Python ends asks for the interpreter to let go of them, and takes the process down with SIGABRT (apache/arrow#34314;
    12 of 180 short programs, and 1 of 48 where only the first was done).
    """
    source = pa.BufferReader(copied(content))
    return pq.read_table(source, schema=schema, filters=where, partitioning=None, use_threads=False, pre_buffer=False)


def copied(content: bytes) -> pa.Buffer:
    """The same in memory that is let go of without the interpreter."""
    sink = pa.BufferOutputStream()
    sink.write(content)
    return sink.getvalue()


def to_bytes(content: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink)
    return sink.getvalue().to_pybytes()
