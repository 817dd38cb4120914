import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from unlatent.platform.parquet import parse

ENDS_RIGHT_AFTER_READING = """
import sys
from pathlib import Path
from unlatent.platform.parquet import parse
parse(Path(sys.argv[1]).read_bytes()).to_pylist()
"""


def written(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_rows_are_those_that_meet_the_condition_under_the_schema_asked_for():
    content = written(pa.table({"run": ["a", "b"], "loss": [1.0, 2.0]}))
    schema = pa.schema([("run", pa.string()), ("loss", pa.float64()), ("added_later", pa.int64())])

    assert parse(content).to_pylist() == [{"run": "a", "loss": 1.0}, {"run": "b", "loss": 2.0}]
    assert parse(content, schema, pc.field("run") == "b").to_pylist() == [
        {"run": "b", "loss": 2.0, "added_later": None}
    ]


@pytest.mark.slow
def test_a_program_that_ends_right_after_reading_ends_well(tmp_path):
    file = tmp_path / "wide.parquet"
    file.write_bytes(written(pa.table({f"column_{number}": [1.0, 2.0] for number in range(60)})))
    command = [sys.executable, "-c", ENDS_RIGHT_AFTER_READING, str(file)]

    with ThreadPoolExecutor(4) as threads:
        ends = list(threads.map(lambda _: subprocess.run(command, capture_output=True).returncode, range(48)))

    assert set(ends) == {0}
