"""Tables under writers that are killed, as the system kills, while others write, rewrite, read and compact."""

import itertools
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest

from unlatent.platform import tables
from unlatent.platform.schemas import TABLES
from unlatent.platform.store import Store

pytestmark = pytest.mark.slow

WRITERS = 16
COLUMNS = {name: set(table.schema.names) - {"schema_version"} for name, table in TABLES.items()}


@pytest.fixture(scope="module")
def s3(tmp_path_factory) -> Iterator[str]:
    """Host and port of rclone's S3 server, with a bucket called `bucket`: many at once is more than moto's can take."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    rclone = Path(sys.executable).with_name("rclone")
    command = [rclone, "serve", "s3", "--addr", address, "--auth-key", "test,testtest", "--config", "", folder]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testtest")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        environment.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")  # it takes no trailing checksums
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_for_answer(f"http://{address}")
            yield address
        finally:
            server.terminate()
            server.wait()


def wait_for_answer(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(url)
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline, f"nothing answers at {url}"
            time.sleep(0.05)


def write_rows(environment: dict[str, str], root: str, writer: int, first: int, rounds: int) -> None:
    """Appends and rewrites until killed or done."""
    os.environ.update(environment)  # a fork server keeps the one that it was started with
    store = Store(root)
    steps, sweeps = (dict.fromkeys(columns) for columns in (COLUMNS["steps"], COLUMNS["sweeps"]))
    for index in range(first, rounds):
        tables.append(store, "steps", [steps | {"run_id": f"w{writer}", "images_seen": index}], f"w{writer}.{index}")
        tables.replace(store, "sweeps", sweeps | {"sweep": f"w{writer}", "trials": index})
    tables.replace(store, "sweeps", sweeps | {"sweep": f"w{writer}", "trials": rounds - 1})


def written_by(store: Store, writer: int) -> list[int]:
    return sorted(tables.read(store, "steps", run=f"w{writer}")["images_seen"])


class Reader:
    """Reads both tables all the while, as plain pandas does too, and keeps what no reader must ever see."""

    def __init__(self, store: Store) -> None:
        self.store, self.wrong, self.reads, self.ended = store, [], 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> "Reader":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.thread.join()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self.look()
            except Exception as error:
                self.wrong.append(error)

    def look(self) -> None:
        steps, sweeps = tables.read(self.store, "steps"), tables.read(self.store, "sweeps")
        if steps.duplicated(["run_id", "images_seen"]).any() or sweeps["sweep"].duplicated().any():
            self.wrong.append((steps, sweeps))
        self.wrong += [name for name in sweeps["sweep"] if tables.row(self.store, "sweeps", name) is None]
        for name in self.store.list("results/sweeps"):
            try:
                pd.read_parquet(self.store.inside(f"results/sweeps/{name}"), filesystem=self.store.files)
            except FileNotFoundError:  # listed, then merged away
                assert self.store.is_local
        self.reads += 1


def write_and_kill(store: Store, rounds: int, seconds_between: float, meanwhile: Callable[[], None]) -> set[int]:
    """Writers at once, one of them killed every so often and started again where it was. Returns who was killed.

    By turns, and none before it has written something since it started: a slow machine only takes longer.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    running, began_at = {}, {}

    def start(writer: int, first: int) -> None:
        process = context.Process(target=write_rows, args=(dict(os.environ), store.root, writer, first, rounds))
        process.start()
        running[writer], began_at[writer] = process, first

    def may_go(writer: int) -> bool:
        return running[writer].is_alive() and len(written_by(store, writer)) > began_at[writer]

    for writer in range(WRITERS):
        start(writer, 0)
    killed, turns, last = set(), itertools.cycle(range(WRITERS)), time.monotonic()
    while any(process.is_alive() for process in running.values()):
        meanwhile()
        if time.monotonic() - last > seconds_between:
            last = time.monotonic()
            victim = next((writer for writer in itertools.islice(turns, WRITERS) if may_go(writer)), None)
            if victim is not None:
                running[victim].kill()
                running[victim].join()
                killed.add(victim)
                start(victim, len(written_by(store, victim)))
        time.sleep(0.01)
    return killed


def require_every_row_once(store: Store, rounds: int) -> None:
    for writer in range(WRITERS):
        assert written_by(store, writer) == list(range(rounds))
        assert tables.row(store, "sweeps", f"w{writer}")["trials"] == rounds - 1
    assert len(tables.read(store, "sweeps")) == WRITERS


def test_sixteen_writers_killed_one_by_one_lose_and_double_nothing(store):
    def compact() -> None:
        tables.compact(store, "steps")
        tables.compact(store, "sweeps")

    with Reader(store) as reader:
        killed = write_and_kill(store, 120, 0.2, compact)

    assert not reader.wrong and reader.reads > 3 and killed
    require_every_row_once(store, 120)


def test_sixteen_writers_to_an_object_store_killed_one_by_one_lose_and_double_nothing(s3):
    store = Store(f"s3://bucket/store?endpoint_override={s3}&scheme=http")

    with Reader(store) as reader:
        killed = write_and_kill(store, 30, 0.5, lambda: None)

    assert not reader.wrong and reader.reads > 3 and killed
    require_every_row_once(store, 30)
