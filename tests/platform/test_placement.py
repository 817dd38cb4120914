import pytest

from unlatent.platform import placement
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.placement import Need


@pytest.fixture
def cluster(monkeypatch):
    """What Ray says of a cluster's nodes: their resources."""

    def of(*nodes: dict[str, float]) -> None:
        monkeypatch.setattr(placement, "nodes", lambda: list(nodes))

    return of


@pytest.mark.parametrize(
    ("need", "node", "places"),
    [
        (Need(1), {"CPU": 8}, 8),
        (Need(3), {"CPU": 8}, 2),
        (Need(0.1), {"CPU": 1}, 10),
        (Need(1, 1), {"CPU": 8, "GPU": 2}, 2),
        (Need(8, 1), {"CPU": 8, "GPU": 2}, 1),
        (Need(1, 0.5), {"CPU": 8, "GPU": 2}, 4),
        (Need(1, 0.6), {"CPU": 8, "GPU": 2}, 2),  # what is left of two GPUs is no third
        (Need(1, 1 / 3), {"CPU": 8, "GPU": 1}, 3),
        (Need(1, 1), {"CPU": 8}, 0),
    ],
)
def test_so_many_workers_fit_on_a_node(need, node, places):
    assert need.places_on(node) == places


def test_a_worker_must_fit_on_one_node(cluster):
    cluster({"CPU": 4, "GPU": 1}, {"CPU": 4, "GPU": 1}, {"CPU": 16})

    placement.require("training", 2, Need(4, 1))
    with pytest.raises(ValueError) as refused:
        placement.require("a trial", 1, Need(1, 2))
    assert str(refused.value) == (
        "a trial needs 1 × 1 CPU and 2 GPU, and the whole cluster is 2 nodes of 4 CPU and 1 GPU with room for 0, "
        "1 node of 16 CPU and 0 GPU with room for 0"
    )


def test_a_cluster_that_grows_refuses_nothing_and_is_told_how_many_trials_to_make_room_for(cluster):
    cluster({"CPU": 0})
    growing = ClusterConfig(address="auto", grows=True)

    placement.require("a trial", 1, Need(1, 2), growing.grows)
    assert placement.concurrent_trials(growing, 8) == 8
    with pytest.raises(ValueError, match=r"cluster.grows=true needs sweep.max_concurrent"):
        placement.concurrent_trials(growing, None)


def test_as_many_trials_run_at_once_as_the_cluster_holds(cluster):
    cluster({"CPU": 8, "GPU": 4}, {"CPU": 8, "GPU": 3})

    assert placement.concurrent_trials(ClusterConfig(), None) == 16
    assert placement.concurrent_trials(ClusterConfig(gpus_per_trial=0.5), None) == 14
    assert placement.concurrent_trials(ClusterConfig(workers=2, gpus_per_worker=1), None) == 3
    assert placement.concurrent_trials(ClusterConfig(), 5) == 5


def test_workers_share_the_cpus_that_each_of_them_can_have(cluster):
    cluster({"CPU": 4}, {"CPU": 3})

    assert [placement.worker_need(ClusterConfig(workers=number)).cpus for number in (1, 2, 3, 4, 7)] == [4, 3, 2, 1, 1]


def test_a_trial_of_one_worker_has_no_use_for_two_gpus():
    with pytest.raises(ValueError, match=r"cluster.gpus_per_trial=2: .*cluster.workers=2 cluster.gpus_per_worker=1"):
        ClusterConfig(gpus_per_trial=2)
