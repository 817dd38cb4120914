"""Runs on, and beside, a Ray of several nodes on this machine.

A run is a command of its own: a process that has been in one Ray does not join another that has no token.
"""

import subprocess
import sys
import time

import pytest

from unlatent.platform import runs, tables

pytestmark = pytest.mark.slow


@pytest.fixture
def nodes(monkeypatch, server):
    """Two nodes with room for one worker each; the first one cannot go away. They can reach the S3 server."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()


def test_a_run_that_loses_a_node_goes_on_with_the_workers_that_are_left(remote_store, smallest, nodes):
    store = remote_store  # no node has the other's disk
    second = nodes.add_node(num_cpus=1)
    overrides = [
        *smallest,
        f"store={store.root}",
        f"cluster.address={nodes.address}",
        "train.parallel=fsdp",  # the part of a checkpoint that was written there is read here
        "cluster.workers=2",
        "cluster.min_workers=1",
        "cluster.cpus_per_worker=1",
        "train.run=one",
        "train.total_images=8192",
        "train.checkpoint_images=1024",
        "train.log_images=1024",
    ]
    training = subprocess.Popen([sys.executable, "-m", "unlatent.pipelines", "train", *overrides])

    while not ((row := tables.row(store, "runs", "one")) and row["images_seen"]):
        assert training.poll() is None, "ended before it had a checkpoint"
        time.sleep(0.01)
    nodes.remove_node(second, allow_graceful=False)

    assert training.wait() == 0
    assert row["workers"] == 2
    row = runs.find(store, "one")
    assert (row["status"], row["images_seen"], row["workers"]) == ("succeeded", 8192, 1)
    assert sorted(tables.read(store, "steps")["images_seen"]) == list(range(1024, 8193, 1024))


def test_a_command_without_an_address_starts_its_own_ray_beside_one_that_runs_here(store, smallest, nodes):
    overrides = [*smallest, f"store={store.root}", "cluster.cpus=2", "train.run=one"]

    trained = subprocess.run([sys.executable, "-m", "unlatent.pipelines", "train", *overrides])

    assert trained.returncode == 0
    assert runs.find(store, "one")["status"] == "succeeded"
