"""Rows and runs that several tests need."""

import logging
import os
import subprocess
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from unlatent.platform import checkpoints
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.config import Config, compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.runs import Run, plan_run
from unlatent.platform.schemas import TABLES
from unlatent.platform.store import Store
from unlatent.platform.torchvision_shim import declare_missing_operators
from unlatent.platform.training import Worker, train

SMALLEST = [
    "model.width=16",
    "model.heads=2",
    "model.patch_depth=1",
    "model.pixel_depth=1",
    "train.batch_size=32",
    "train.warmup_images=64",
    "train.log_images=64",
    "train.checkpoint_images=128",
    "train.total_images=256",
    "train.grid_samples=4",
    "train.trackers=[]",  # none of which is imported then
    "sampler.steps=2",
]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def server():
    """Host and port of a real S3 server on this machine, with a bucket called `bucket`."""
    import boto3
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
        running = ThreadedMotoServer("127.0.0.1", port=0)
        running.start()
        host, port = running.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        yield f"{host}:{port}"
        running.stop()


@pytest.fixture
def remote_store(server) -> Store:
    """A folder of its own in the bucket."""
    return Store(f"s3://bucket/{uuid.uuid4().hex}?endpoint_override={server}&scheme=http")


@pytest.fixture
def disk(tmp_path):
    """A folder that holds 2 MiB: somewhat more than two of the checkpoints here."""
    if os.geteuid():
        pytest.skip("only root may mount a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def smallest() -> list[str]:
    """Overrides of the smallest config that trains."""
    return list(SMALLEST)


@pytest.fixture
def make_config(store):
    """Composes the smallest config that trains, on the digits, with further overrides."""

    def make(*overrides: str) -> Config:
        return compose_config([*SMALLEST, f"store={store.root}", *overrides])

    return make


@pytest.fixture
def make_run(store, make_config):
    def make(*overrides: str) -> Run:
        config = make_config(*overrides)
        return plan_run(config, open_dataset(config.data, store))

    return make


@pytest.fixture
def trained_and_cut(store):
    """Trains two runs and cuts the second off at its first checkpoint, then goes on. Returns both last checkpoints."""

    class CutError(Exception):
        pass

    def report(checkpoint: Checkpoint | None) -> None:
        if checkpoint:
            raise CutError

    def make(whole: Run, cut: Run) -> list[Checkpoint]:
        train(whole, store, Worker())
        with pytest.raises(CutError):
            train(cut, store, Worker(report=report, reports_at_once=True))
        assert checkpoints.newest(store, cut.run_id)[0].images_seen < cut.config.train.total_images
        train(cut, store, Worker())
        return [checkpoints.newest(store, run.run_id)[0] for run in (whole, cut)]

    return make


@pytest.fixture
def teacher(tmp_path) -> str:
    """The override that names a small DINOv2 of random weights."""
    declare_missing_operators()
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28}
    transformers.Dinov2Model(transformers.Dinov2Config(**sizes)).save_pretrained(tmp_path / "teacher")
    return f"train.alignment.teacher={tmp_path / 'teacher'}"


def row_of(table: str, **values: Any) -> dict[str, Any]:
    """A row with these values, and nulls."""
    names = [name for name in TABLES[table].schema.names if name != "schema_version"]
    assert not values.keys() - set(names)
    return dict.fromkeys(names) | values


@pytest.fixture(name="row_of")
def row_of_fixture():
    return row_of


@pytest.fixture
def noon() -> datetime:
    return datetime(2026, 1, 1, 12, tzinfo=UTC)
