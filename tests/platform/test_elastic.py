"""A run whose number of workers follows what there is room for, on a Ray of several nodes on this machine."""

import threading
import time

import pytest

from unlatent.platform import cluster, runs, tables
from unlatent.platform.ray_training import train_on_ray

pytestmark = pytest.mark.slow


@pytest.fixture
def nodes(monkeypatch):
    """Two nodes with room for one worker each; the first one cannot go away."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    cluster.disconnect()
    made.shutdown()


def test_a_run_that_loses_a_node_goes_on_with_the_workers_that_are_left(store, make_config, nodes):
    second = nodes.add_node(num_cpus=1)
    worlds = []

    def lose_the_second_node():
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            row = tables.row(store, "runs", "one")
            if row and row["images_seen"]:
                worlds.append(row["workers"])
                nodes.remove_node(second, allow_graceful=False)
                return
            time.sleep(0.01)

    losing = threading.Thread(target=lose_the_second_node)
    losing.start()
    train_on_ray(
        make_config(
            f"cluster.address={nodes.address}",
            "cluster.workers=2",
            "cluster.min_workers=1",
            "cluster.cpus_per_worker=1",
            "train.run=one",
            "train.total_images=16384",
            "train.checkpoint_images=1024",
            "train.log_images=1024",
        )
    )
    losing.join()

    row = runs.find(store, "one")
    assert worlds == [2] and row["workers"] == 1
    assert (row["status"], row["images_seen"]) == ("succeeded", 16384)
    assert sorted(tables.read(store, "steps")["images_seen"]) == list(range(1024, 16385, 1024))
