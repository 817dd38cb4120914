import pytest

from unlatent.models import cost
from unlatent.platform import rates, tables
from unlatent.platform.cluster import disconnect
from unlatent.platform.provenance import now
from unlatent.platform.rates import Rate, best_rate, known_rates, measure, measure_on_ray
from unlatent.platform.training import Worker, train


@pytest.fixture(autouse=True)
def measured_briefly(monkeypatch):
    monkeypatch.setattr(rates, "MEASURED_FOR_S", 0.2)


def rate(config, **differing) -> Rate:
    own = {"work": "training", "gflops_per_s": 5.0, "forward_gflops": cost.forward_gflops(config.model)}
    return Rate(**{**own, "device": "cpu", "precision": "fp32", "measured_at": now(), **differing})


def test_a_measurement_is_of_the_network_and_at_a_workers_share_of_a_batch(make_config):
    training, drawing = measure(make_config("cluster.workers=2", "train.accumulate=2", "sampler.precision=bf16"))

    assert (training["work"], training["batch_size"], training["precision"]) == ("training", 16, "fp32")
    assert (drawing["work"], drawing["batch_size"], drawing["precision"]) == ("drawing", 8, "bf16")
    config = make_config()
    for row, gflops in ((training, cost.training_gflops), (drawing, cost.forward_gflops)):
        assert (
            row["gflops_per_s"] == pytest.approx(row["images_per_s"] * gflops(config.model)) and row["device"] == "cpu"
        )


def test_a_run_leaves_the_rate_of_one_worker(store, make_run):
    run = make_run("train.run=one")
    train(run, store, Worker())
    row = tables.row(store, "runs", "one")
    tables.replace(store, "runs", row | {"workers": 2})

    [known] = known_rates(store)

    assert known.gflops_per_s == pytest.approx(row["images_per_s"] / 2 * cost.training_gflops(run.config.model))
    assert (known.work, known.device, known.precision) == ("training", "cpu", "fp32") and known.is_of(run.config)


def test_what_was_measured_on_purpose_comes_before_what_runs_left(store, make_run):
    run = make_run("train.run=one")
    measured = measure(run.config)
    tables.append(store, "rates", measured)
    train(run, store, Worker())

    assert [each.work for each in known_rates(store)].count("training") == 2
    assert (
        best_rate(known_rates(store), "training", run.config, on_gpu=False).gflops_per_s == measured[0]["gflops_per_s"]
    )


def test_the_networks_own_rate_counts_before_that_of_another(make_config):
    config = make_config()
    other, own = rate(config, forward_gflops=9.0), rate(config)

    assert best_rate([other, own], "training", config, on_gpu=False) == own
    assert best_rate([other], "training", config, on_gpu=False) == other


@pytest.mark.parametrize("differing", [{"work": "drawing"}, {"precision": "bf16"}, {"device": "NVIDIA H100"}])
def test_a_rate_of_other_work_precision_or_kind_of_device_says_nothing(make_config, differing):
    config = make_config()

    assert best_rate([rate(config, **differing)], "training", config, on_gpu=False) is None


@pytest.mark.slow
def test_a_cluster_without_gpus_cannot_measure_on_one(make_config):
    try:
        with pytest.raises(ValueError, match=r"measuring needs 1 × \S+ CPU and 1 GPU, and the .* room for 0"):
            measure_on_ray(make_config("cluster.gpus_per_worker=1", "cluster.cpus=1"), in_sweep=False)
    finally:
        disconnect()
