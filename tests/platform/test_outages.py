"""An S3 server that hangs, or cannot be reached, in the middle of training, and comes back."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

import boto3
import pytest

from tests.lines import Line
from unlatent.platform import checkpoints, outages, tables
from unlatent.platform.outages import OutageError
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train

pytestmark = pytest.mark.slow

LONG = ("train.run=one", "train.total_images=512", "train.checkpoint_images=128")


@pytest.fixture(scope="module")
def server():
    """A process with an S3 server in it, with a bucket called `bucket`, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        wait_for(port)
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        yield running, port
        running.kill()
        running.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the S3 server does not start")


@pytest.fixture
def line(server):
    made = Line(server[1])
    yield made
    made.down()


@pytest.fixture
def far(line) -> Store:
    return Store(f"s3://bucket/{uuid.uuid4().hex}?endpoint_override=127.0.0.1:{line.port}&scheme=http")


def after(seconds: float, call) -> None:
    threading.Timer(seconds, call).start()


def same_end(far: Store, undisturbed: Store) -> bool:
    ours, theirs = (checkpoints.all_of(each, "one") for each in (far, undisturbed))
    steps = [tables.read(each, "steps").sort_values("images_seen")["loss"].to_list() for each in (far, undisturbed)]
    return [each.hash for each in ours] == [each.hash for each in theirs] and steps[0] == steps[1]


def test_a_run_outlasts_refused_connections_and_ends_as_the_undisturbed_one(far, line, store, make_run, capsys):
    run = make_run(*LONG)
    train(run, store, Worker())

    def cut(checkpoint):
        if checkpoint.images_seen == 256:
            line.down()
            after(9, line.up)

    train(run, far, Worker(report=cut))

    assert same_end(far, store)
    printed = capsys.readouterr().out
    assert len(re.findall(r"store=s3://\S+ does not answer; trying again for 120 s: ", printed)) in (1, 2)
    assert len(re.findall(r"store=s3://\S+ answers again, after \d+ s", printed)) in (1, 2), "the loop and the writer"


def test_a_run_outlasts_a_server_that_hangs(far, server, store, make_run):
    run, (process, _) = make_run(*LONG), server
    train(run, store, Worker())

    def stop(checkpoint):
        if checkpoint.images_seen == 256:
            process.send_signal(signal.SIGSTOP)
            after(8, lambda: process.send_signal(signal.SIGCONT))

    train(run, far, Worker(report=stop))

    assert same_end(far, store)


def test_a_store_that_stays_away_is_an_error_that_says_for_how_long(far, line, monkeypatch):
    monkeypatch.setattr(outages, "PATIENCE_S", 1.0)
    far.write_bytes("file", b"content")
    line.down()

    with pytest.raises(OutageError, match=r"store=s3://\S+ has not answered for \d+ s: .*NETWORK_CONNECTION"):
        far.write_bytes("file", b"other")

    line.up()
    assert far.read_bytes("file") == b"content"


def test_what_waiting_cannot_mend_is_not_waited_for(far, server):
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server[1]}", region_name="us-east-1")
    client.create_bucket(Bucket="brief")
    brief = Store(far.root.replace("s3://bucket", "s3://brief"))
    assert brief.list("") == []
    client.delete_bucket(Bucket="brief")
    started = time.monotonic()

    with pytest.raises(FileNotFoundError):
        far.read_bytes("nothing")
    with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
        brief.write_bytes("file", b"content")

    assert time.monotonic() - started < 5


def test_what_passes_and_what_does_not():
    passing = ["AWS Error NETWORK_CONNECTION during HeadObject", "AWS Error UNKNOWN (HTTP status 503) during PutObject"]
    lasting = ["AWS Error ACCESS_DENIED during PutObject", "AWS Error UNKNOWN (HTTP status 301) during HeadObject"]

    assert all(outages.may_pass(OSError(message)) for message in passing)
    assert not any(outages.may_pass(OSError(message)) for message in lasting)
    assert not outages.may_pass(FileNotFoundError("HTTP status 503")) and not outages.may_pass(ValueError("SLOW_DOWN"))
