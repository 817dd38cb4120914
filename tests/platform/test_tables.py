import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from unlatent.platform import tables
from unlatent.platform.schemas import SCHEMA_VERSION, TABLES


def test_plain_pandas_reads_a_table(store, row_of):
    tables.append(store, "steps", [row_of("steps", run_id="a", loss=1.0), row_of("steps", run_id="a", loss=0.5)])

    frame = pd.read_parquet(store.local("results/steps"))

    assert list(frame["loss"]) == [1.0, 0.5]
    assert set(frame["schema_version"]) == {SCHEMA_VERSION}


def test_types_and_meanings_are_written_down_for_every_column():
    for name, table in TABLES.items():
        for column in table.schema:
            assert column.name == "schema_version" or b"meaning" in column.metadata, f"{name}.{column.name}"


def test_a_row_with_another_column_is_refused_by_name(store, row_of):
    with pytest.raises(ValueError, match=r"steps.*\['velocity'\]"):
        tables.append(store, "steps", [row_of("steps") | {"velocity": 1}])


def test_a_row_without_a_column_is_refused_by_name(store, row_of):
    row = row_of("steps")
    del row["loss"]

    with pytest.raises(ValueError, match="loss"):
        tables.append(store, "steps", [row])
    assert not store.exists("results/steps")


def test_replacing_keeps_one_row_a_key(store, row_of):
    for status in ("running", "succeeded"):
        for run_id in ("a", "b"):
            tables.replace(store, "runs", row_of("runs", run_id=run_id, status=status))

    frame = tables.read(store, "runs")

    assert sorted(zip(frame["run_id"], frame["status"], strict=True)) == [("a", "succeeded"), ("b", "succeeded")]
    assert tables.row(store, "runs", "a")["status"] == "succeeded"
    assert tables.row(store, "runs", "c") is None


def test_the_same_name_again_does_not_count_twice(store, row_of):
    for value in (1.0, 2.0):
        tables.append(store, "evaluations", [row_of("evaluations", value=value)], name="fixed")

    assert list(tables.read(store, "evaluations")["value"]) == [2.0]


def test_an_empty_table_has_its_columns(store):
    frame = tables.read(store, "runs")

    assert frame.empty and "run_id" in frame.columns


def test_an_unknown_table_is_refused(store):
    with pytest.raises(ValueError, match="table='run' is not one of runs, steps"):
        tables.read(store, "run")


def test_older_files_without_a_later_column_still_read(store, row_of):
    tables.append(store, "steps", [row_of("steps", run_id="new", loss=1.0)])
    [path] = store.local("results/steps").glob("*.parquet")
    pd.DataFrame({"run_id": ["old"], "images_seen": [5]}).to_parquet(path.with_name("old.parquet"))

    frame = tables.read(store, "steps").set_index("run_id")

    assert frame.loc["old", "images_seen"] == 5 and pd.isna(frame.loc["old", "loss"])


def test_steps_from_before_there_was_an_mfu_read_and_merge_with_those_that_have_one(store, row_of):
    tables.append(store, "steps", [row_of("steps", run_id="old", images_seen=5, loss=0.5)])
    [path] = store.local("results/steps").glob("*.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["mfu"]), path)
    tables.append(store, "steps", [row_of("steps", run_id="new", mfu=0.4)])

    assert tables.compact(store, "steps") == 2

    frame = tables.read(store, "steps").set_index("run_id")
    assert frame.loc["new", "mfu"] == 0.4
    assert pd.isna(frame.loc["old", "mfu"]) and frame.loc["old", "loss"] == 0.5


def test_conditions_select_rows(store, row_of):
    tables.append(store, "steps", [row_of("steps", run_id=name) for name in "abc"])

    assert list(tables.read(store, "steps", ds.field("run_id") == "b")["run_id"]) == ["b"]


def test_compaction_keeps_every_row_once_in_one_file(store, row_of):
    for index in range(20):
        tables.append(store, "steps", [row_of("steps", images_seen=index)], name=f"part{index}")

    merged = tables.compact(store, "steps", only=frozenset(tables.names(store, "steps")) - {"part3"})

    assert merged == 19
    assert len(tables.names(store, "steps")) == 2 and "part3" in tables.names(store, "steps")
    assert sorted(tables.read(store, "steps")["images_seen"]) == list(range(20))
    assert not list(store.local("results").glob(".steps.*[0-9a-f]")), "the old folder is gone"


def test_rows_that_change_are_merged_and_one_that_changes_again_is_there_once(store, row_of):
    for name in "abc":
        tables.replace(store, "runs", row_of("runs", run_id=name, status="succeeded"))

    assert tables.compact(store, "runs") == 3
    assert len(tables.names(store, "runs")) == 1
    assert tables.row(store, "runs", "b")["status"] == "succeeded" and tables.row(store, "runs", "d") is None
    for status in ("running", "failed"):
        tables.replace(store, "runs", row_of("runs", run_id="b", status=status))

    frame = pd.read_parquet(store.local("results/runs")).sort_values("run_id")
    assert list(zip(frame["run_id"], frame["status"], strict=True)) == [
        ("a", "succeeded"), ("b", "failed"), ("c", "succeeded"),
    ]  # fmt: skip
    assert tables.row(store, "runs", "b")["status"] == "failed"
    assert tables.compact(store, "runs") == 2
    assert len(tables.read(store, "runs")) == 3


def test_rows_of_one_run_are_found_in_its_own_files_and_in_merged_ones(store, row_of, monkeypatch):
    for run_id in ("a", "a.b", "c"):
        for part in range(2):
            tables.append(store, "steps", [row_of("steps", run_id=run_id, images_seen=part)], f"{run_id}.{part:012d}")
    tables.compact(store, "steps", only=frozenset({"a.000000000000", "c.000000000000"}))
    tables.append(store, "steps", [row_of("steps", run_id="a", images_seen=2)])  # under no run's name
    opened, dataset = [], tables.ds.dataset

    def noting(paths, *others, **more):
        opened.append(paths)
        return dataset(paths, *others, **more)

    monkeypatch.setattr(tables.ds, "dataset", noting)

    frames = {run_id: tables.read(store, "steps", run=run_id) for run_id in ("a", "a.b", "c", "none")}

    assert [sorted(frame["images_seen"]) for frame in frames.values()] == [[0, 1, 2], [0, 1], [0, 1], []]
    assert [len(paths) for paths in opened] == [3, 4, 3, 2]
