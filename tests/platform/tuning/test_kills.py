"""Sweeps on a real Ray whose processes are killed, as the system kills: no last words."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pandas as pd
import pytest

from unlatent.platform import cluster, tables
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.store import Store
from unlatent.platform.tuning import search
from unlatent.platform.tuning.exchange import Settings
from unlatent.platform.tuning.plan import Sweep, Trial
from unlatent.platform.tuning.running import run_sweep
from unlatent.platform.tuning.trial import settings_of

pytestmark = pytest.mark.slow

SMALL = """
max_concurrent: 1
overrides:
  - model.width=16
  - model.heads=2
  - model.patch_depth=1
  - model.pixel_depth=1
  - train.total_images=1024
  - train.checkpoint_images=256
  - train.log_images=256
  - train.warmup_images=64
  - train.grid_samples=2
  - train.trackers=[]
  - sampler.steps=2
  - evaluation.samples=100
"""
ASHA = "knobs: {train.learning_rate: [1.0e-3, 1.0e-6, 3.0e-3, 1.0e-4]}\nscheduler: asha\nrung_images: 256\n"
PBT = """
knobs: {train.learning_rate: [1.0e-3, 1.0e-6, 3.0e-3, 1.0e-4]}
scheduler: pbt
rung_images: 512
"""
OPTUNA = """
knobs: {train.learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}, model.patch_size: [2, 4]}
search: optuna
samples: 4
"""


@pytest.fixture(scope="module", autouse=True)
def ray_cluster():
    cluster.connect(ClusterConfig(cpus=2))
    yield
    cluster.disconnect()


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def runs_of(store: Store) -> pd.DataFrame:
    return tables.read(store, "runs").set_index("run_id").sort_index()


def values_of(store: Store) -> pd.DataFrame:
    found = tables.read(store, "evaluations").query("metric in ('fid', 'kid', 'class_agreement')")
    return found.pivot(index=["run_id", "images_seen"], columns="metric", values="value")


@pytest.mark.parametrize("text", [ASHA, OPTUNA], ids=["asha", "optuna"])
def test_a_sweep_whose_driver_is_killed_ends_as_if_it_had_not_been(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text + SMALL)
    undisturbed, store = Store(tmp_path / "undisturbed"), Store(tmp_path / "store")
    best = run_sweep(str(path), [f"store={undisturbed.root}"])
    command = [sys.executable, "-m", "unlatent.pipelines", "sweep", str(path), f"store={store.root}", "cluster.cpus=1"]

    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    wait_for(lambda: list(tables.read(store, "runs")["status"]).count("running") == 1 and len(runs_of(store)) == 3)
    wait_for(lambda: bool((tables.read(store, "runs").query("status == 'running'")["images_seen"] > 0).any()))
    driver.kill()
    driver.wait()
    before = runs_of(store)
    ended = before[before["status"] != "running"]
    assert run_sweep(str(path), [f"store={store.root}"]).run_id == best.run_id

    after, expected = runs_of(store), runs_of(undisturbed)
    same = ["status", "images_seen", "loss", "stopped_because", "patch_size", "learning_rate"]
    pd.testing.assert_frame_equal(after[same], expected[same], check_exact=True)
    pd.testing.assert_frame_equal(values_of(store), values_of(undisturbed), check_exact=True)
    assert len(ended) == 2 and after.loc[ended.index, "ended_at"].equals(ended["ended_at"]), "none was done again"


def test_a_population_whose_driver_is_killed_ends_as_if_it_had_not_been(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(PBT + SMALL.replace("max_concurrent: 1", "max_concurrent: 2"))  # members that wait beside others
    undisturbed, store = Store(tmp_path / "undisturbed"), Store(tmp_path / "store")
    best = run_sweep(str(path), [f"store={undisturbed.root}"])
    command = [sys.executable, "-m", "unlatent.pipelines", "sweep", str(path), f"store={store.root}", "cluster.cpus=1"]

    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    wait_for(lambda: bool((tables.read(store, "runs")["forked_from"].notna()).any()))
    driver.kill()
    driver.wait()
    assert run_sweep(str(path), [f"store={store.root}"]).run_id == best.run_id

    after, expected = runs_of(store), runs_of(undisturbed)
    same = ["status", "images_seen", "loss", "stopped_because", "learning_rate", "forked_from", "seed"]
    pd.testing.assert_frame_equal(after[same], expected[same], check_exact=True)
    pd.testing.assert_frame_equal(values_of(store), values_of(undisturbed), check_exact=True)
    assert sorted(after["status"]) == ["stopped_early"] + ["succeeded"] * 4
    [fork] = after["forked_from"].dropna()
    steps = tables.read(store, "steps", run=after.index[after["forked_from"] == fork][0])
    assert steps["images_seen"].tolist() == [768, 1024]


def test_a_trial_that_is_killed_goes_on_and_none_is_lost(tmp_path):
    path, store = tmp_path / "mine.yaml", Store(tmp_path / "store")
    path.write_text("knobs: {train.learning_rate: [1.0e-3, 2.0e-3]}\n" + SMALL)
    killed: list[int] = []

    def kill_first() -> None:
        wait_for(lambda: bool((tables.read(store, "runs")["images_seen"] > 0).any()))
        killed.append(int(tables.read(store, "runs")["pid"].iloc[0]))
        os.kill(killed[0], signal.SIGKILL)

    killing = threading.Thread(target=kill_first)
    killing.start()
    run_sweep(str(path), [f"store={store.root}"])
    killing.join()

    assert killed
    assert list(runs_of(store)["status"]) == ["succeeded", "succeeded"]
    steps = tables.read(store, "steps").groupby("run_id")["images_seen"].apply(sorted)
    assert all(images == [256, 512, 768, 1024] for images in steps)


def test_a_trial_whose_process_dies_before_it_has_begun_is_taken_up_by_another(tmp_path, monkeypatch):
    path, store = tmp_path / "mine.yaml", Store(tmp_path / "store")
    path.write_text("knobs: {train.learning_rate: [1.0e-3, 2.0e-3]}\n" + SMALL)
    killed: list[int] = []

    def kill_the_last(sweep: Sweep, trial: Trial) -> Settings:
        """Kills the process that waits for this trial, if there is one: the trial before ran there."""
        if not killed and len(before := tables.read(store, "runs")):
            killed.append(int(before["pid"].iloc[0]))
            os.kill(killed[0], signal.SIGKILL)
        return settings_of(sweep, trial)

    monkeypatch.setattr(search, "settings_of", kill_the_last)
    run_sweep(str(path), [f"store={store.root}", "cluster.max_failures=1"])

    assert killed
    assert list(runs_of(store)["status"]) == ["succeeded", "succeeded"]


def test_what_failed_is_tried_again_only_when_asked(tmp_path):
    path, store = tmp_path / "mine.yaml", Store(tmp_path / "store")
    path.write_text("knobs: {train.learning_rate: [1.0e+30, 1.0e-3]}\n" + SMALL)
    overrides = [f"store={store.root}", "train.clip_norm=1e30", "train.total_images=256"]
    run_sweep(str(path), overrides)
    [failed] = runs_of(store).query("status == 'failed'").index
    first = runs_of(store).loc[failed, "updated_at"]

    run_sweep(str(path), overrides)
    assert runs_of(store).loc[failed, "updated_at"] == first

    run_sweep(str(path), overrides, retry_failed=True)
    assert runs_of(store).loc[failed, "updated_at"] > first
    assert runs_of(store).loc[failed, "status"] == "failed"
