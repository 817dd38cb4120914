"""Trackers are read back with their own readers: TensorBoard's event accumulator, MLflow's client, W&B's data store."""

import io
import math
import os
import struct
import subprocess
import sys

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unlatent.platform import checkpoints, runs, tables
from unlatent.platform.config import to_yaml
from unlatent.platform.tracking import packages
from unlatent.platform.tracking.feed import TRACKERS, Feed
from unlatent.platform.tracking.interval import CURVES
from unlatent.platform.training import Worker, train

OFTEN = ("train.run=mine", "train.log_images=32", "train.checkpoint_images=64", "train.trackers=[tensorboard]")

TRAIN_AND_DIE = """
import os, sys, time
from pathlib import Path
from unlatent.platform.config import from_yaml
from unlatent.platform.datasets import open_dataset
from unlatent.platform.runs import plan_run
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train

config = from_yaml(Path(sys.argv[1]).read_text())
store = Store(config.store)
run = plan_run(config, open_dataset(config.data, store))

def report(checkpoint):
    if checkpoint.images_seen == 128:
        time.sleep(1)  # W&B writes ten times a second
        os._exit(9)

train(run, store, Worker(report=report))
"""


class Killed(BaseException):
    """Stands for the death of the process."""


def kill_at(images_seen: int):
    def report(checkpoint):
        if checkpoint.images_seen == images_seen:
            raise Killed

    return report


def train_killed(run, store, images_seen: int) -> None:
    with pytest.raises(Killed):
        train(run, store, Worker(report=kill_at(images_seen)))


def curves(store, run_id: str = "mine") -> dict[str, list[tuple[int, float]]]:
    """Of the table `steps`: what every tracker is to show."""
    steps = tables.read(store, "steps").query("run_id == @run_id").sort_values("images_seen")
    values = {f"train/{name}": steps[["images_seen", name]].dropna() for name in CURVES}
    return {name: [(int(x), float(y)) for x, y in rows.to_numpy()] for name, rows in values.items() if len(rows)}


def accumulator(store, run_id: str = "mine") -> EventAccumulator:
    found = EventAccumulator(str(store.local(f"artifacts/{run_id}/tensorboard")), {"scalars": 0, "images": 0})
    found.Reload()
    return found


def in_tensorboard(store, run_id: str = "mine") -> dict[str, list[tuple[int, float]]]:
    found = accumulator(store, run_id)
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def assert_same(shown: dict[str, list[tuple[int, float]]], expected: dict[str, list[tuple[int, float]]]) -> None:
    """Equal but for float32, which TensorBoard keeps."""
    assert shown.keys() == expected.keys()
    for name, points in expected.items():
        assert [at for at, _ in shown[name]] == [at for at, _ in points], name
        assert [value for _, value in shown[name]] == pytest.approx([value for _, value in points], rel=1e-6), name


def lose_last_checkpoint(store) -> None:
    """As if the process had died before it was written."""
    store.delete(runs.last_checkpoint(store, "mine").path)


def test_tensorboard_shows_the_rows_of_the_table_and_the_grids(store, make_run):
    train(make_run(*OFTEN), store, Worker())

    assert_same(in_tensorboard(store), curves(store))
    grids = accumulator(store).Images("samples")
    assert [grid.step for grid in grids] == [64, 128, 192, 256]
    last = store.read_bytes("artifacts/mine/samples/000000000256.png")
    assert grids[-1].encoded_image_string == last
    assert (grids[-1].width, grids[-1].height) == Image.open(io.BytesIO(last)).size


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_tensorboard_shows_a_killed_and_resumed_runs_rows_once_and_in_order(store, make_run, lost):
    run = make_run(*OFTEN)
    train_killed(run, store, 192)
    for _ in range(lost):
        lose_last_checkpoint(store)

    train(run, store, Worker())

    expected = curves(store)
    assert [at for at, _ in expected["train/loss"]] == [32, 64, 96, 128, 160, 192, 224, 256]
    assert_same(in_tensorboard(store), expected)


def test_tensorboard_shows_no_row_twice_when_checkpoints_come_at_other_places_than_before(store, make_run):
    train_killed(make_run(*OFTEN), store, 192)
    lose_last_checkpoint(store)

    train(make_run(*OFTEN, "train.checkpoint_images=96"), store, Worker())

    assert_same(in_tensorboard(store), curves(store))


def test_a_run_from_before_there_were_trackers_is_shown_whole(store, make_run):
    train_killed(make_run(*OFTEN, "train.trackers=[]"), store, 128)
    assert not store.exists("artifacts/mine/tensorboard")

    train(make_run(*OFTEN), store, Worker())

    assert_same(in_tensorboard(store), curves(store))


def test_a_step_that_was_not_taken_is_shown_with_the_norm_it_had(store, make_run):
    def spoil(network):
        calls = []

        def hook(module, inputs, out):
            calls.append(1)
            return out * math.nan if len(calls) == 3 else out

        network.register_forward_hook(hook)
        return network

    train(make_run(*OFTEN, "train.grid_samples=1"), store, Worker(wrap=spoil))

    [event] = tables.read(store, "events").to_dict("records")
    [[at, norm]] = in_tensorboard(store)["events/step_skipped"]
    assert at == event["images_seen"] and math.isnan(norm)


