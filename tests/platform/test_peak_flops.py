import pytest
import torch

from unlatent.models import cost
from unlatent.platform import tables
from unlatent.platform.peak_flops import peak_flops, published
from unlatent.platform.training import Worker, train


@pytest.mark.parametrize(
    ("name", "precision", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", 156e12),
        ("NVIDIA GeForce RTX 4090", "bf16", 165e12),
        ("NVIDIA GeForce GTX 1060", "bf16", None),
    ],
)
def test_a_gpu_that_is_known_has_the_peak_that_its_maker_publishes(name, precision, flops):
    assert published(name, precision) == flops


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_any_other_device_has_the_rate_that_was_measured_once(precision):
    measured = peak_flops(torch.device("cpu"), precision)

    assert 1e8 < measured < 1e14
    assert peak_flops(torch.device("cpu"), precision) == measured


def test_mfu_is_the_models_flops_a_second_over_the_peak_of_all_workers(store, make_run):
    run = make_run("train.recompute=blocks")

    train(run, store, Worker())

    steps = tables.read(store, "steps")
    flops_per_s = steps["images_per_s"] * cost.training_gflops(run.config.model) * 1e9
    assert steps["mfu"].to_list() == pytest.approx((flops_per_s / peak_flops(torch.device("cpu"), "fp32")).to_list())
    assert ((steps["mfu"] > 0) & (steps["mfu"] < 1)).all()
