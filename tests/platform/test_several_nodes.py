"""Runs on, and beside, a Ray of several nodes on this machine.

A run is a command of its own: a process that has been in one Ray does not join another that has no token.
"""

import subprocess
import sys
import tempfile
import time

import psutil
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


@pytest.fixture
def second(nodes):
    """Another node, with a folder of its own: what Ray installs for one is not the other's."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as own:
        yield nodes.add_node(num_cpus=1, temp_dir=own)


def test_a_run_that_loses_a_node_goes_on_with_the_workers_that_are_left(
    remote_store, smallest, nodes, second, monkeypatch
):
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "15")  # 60 s: Ray counts a dead node in for a while
    store = remote_store  # no node has the other's disk
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


SWEEP = """
knobs: {train.learning_rate: [1.0e-2, 5.0e-3, 2.0e-3, 1.0e-3]}
overrides: [train.total_images=3072, train.checkpoint_images=1024, train.log_images=1024, evaluation.samples=100]
metric: fid
"""


def test_a_sweep_that_loses_a_node_ends_with_every_trial_succeeded_and_repeats_none_that_was_done(
    store, smallest, nodes, second, tmp_path
):
    [raylet] = [each.process.pid for each in second.all_processes["raylet"]]
    (tmp_path / "rates.yaml").write_text(SWEEP)
    of_definition = ("train.total_images", "train.checkpoint_images", "train.log_images")
    overrides = [text for text in smallest if not text.startswith(of_definition)]
    command = [sys.executable, "-m", "unlatent.pipelines", "sweep", str(tmp_path / "rates.yaml"), *overrides]
    sweeping = subprocess.Popen([*command, f"store={store.root}", f"cluster.address={nodes.address}"])

    while not (done := ended(store)) or not any(is_below(row, raylet) and row["images_seen"] for row in going(store)):
        assert sweeping.poll() is None, "ended before one trial was done and another was on its way on the second node"
        time.sleep(0.01)
    nodes.remove_node(second, allow_graceful=False)

    assert sweeping.wait() == 0
    found = tables.read(store, "runs")
    assert list(found["status"]) == ["succeeded"] * 4 and set(found["images_seen"]) == {3072}
    assert done.items() <= ended(store).items()
    steps = tables.read(store, "steps").groupby("run_id")["images_seen"]
    assert [sorted(seen) for _, seen in steps] == [[1024, 2048, 3072]] * 4


def test_on_a_cluster_that_grows_a_sweep_waits_for_the_nodes_that_it_asks_for(store, smallest, nodes, tmp_path):
    (tmp_path / "rates.yaml").write_text("knobs: {train.learning_rate: [1.0e-2]}\nmax_concurrent: 1")
    command = [sys.executable, "-m", "unlatent.pipelines", "sweep", str(tmp_path / "rates.yaml"), *smallest]
    asked = ["cluster.grows=true", "cluster.cpus_per_trial=2", "evaluation.samples=100"]
    sweeping = subprocess.Popen([*command, *asked, f"store={store.root}", f"cluster.address={nodes.address}"])

    while tables.read(store, "sweeps").empty:
        assert sweeping.poll() is None, "ended before it had begun"
        time.sleep(0.1)
    time.sleep(5)  # in which a trial would have begun
    assert tables.read(store, "runs").empty
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as own:
        nodes.add_node(num_cpus=2, temp_dir=own)

        assert sweeping.wait() == 0
    assert list(tables.read(store, "runs")["status"]) == ["succeeded"]


def ended(store) -> dict[str, object]:
    """When each trial that is done came to its end."""
    rows = tables.read(store, "runs")
    return {} if rows.empty else rows[rows.status == "succeeded"].set_index("run_id")["ended_at"].to_dict()


def going(store) -> list[dict]:
    rows = tables.read(store, "runs")
    return [] if rows.empty else rows[rows.status == "running"].to_dict("records")


def is_below(row: dict, raylet: int) -> bool:
    """Whether the process of a run is one that this raylet has started."""
    try:
        return psutil.Process(row["pid"]).ppid() == raylet
    except psutil.NoSuchProcess:
        return False


def test_a_command_without_an_address_starts_its_own_ray_beside_one_that_runs_here(store, smallest, nodes):
    overrides = [*smallest, f"store={store.root}", "cluster.cpus=2", "train.run=one"]

    trained = subprocess.run([sys.executable, "-m", "unlatent.pipelines", "train", *overrides])

    assert trained.returncode == 0
    assert runs.find(store, "one")["status"] == "succeeded"
