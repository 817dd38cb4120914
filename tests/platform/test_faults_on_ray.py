"""Training on a real Ray whose workers are killed, as the system kills: no last words."""

import threading
import time

import psutil
import pytest

from unlatent.platform import checkpoints, cluster, tables
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.ray_training import train_on_ray
from unlatent.platform.store import Store

pytestmark = pytest.mark.slow

LONG = (
    "train.run=one",
    "train.total_images=8192",
    "train.checkpoint_images=1024",
    "train.log_images=1024",
    "cluster.cpus_per_worker=1",
)


@pytest.fixture(scope="module", autouse=True)
def ray_cluster():
    cluster.connect(ClusterConfig(cpus=2))
    yield
    cluster.disconnect()


def workers() -> list[psutil.Process]:
    """Those of a training run, of this process's own Ray."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any("RayTrainWorker" in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:  # it has just ended
            continue
    return found


class Killing:
    """Kills a worker once the run has a checkpoint, and says when in the run that was."""

    def __init__(self, store: Store, rank: int) -> None:
        self.store, self.rank, self.at = store, rank, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            row = tables.row(self.store, "runs", "one")
            if row and row["images_seen"]:
                first = row["pid"]
                others = [process for process in workers() if process.pid != first]
                (psutil.Process(first) if self.rank == 0 else others[0]).kill()
                self.at = row["images_seen"]
                return
            time.sleep(0.01)


def largest_difference(ours: Store, theirs: Store, kind: str) -> float:
    last = {each: checkpoints.newest(each, "one")[0] for each in (ours, theirs)}
    assert [found.images_seen for found in last.values()] == [8192, 8192]
    mine, other = (checkpoints.load_weights(each, found, kind) for each, found in last.items())
    return max((mine[name] - other[name]).abs().max().item() for name in mine)


def losses(store: Store) -> list[float]:
    return tables.read(store, "steps").sort_values("images_seen")["loss"].to_list()


@pytest.mark.parametrize(
    ("count", "rank", "parallel", "tolerance"), [(1, 0, "ddp", 0.0), (2, 1, "ddp", 1e-5), (2, 0, "fsdp", 1e-5)]
)
def test_a_run_whose_worker_is_killed_ends_as_the_undisturbed_one(store, make_config, count, rank, parallel, tolerance):
    beside, shared = Store(store.root + "-undisturbed"), (f"cluster.workers={count}", f"train.parallel={parallel}")
    train_on_ray(make_config(*LONG, *shared, f"store={beside.root}"))
    killing = Killing(store, rank)

    train_on_ray(make_config(*LONG, *shared))

    assert 0 < killing.at < 8192
    row = tables.row(store, "runs", "one")
    assert (row["status"], row["workers"]) == ("succeeded", count)
    assert all(largest_difference(store, beside, kind) <= tolerance for kind in ("raw", "ema"))
    assert losses(store) == pytest.approx(losses(beside), abs=tolerance, rel=0)


def test_a_run_goes_on_with_more_workers_than_it_began_with(store, make_config):
    short = make_config("train.run=one", "cluster.cpus_per_worker=1")
    train_on_ray(short)

    train_on_ray(
        make_config("train.run=one", "cluster.cpus_per_worker=1", "cluster.workers=2", "train.total_images=512")
    )

    row = tables.row(store, "runs", "one")
    assert (row["status"], row["workers"], row["images_seen"]) == ("succeeded", 2, 512)
    assert sorted(tables.read(store, "steps")["images_seen"]) == list(range(64, 513, 64))
