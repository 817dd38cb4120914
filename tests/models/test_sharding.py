from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from tests.processes import in_processes
from unlatent.models.clipping import clipped_step, gradient_norm
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.ema import update_ema
from unlatent.models.network import PixelTransformer
from unlatent.models.sharding import local, put_rows, shard, stretch, stretch_of, whole

CONFIG = PixelTransformerConfig(
    image_size=8, channels=1, classes=10, patch_size=4, width=16, heads=2, patch_depth=2, pixel_depth=2
)
BATCH = 6


def example(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noisy images, times, labels and velocities."""
    random = torch.Generator().manual_seed(step)
    noisy, velocity = torch.randn(2, BATCH, 1, 8, 8, generator=random)
    return noisy, torch.rand(BATCH, generator=random), torch.arange(BATCH), velocity


def learn(network: nn.Module, mean: nn.Module, mine: slice) -> list[float]:
    """Three steps of training. Returns the gradient norms."""
    optimizer, norms = torch.optim.AdamW(network.parameters(), lr=1e-2, fused=True), []
    for step in range(3):
        noisy, t, label, velocity = (each[mine] for each in example(step))
        optimizer.zero_grad()
        (network(noisy, t, label) - velocity).square().mean().backward()
        norms.append(gradient_norm(network.parameters()))
        clipped_step(optimizer, norms[-1], 0.1, torch.zeros(()))
        update_ema(mean, network, 0.5)
    return [norm.item() for norm in norms]


def compare(rank: int, world: int, recompute: str, compiled: bool) -> None:
    """Trains a sharded network on a share of each batch, and a whole one on all of it."""
    torch.manual_seed(0)
    alone = PixelTransformer(CONFIG)
    sharded, mean_alone, mean = (deepcopy(alone) for _ in range(3))
    for each in (sharded, mean):
        shard(each, init_device_mesh("cpu", (world,)))
    sharded.set_recompute(recompute)
    if compiled:
        with pytest.MonkeyPatch.context() as patched:  # without the code that a backend would write: it takes a minute
            patched.setattr("unlatent.models.network.sparing", "aot_eager")
            sharded.compile_blocks()
    held = sum(local(weight).numel() for weight in sharded.parameters())
    share = BATCH // world

    norms = learn(sharded, mean, slice(rank * share, (rank + 1) * share))

    assert norms == pytest.approx(learn(alone, mean_alone, slice(None)), rel=1e-5)
    assert held < 1.1 / world * sum(weight.numel() for weight in alone.parameters())
    for ours, theirs in ((sharded, alone), (mean, mean_alone)):
        for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert (whole(weight) - other).abs().max() < 1e-5
            assert torch.equal(local(weight), whole(weight)[slice_of(stretch_of(weight))])
    noisy, t, label, _ = example(9)
    with torch.inference_mode():
        assert (mean(noisy, t, label) - mean_alone(noisy, t, label)).abs().max() < 1e-4
    assert all(hasattr(weight, "to_local") for weight in mean.parameters()), "put together, and not taken apart again"


def slice_of(rows: range) -> slice:
    return slice(rows.start, rows.stop)


@pytest.mark.parametrize(("world", "recompute"), [(2, "none"), (3, "blocks"), (2, "modulation")])
def test_a_sharded_network_learns_what_a_whole_one_learns_from_a_share_of_the_weights(tmp_path, world, recompute):
    in_processes(world, tmp_path, compare, recompute, False)


@pytest.mark.slow
def test_a_sharded_network_is_compiled_block_by_block(tmp_path):
    in_processes(2, tmp_path, compare, "modulation", True)


@pytest.mark.parametrize(("rows", "count"), [(10, 1), (10, 2), (10, 3), (2, 4), (0, 2)])
def test_stretches_one_after_another_are_all_rows(rows, count):
    assert [row for number in range(count) for row in stretch(rows, number, count)] == list(range(rows))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_weight_is_put_together_from_any_number_of_parts(count):
    rows, weight = torch.randn(10, 3), torch.zeros(10, 3)

    for number in range(count):
        place = stretch(10, number, count)
        put_rows(weight, rows[slice_of(place)], place)

    assert torch.equal(weight, rows)
