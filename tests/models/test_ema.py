from copy import deepcopy

import torch
from torch import nn

from unlatent.models.ema import update_ema


def test_the_mean_keeps_its_share_and_fills_up_with_the_weight():
    network = nn.Linear(3, 2)
    ema = deepcopy(network)
    before = ema.weight.clone()
    nn.init.ones_(network.weight)

    update_ema(ema, network, decay=0.75)

    torch.testing.assert_close(ema.weight, 0.75 * before + 0.25)
    assert torch.equal(network.weight, torch.ones(2, 3))


def test_no_gradient_flows_into_the_mean():
    network = nn.Linear(3, 2)
    ema = deepcopy(network).requires_grad_(False)

    update_ema(ema, network, decay=0.5)

    assert ema.weight.grad_fn is None
    assert not ema.weight.requires_grad


def test_buffers_are_copied():
    network = nn.BatchNorm1d(3)
    ema = deepcopy(network)
    network(torch.randn(8, 3))

    update_ema(ema, network, decay=0.9)

    assert torch.equal(ema.running_mean, network.running_mean)
    assert ema.num_batches_tracked == 1


def test_a_mean_in_float32_follows_weights_in_bfloat16():
    ema, network = nn.Linear(3, 2), nn.Linear(3, 2).bfloat16()

    update_ema(ema, network, decay=0.0)

    assert ema.weight.dtype == torch.float32
    assert torch.equal(ema.weight, network.weight.float())
