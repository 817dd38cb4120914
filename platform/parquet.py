"""Parquet content in memory: from a table and to one."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def parse(content: bytes, schema: pa.Schema | None = None, where: pc.Expression | None = None) -> pa.Table:
    """All rows, or those that meet a condition.

    In this thread alone: a thread of Arrow's pool that still holds the bytes when Python ends asks for the interpreter
    to let go of them, and takes the process down with SIGABRT (apache/arrow#34314; 12 of 180 short programs).
    """
    source = pa.BufferReader(content)
    return pq.read_table(source, schema=schema, filters=where, partitioning=None, use_threads=False, pre_buffer=False)


def to_bytes(content: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink)
    return sink.getvalue().to_pybytes()
