"""An object store keeps the promises of a local folder; the store here is a real S3 server on this machine."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import torch

import unlatent
from tests.kitchen import DIAMOND, Kitchen
from tests.picture_files import WRITERS, make_pictures
from unlatent.pipelines import driver, steps
from unlatent.platform import checkpoints, lost_runs, runs, tables
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.provenance import process
from unlatent.platform.store import Store, split_address
from unlatent.platform.training import Worker, train

pytestmark = pytest.mark.slow


@pytest.fixture
def store(remote_store) -> Store:
    """Takes the place of the local store that the other fixtures build on."""
    return remote_store


@pytest.fixture
def saved(store):
    def save(images_seen: int) -> checkpoints.Checkpoint:
        weights = {"raw": {"w": torch.ones(2, 2)}, "ema": {"w": torch.zeros(2, 2)}}
        return checkpoints.save(store, "run", images_seen, weights, {"step": 3}, "model: {}", ["zero", "one"])

    return save


def loss_rows(row_of, run_id: str, count: int) -> list[dict]:
    return [row_of("steps", run_id=run_id, images_seen=number, loss=0.5) for number in range(count)]


def test_what_is_written_is_read_back_listed_and_deleted(store):
    store.write_bytes("a/b/c.bin", b"old")
    store.write_bytes("a/b/c.bin", b"content")
    store.write_bytes("a/empty", b"")

    assert store.read_bytes("a/b/c.bin") == b"content" and store.read_bytes("a/empty") == b""
    assert store.exists("a/b/c.bin") and store.exists("a/b") and not store.exists("a/c")
    assert store.list("a") == ["b", "empty"] and store.list("nowhere") == []

    store.delete("a")
    store.delete("a")

    assert not store.exists("a/b/c.bin") and not store.exists("a")
    with pytest.raises(FileNotFoundError):
        store.read_bytes("a/b/c.bin")


def test_a_folder_written_again_keeps_nothing_of_the_one_before(store):
    store.write_folder("run/1", {"a": b"1", "b": b"2"})

    store.write_folder("run/1", {"a": b"3"})

    assert store.list("run") == ["1"] and store.list("run/1") == ["a"]
    assert store.read_bytes("run/1/a") == b"3"


def test_a_reader_sees_the_old_content_or_the_new(store):
    """Each content is longer than the one before, as it says itself."""
    contents = [b"%04d" % size + b"." * size for size in range(25)]
    store.write_bytes("file", contents[0])

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(lambda: [store.write_bytes("file", content) for content in contents])
        while not writing.done():
            assert store.read_bytes("file") in contents


def test_an_address_keeps_its_options_behind_the_path(server):
    options = f"endpoint_override={server}&scheme=http"

    store = Store(f"s3://bucket/some/folder/?{options}")

    assert store.root == f"s3://bucket/some/folder?{options}"
    assert store.uri("results/runs") == f"s3://bucket/some/folder/results/runs?{options}"
    assert store.inside("results/runs") == "bucket/some/folder/results/runs"
    parent, name = split_address(store.uri("checkpoints/run"))
    assert (parent.root, name) == (f"s3://bucket/some/folder/checkpoints?{options}", "run")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("s3://", "names no bucket that is there"),
        ("s3://nowhere?endpoint_override=SERVER&scheme=http", "names no bucket that is there"),
        ("s3://bucket?endpoint=SERVER", "Unexpected query parameter"),
        ("ftp://bucket", "Unrecognized filesystem type"),
        ("s3://name:word@bucket", "holds a password"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(server, address, problem):
    with pytest.raises(ValueError, match=f"^store.*{problem}"):
        Store(address.replace("SERVER", server)).list("")


def test_many_writers_lose_and_double_nothing(store, row_of):
    def write(number: int) -> None:
        for part in range(3):
            tables.append(Store(store.root), "steps", loss_rows(row_of, f"{number}.{part}", 3))
            tables.append(store, "steps", loss_rows(row_of, f"kept {number}", 3), name=f"kept-{number}")

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(write, range(5)))

    counts = tables.read(store, "steps").groupby("run_id")["images_seen"].agg(sorted)
    assert len(counts) == 5 * 3 + 5
    assert all(seen == [0, 1, 2] for seen in counts)


def test_a_row_that_is_replaced_is_never_read_as_a_mixture(store, row_of):
    def write() -> None:
        for number in range(20):
            row = row_of("runs", run_id="a", images_seen=number, training_gflops=float(number), error="." * number)
            tables.replace(store, "runs", row)

    tables.replace(store, "runs", row_of("runs", run_id="a", images_seen=0, training_gflops=0.0, error=""))
    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        for row in (tables.row(store, "runs", "a"), tables.read(store, "runs").iloc[0]):
            assert row["images_seen"] == row["training_gflops"] == len(row["error"])
    writer.join()

    assert tables.row(store, "runs", "a")["images_seen"] == 19
    assert tables.row(store, "runs", "b") is None


def test_a_table_may_shrink_while_it_is_read(store, row_of):
    for number in range(12):
        tables.append(store, "steps", loss_rows(row_of, f"{number}", 1), name=f"{number:02d}")

    with ThreadPoolExecutor(1) as thread:
        removing = thread.submit(lambda: [tables.remove(store, "steps", f"{number:02d}") for number in range(12)])
        sizes = []
        while not removing.done():
            sizes.append(len(tables.read(store, "steps")))

    assert sizes == sorted(sizes, reverse=True)
    assert tables.names(store, "steps") == [] and tables.read(store, "steps").empty


def test_pandas_reads_a_table_by_its_address(store, row_of):
    tables.append(store, "steps", loss_rows(row_of, "a", 3))

    frame = pd.read_parquet(store.uri("results/steps"))

    assert list(frame["images_seen"]) == [0, 1, 2]
    assert len(unlatent.table("steps", store=store.root)) == 3


def test_compaction_is_refused(store):
    with pytest.raises(ValueError, match="is an object store; compact works on a local folder"):
        tables.compact(store, "steps")


def test_checkpoints_are_verified_passed_over_and_pruned(store, saved):
    for images_seen in (32, 64, 96):
        saved(images_seen)
    store.delete(f"{saved(128).path}/ema.safetensors")

    newest, passed_over = checkpoints.newest(store, "run")
    checkpoints.prune(store, "run", keep=2, newest=checkpoints.paths_of(store, "run")[-1])

    assert newest and newest.images_seen == 96 and len(passed_over) == 1
    assert [found.images_seen for found in checkpoints.all_of(store, "run")] == [96, 128]
    assert store.list("checkpoints/run") == ["000000000096", "000000000128"]


class Killed(BaseException):
    """Stands for the death of the process: nothing that the code catches."""


def killed(checkpoint):
    raise Killed


def test_a_run_that_was_cut_off_goes_on_and_can_be_loaded_by_its_address(store, make_run):
    run = make_run("train.trackers=[tensorboard]")
    with pytest.raises(Killed):
        train(run, store, Worker(report=killed))
    row = tables.row(store, "runs", run.run_id)
    tables.replace(store, "runs", row | {"pid": 4_000_000})
    assert lost_runs.mark_lost(store) == [run.run_id]

    train(run, store, Worker())

    assert tables.row(store, "runs", run.run_id)["status"] == "succeeded"
    assert sorted(tables.read(store, "steps")["images_seen"]) == [64, 128, 192, 256]
    files = [f"events.out.tfevents.{start:012d}" for start in (0, 128)]
    assert store.list(f"artifacts/{run.run_id}/tensorboard") == files
    last = runs.last_checkpoint(store, run.run_id)
    assert last.images_seen == 256 and runs.is_done(store, run)
    assert unlatent.load(store.uri(last.path)).generate(["3"], seeds=[0])[0].size == (8, 8)


@pytest.mark.parametrize("kind", list(WRITERS))
def test_images_in_the_object_store_are_those_on_a_disk(store, tmp_path, kind):
    WRITERS[kind](tmp_path / "pictures", make_pictures())
    for path in (tmp_path / "pictures").rglob("*.*"):
        store.write_bytes(f"data/{path.relative_to(tmp_path / 'pictures').as_posix()}", path.read_bytes())

    here, there = (
        open_dataset(DataConfig(kind=kind, root=root, held_out=0.2), store)
        for root in (str(tmp_path / "pictures"), store.uri("data"))
    )

    assert (there.classes, there.name) == (here.classes, "data") and len(there.train) == len(here.train) > 100
    assert torch.equal(there.train.read(range(90)), here.train.read(range(90)))
    assert torch.equal(there.held_out.read([2, 0]), here.held_out.read([2, 0]))


def test_a_root_of_data_that_leads_nowhere_is_refused_by_name(store):
    for root in (store.uri("nothing"), store.root.replace("bucket", "no-bucket")):
        with pytest.raises(ValueError, match=r"^data\.root=s3://(bucket|no-bucket)") as refused:
            open_dataset(DataConfig(kind="parquet", root=root), store)
        assert "\n" not in str(refused.value) and "store" not in str(refused.value)


def test_the_command_line_takes_the_address_as_it_is(store, row_of):
    tables.replace(store, "runs", row_of("runs", run_id="a", status="succeeded"))

    asked = [sys.executable, "-m", "unlatent.pipelines", "results", "runs", f"store={store.root}"]
    done = subprocess.run(asked, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert "runs: 1 of 1 rows" in done.stdout


def test_a_pipeline_runs_and_is_skipped_there_with_one_driver_at_a_time(store, tmp_path, monkeypatch):
    kitchen = Kitchen(tmp_path)
    for name, action in kitchen.actions.items():
        monkeypatch.setitem(steps.ACTIONS, name, action)
    monkeypatch.setattr(driver, "SETTLING_S", 0.1)
    assert len(kitchen.run(DIAMOND, store=store.root)) == 4
    assert kitchen.run(DIAMOND, store=store.root) == []

    elsewhere = {"driver": "another", "host": "elsewhere", **process()}
    driver.tell(store, "dinner", elsewhere)
    with pytest.raises(ValueError, match=f"is being run by process {os.getpid()} on elsewhere; wait for it"):
        kitchen.run(DIAMOND, store=store.root)

    monkeypatch.setattr(driver, "SILENT_S", 0.0)
    assert kitchen.run(DIAMOND, store=store.root) == [], "one that has told nothing for long is gone"
    assert set(tables.read(store, "pipeline_steps")["action"]) == {"ran", "skipped"}


def test_of_two_drivers_that_start_at_once_there_one_is_refused(store, monkeypatch):
    monkeypatch.setattr(driver, "SETTLING_S", 1.0)
    together, held = threading.Barrier(2), []

    def drive() -> bool:
        together.wait()
        try:
            with driver.only_driver(store, "dinner"):
                held.append(1)
                together.wait(20)
        except ValueError:
            together.wait(20)
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        outcomes = [threads.submit(drive) for _ in range(2)]

    assert sorted(each.result() for each in outcomes) == [False, True] and held == [1]