def test_mlflow_goes_on_with_the_same_run_and_has_the_rows_once(store, make_run, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_run(*OFTEN, "train.trackers=[mlflow]")
    train_killed(run, store, 128)
    lose_last_checkpoint(store)
    store.delete("artifacts/mine/trackers.json")  # as if it had died between MLflow and our own note of it

    train(run, store, Worker())

    client = MlflowClient(f"sqlite:///{store.local('artifacts/mlflow.db')}")
    [found] = client.search_runs([client.get_experiment_by_name("unlatent").experiment_id])
    history = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    shown = {name: [(each.step, each.value) for each in points] for name, points in history.items()}
    assert {name: [at for at, _ in points] for name, points in shown.items()} == {
        name: [at for at, _ in points] for name, points in curves(store).items()
    }
    assert shown["train/loss"] == curves(store)["train/loss"], "what was done again is as it was"
    assert (found.info.status, found.info.run_name, found.data.params["train.batch_size"]) == ("FINISHED", "mine", "32")
    assert [file for file in client.list_artifacts(found.info.run_id, "images") if file.path.endswith(".png")]


def test_mlflow_has_the_rows_once_though_it_has_nowhere_to_put_the_images(store, make_run, monkeypatch, capsys):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store.write_bytes("artifacts/other", b"")
    client = MlflowClient(f"sqlite:///{store.local('artifacts/mlflow.db')}")
    experiment = client.create_experiment("unlatent", "file:///proc/nowhere")

    train(make_run(*OFTEN, "train.trackers=[mlflow]"), store, Worker())

    [found] = client.search_runs([experiment])
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == curves(store)["train/loss"]
    assert capsys.readouterr().out.count("mlflow does not take") == 1


def wandb_records(path) -> list[bytes]:
    """The records of an offline file: LevelDB's log format, in blocks of 32 KiB, after a header of 7 bytes."""
    content, at, parts, found = path.read_bytes(), 7, [], []
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        parts.append(content[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            found.append(b"".join(parts))
            parts = []
    return found


def wandb_history(folder) -> list[tuple[str, dict[int, dict[str, str]]]]:
    """The run id of each offline file, oldest first, and its history: step, key, JSON."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime):
        run_id, history = "", {}
        for data in wandb_records(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            run_id = record.run.run_id or run_id
            if record.history.item:
                history[record.history.step.num] = {
                    item.key or "/".join(item.nested_key): item.value_json for item in record.history.item
                }
        found.append((run_id, history))
    return found


def test_wandb_goes_on_with_the_same_run_and_has_the_rows_once(store, make_run, make_config, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = (*OFTEN, "train.trackers=[wandb]")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(make_config(*settings)))
    died = subprocess.run([sys.executable, "-c", TRAIN_AND_DIE, str(path)], env=os.environ, capture_output=True)
    assert died.returncode == 9, died.stderr.decode()
    lose_last_checkpoint(store)

    train(make_run(*settings), store, Worker())

    files = wandb_history(store.local("artifacts/mine"))
    assert [run_id for run_id, _ in files] == ["mine", "mine"]
    shown = [(step, float(row["train/loss"])) for _, history in files for step, row in history.items()]
    assert shown == curves(store)["train/loss"]
    assert files[-1][1][256]["samples/_type"] == '"image-file"'


def test_a_tracker_that_fails_is_one_line_and_has_the_rows_when_it_is_back(store, make_run, capsys):
    run = make_run(*OFTEN)
    store.write_bytes("artifacts/mine/tensorboard", b"in the way")
    train_killed(run, store, 192)
    said = [line for line in capsys.readouterr().out.splitlines() if "tensorboard" in line]
    assert len(said) == 1 and "mine: tensorboard does not take the rows" in said[0]

    store.delete("artifacts/mine/tensorboard")
    train(run, store, Worker())

    assert tables.row(store, "runs", "mine")["status"] == "succeeded"
    assert_same(in_tensorboard(store), curves(store))


def test_a_server_that_is_down_does_not_keep_a_run_from_its_end(store, make_run, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    train(make_run(*OFTEN, "train.trackers=[mlflow]"), store, Worker())

    assert tables.row(store, "runs", "mine")["status"] == "succeeded"
    assert capsys.readouterr().out.count("mlflow does not take the rows") == 1


def test_a_rollback_beyond_the_checkpoint_it_goes_back_to_is_shown_once(store, make_run, row_of, noon):
    run = make_run(*OFTEN)
    train_killed(run, store, 128)
    event = row_of("events", run_id="mine", images_seen=160, step=5, grad_norm=7.0, logged_at=noon)
    runs.record_rollback(store, event)
    train_killed(run, store, 192)

    train(run, store, Worker())

    assert in_tensorboard(store)["events/rolled_back"] == [(160, 7.0)]
    assert len(checkpoints.all_of(store, "mine")) == 3


def test_how_a_run_is_shown_does_not_change_what_it_is(make_run):
    assert make_run("train.trackers=[tensorboard]").run_id == make_run("train.trackers=[]").run_id


@pytest.mark.parametrize("wrong", ["train.trackers=[tensorbord]", "train.trackers=[wandb,wandb]"])
def test_an_unknown_tracker_is_refused_with_those_there_are(make_run, wrong):
    with pytest.raises(ValueError, match="is not a list of tensorboard, wandb, mlflow, each once"):
        make_run(wrong)


def test_a_tracker_whose_package_is_missing_is_refused_with_what_brings_it(monkeypatch):
    monkeypatch.setitem(packages.PACKAGES, "wandb", "wandb_that_is_not_installed")

    with pytest.raises(ValueError, match=r"wandb is not installed; `pip install 'unlatent\[wandb\]'` brings it"):
        packages.require(["tensorboard", "wandb"])
    assert TRACKERS.keys() == packages.PACKAGES.keys()


def test_a_worker_that_does_not_lead_tells_no_tracker(store, make_run):
    feed = Feed(store, make_run(*OFTEN), [])

    feed.resume(0)
    feed.close(True)

    assert not store.exists("artifacts")
