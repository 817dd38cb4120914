"""The whole way on real components at the smallest size: undisturbed, and killed three times."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from unlatent.platform import checkpoints, tables
from unlatent.platform.store import Store

pytestmark = pytest.mark.slow

SWEEP = """
question: does it go the whole way?
knobs: {model.patch_size: [2, 4], model.compaction.window: [4, 2]}
overrides: [train.total_images=256, train.checkpoint_images=128]
metric: fid
"""

PIPELINE = """
overrides:
  - model.width=16
  - model.heads=2
  - model.patch_depth=1
  - model.pixel_depth=1
  - train.log_images=64
  - train.warmup_images=64
  - train.grid_samples=4
  - sampler.steps=4
  - evaluation.samples=100
steps:
  data: {run: prepare_data}
  sweep: {run: sweep, sweep: SWEEP, needs: [data]}
  train: {run: train, needs: [sweep], overrides: [train.total_images=4096, train.checkpoint_images=512]}
  evaluate: {run: evaluate, needs: [train]}
  select: {run: select, needs: [evaluate]}
  deploy: {run: deploy, needs: [select]}
  request: {run: request_images, needs: [deploy]}
  report: {run: report, needs: [sweep, train, evaluate, request]}
"""


class Trip:
    """A pipeline on a store of its own, run as a user would."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "small.yaml").write_text(SWEEP)
        (folder / "trip.yaml").write_text(PIPELINE.replace("SWEEP", str(folder / "small.yaml")))
        self.folder, self.store = folder, Store(folder / "store")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "unlatent.pipelines", "run", "trip.yaml", f"serve.port={self.port}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, **pipes)

    def run(self) -> str:
        started = self.start()
        out, _ = started.communicate(timeout=300)
        assert started.returncode == 0, out
        return out

    def kill_when(self, reached: Callable[[], bool]) -> None:
        """Starts the pipeline and kills its driver, as `kill -9` does, once something has been reached."""
        started = self.start()
        deadline = time.monotonic() + 300
        while not reached():
            assert started.poll() is None and time.monotonic() < deadline, started.communicate()[0]
            time.sleep(0.02)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()

    def table(self, name: str) -> pd.DataFrame:
        return tables.read(self.store, name)

    def status_of(self, kind: str) -> list[str]:
        runs = self.table("runs")
        return list(runs["status"][runs["run_id"].str.startswith(kind)])

    def is_measuring(self, kind: str) -> bool:
        """Whether a run has its last checkpoint, and no number of it is in the table yet."""
        runs = self.table("runs")
        at_end = runs[runs["run_id"].str.startswith(kind) & (runs["images_seen"] == runs["total_images"])]
        return bool(len(at_end)) and self.table("evaluations").empty

    def images_of(self, kind: str) -> int:
        runs = self.table("runs")
        return int(runs["images_seen"][runs["run_id"].str.startswith(kind)].sum())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Trip:
    trip = Trip(tmp_path_factory.mktemp("undisturbed") / "trip")
    trip.printed = trip.run()
    return trip


def test_every_table_says_what_was_done(undisturbed):
    runs = pd.read_parquet(undisturbed.store.local("results/runs"))

    assert sorted(runs["sweep"].fillna("")) == ["", "small", "small", "small"], (
        "a window of 4 does not divide a patch of 2"
    )
    assert set(runs["status"]) == {"succeeded"}
    assert {"fid", "kid", "class_agreement"} <= set(undisturbed.table("evaluations")["metric"])
    [sweep] = undisturbed.table("sweeps").to_dict("records")
    assert (sweep["trials"], sweep["pruned"], sweep["succeeded"], sweep["status"]) == (3, 1, 3, "succeeded")
    [deployment] = undisturbed.table("deployments").to_dict("records")
    assert (deployment["status"], deployment["metric"]) == ("ready", "fid")
    assert list(undisturbed.table("pipeline_steps")["action"]) == ["ran"] * 8


def test_the_winner_of_the_sweep_is_what_is_trained_longer(undisturbed):
    runs = undisturbed.table("runs").set_index("run_id")
    best = undisturbed.table("sweeps")["best_run_id"].iloc[0]
    long = runs[runs["sweep"].isna()].iloc[0]

    assert (long["patch_size"], long["window"]) == (runs.loc[best, "patch_size"], runs.loc[best, "window"])
    assert long["images_seen"] == 4096


def test_the_best_checkpoint_is_what_is_deployed(undisturbed):
    rows = undisturbed.table("evaluations").query("metric == 'fid'")

    deployed = undisturbed.table("deployments")["checkpoint_hash"].iloc[0]

    assert deployed == rows.sort_values("value")["checkpoint_hash"].iloc[0]


def test_the_endpoint_has_answered_with_an_image_of_each_class(undisturbed):
    folder = undisturbed.store.local("artifacts/pipelines/trip/request")

    images = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]

    assert len(images) == 10
    assert all(image.shape == (8, 8) and image.std() > 0 for image in images)


def test_the_report_is_one_file_that_needs_no_other(undisturbed):
    page = undisturbed.store.local("artifacts/pipelines/trip/report/report.html").read_text()

    assert page.count("data:image/png;base64,") >= 10
    assert 'src="http' not in page and 'href="http' not in page
    for run_id in undisturbed.table("runs")["run_id"]:
        assert run_id in page


def test_a_second_time_everything_is_skipped_in_seconds(undisturbed):
    started = time.monotonic()

    out = undisturbed.run()

    assert time.monotonic() - started < 30
    for step in ("data", "sweep", "train", "evaluate", "select", "deploy", "request", "report"):
        assert f"{step}: skipped, " in out
    assert "report.html" in out
    assert len(undisturbed.table("deployments")) == 1


def test_killed_in_a_trial_in_training_and_after_it_it_ends_in_the_same_state(undisturbed, tmp_path):
    trip = Trip(tmp_path / "trip")
    trip.kill_when(lambda: trip.is_measuring("small"))
    trip.kill_when(lambda: 512 <= trip.images_of("train") < 4096)
    trip.kill_when(lambda: trip.status_of("train") == ["succeeded"])

    trip.run()

    ours, theirs = trip.table("runs").set_index("run_id"), undisturbed.table("runs").set_index("run_id")
    assert sorted(ours.index) == sorted(theirs.index), "each run once"
    assert set(ours["status"]) == {"succeeded"}
    assert ours["checkpoint_hash"].notna().all()
    for run_id in ours.index:
        weights = [
            checkpoints.load_weights(each.store, checkpoints.newest(each.store, run_id)[0], "ema")
            for each in (trip, undisturbed)
        ]
        assert all((weights[0][name] == weights[1][name]).all() for name in weights[0]), run_id
    compared = ["run_id", "images_seen", "loss"]
    mine, other = (
        each.table("steps")[compared].sort_values(compared).reset_index(drop=True) for each in (trip, undisturbed)
    )
    pd.testing.assert_frame_equal(mine, other)
    scores = [
        each.table("evaluations").query("metric == 'fid'").set_index("run_id")["value"].sort_index()
        for each in (trip, undisturbed)
    ]
    pd.testing.assert_series_equal(*scores)
