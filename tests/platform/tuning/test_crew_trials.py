"""Trials of several workers on a real Ray: what a trial held is free when it has ended, however it ended."""

import threading
import time

import psutil
import pytest

from unlatent.platform import cluster, tables
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.tuning.running import run_sweep

pytestmark = pytest.mark.slow

SMALL = """
overrides:
  - model.width=16
  - model.heads=2
  - model.patch_depth=1
  - model.pixel_depth=1
  - train.total_images=768
  - train.checkpoint_images=256
  - train.log_images=256
  - train.warmup_images=64
  - train.grid_samples=2
  - sampler.steps=2
  - evaluation.samples=100
  - cluster.workers=2
"""


@pytest.fixture(scope="module", autouse=True)
def ray_cluster():
    cluster.connect(ClusterConfig(cpus=2), nested=True)
    yield
    cluster.disconnect()


def free_cpus() -> float:
    import ray

    return ray.available_resources().get("CPU", 0)


def wait_for_cpus(number: float, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while free_cpus() < number:
        assert time.monotonic() < deadline, f"only {free_cpus()} of {number} CPUs are free"
        time.sleep(0.1)


def test_a_trial_that_is_stopped_frees_its_workers_for_the_next(store, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("knobs: {train.learning_rate: [1.0e-3, 1.0e-7]}\nscheduler: asha\n" + SMALL)

    best = run_sweep(str(path), [f"store={store.root}"])

    rows = tables.read(store, "runs").set_index("learning_rate")
    assert list(rows.loc[[1e-3, 1e-7], "status"]) == ["succeeded", "stopped_early"]
    assert (rows["workers"] == 2).all() and best.knobs == {"train.learning_rate": 1e-3}
    assert "where the one before it had" in rows.loc[1e-7, "stopped_because"]
    wait_for_cpus(2)


def test_a_trial_whose_process_is_killed_frees_its_workers_and_goes_on(store, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("knobs: {train.learning_rate: [1.0e-3]}\n" + SMALL)
    killed: list[int] = []

    def kill_holder() -> None:
        while not (tables.read(store, "runs")["images_seen"] > 0).any():
            time.sleep(0.05)
        for process in psutil.Process().children(recursive=True):
            if any("ImplicitFunc" in part for part in process.cmdline()):
                process.kill()
                killed.append(process.pid)

    killing = threading.Thread(target=kill_holder)
    killing.start()
    run_sweep(str(path), [f"store={store.root}"])
    killing.join()

    assert killed
    assert list(tables.read(store, "runs")["status"]) == ["succeeded"]
    wait_for_cpus(2)
