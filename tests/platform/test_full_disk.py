"""A store on a disk that is too small: a tmpfs of its own, so the errors are the system's."""

import errno
import resource

import pytest

from unlatent.platform import checkpoints, runs, tables
from unlatent.platform.store import Store, StoreFullError
from unlatent.platform.training import Worker, train

LONG = ("train.run=one", "train.total_images=512", "train.checkpoint_images=128", "train.keep_checkpoints=1")


def half_written(store):
    return [path for path in store.local("").rglob(".*") if not path.name.endswith(".lock")]


def test_what_has_no_room_is_not_written_and_the_message_says_where_and_how_much(disk):
    store = Store(disk / "store")
    store.write_bytes("file", b"old")

    with pytest.raises(StoreFullError, match=rf"={disk}/store is full: 4,194,304 bytes to write, .* free of 2,097"):
        store.write_bytes("file", bytes(4 << 20))
    with pytest.raises(StoreFullError):
        store.write_folder("folder", {"a": bytes(1 << 20), "b": bytes(4 << 20)})

    assert store.read_bytes("file") == b"old"
    assert [path.name for path in store.local("").rglob("*")] == ["file"]


def test_a_write_that_fails_leaves_the_old_content_and_nothing_beside_it(tmp_path):
    store = Store(tmp_path)
    store.write_bytes("file", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(OSError) as refusal:
            store.write_bytes("file", bytes(4096))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert refusal.value.errno == errno.EFBIG and not isinstance(refusal.value, StoreFullError)
    assert store.read_bytes("file") == b"old" and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_on_a_full_disk_fails_with_why_and_goes_on_to_the_same_end_when_there_is_room(store, disk, make_run):
    run, small = make_run(*LONG), Store(disk / "store")
    train(run, store, Worker())
    filler = disk / "filler"
    filler.write_bytes(bytes(1 << 20))

    with pytest.raises(StoreFullError, match=r"is full: [\d,]+ bytes to write"):
        train(run, small, Worker())

    row = tables.row(small, "runs", "one")
    assert row["status"] == "failed" and row["error"].startswith(f"StoreFullError: store={small.root} is full")
    assert 0 < row["images_seen"] < 512 and checkpoints.newest(small, "one")[0].images_seen == row["images_seen"]
    assert not half_written(small)

    filler.unlink()
    train(run, small, Worker())

    ours, theirs = (checkpoints.all_of(each, "one")[-1] for each in (small, store))
    assert (ours.images_seen, ours.hash) == (theirs.images_seen, theirs.hash) == (512, theirs.hash)
    assert str(checkpoints.load_state(small, ours)) == str(checkpoints.load_state(store, theirs))
    assert sorted(tables.read(small, "steps")["images_seen"]) == sorted(tables.read(store, "steps")["images_seen"])
    assert runs.find(small, "one")["status"] == "succeeded" and runs.find(small, "one")["error"] is None
