"""Trials of several workers on a real Ray: their workers stay for the next trial, and are gone after the last one."""

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
    cluster.connect(ClusterConfig(cpus=2))
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


def processes(named: str) -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if any(named in part for part in each.cmdline())]


def test_a_trial_that_is_stopped_leaves_its_workers_to_the_next(store, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("knobs: {train.learning_rate: [1.0e-3, 1.0e-7]}\nscheduler: asha\n" + SMALL)

    best = run_sweep(str(path), [f"store={store.root}"])

    rows = tables.read(store, "runs").set_index("learning_rate")
    assert list(rows.loc[[1e-3, 1e-7], "status"]) == ["succeeded", "stopped_early"]
    assert (rows["workers"] == 2).all() and rows["pid"].nunique() == 1
    assert best.knobs == {"train.learning_rate": 1e-3}
    assert "where the one before it had" in rows.loc[1e-7, "stopped_because"]
    wait_for_cpus(2)


@pytest.mark.parametrize("killed", ["ImplicitFunc", "RayTrainWorker"], ids=["its process", "a worker"])
def test_a_trial_goes_on_though_one_is_killed(store, tmp_path, killed):
    path = tmp_path / "mine.yaml"
    path.write_text("knobs: {train.learning_rate: [1.0e-3]}\n" + SMALL)
    ended: list[int] = []

    def kill_one() -> None:
        while not (tables.read(store, "runs")["images_seen"] > 0).any():
            time.sleep(0.05)
        victim = processes(killed)[-1]
        victim.kill()
        ended.append(victim.pid)

    killing = threading.Thread(target=kill_one)
    killing.start()
    run_sweep(str(path), [f"store={store.root}"])
    killing.join()

    assert ended
    assert list(tables.read(store, "runs")["status"]) == ["succeeded"]
    assert sorted(tables.read(store, "steps")["images_seen"]) == [256, 512, 768]
    wait_for_cpus(2)


def test_a_trial_whose_workers_fail_does_not_end_the_others(store, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("knobs: {train.learning_rate: [1.0e+30, 1.0e-3]}\n" + SMALL)

    best = run_sweep(str(path), [f"store={store.root}", "train.clip_norm=1e30"])

    rows = tables.read(store, "runs").set_index("learning_rate")
    assert list(rows.loc[[1e30, 1e-3], "status"]) == ["failed", "succeeded"]
    assert "FloatingPointError" in rows.loc[1e30, "error"] and best.knobs == {"train.learning_rate": 1e-3}
