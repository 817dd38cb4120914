import math
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from unlatent.models.ema import (
    Snapshot,
    exponent,
    power_decay,
    reconstruct,
    reconstruction_weights,
    update_ema,
    update_emas,
)

BATCH, STEPS = 64, 4096  # the walk below: images a step, and steps
LAST = BATCH * STEPS
TRACKED = (0.05, 0.10)
POSITIONS = tuple(range(LAST // 16, LAST + 1, LAST // 16))


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_several_means_at_once_equal_each_alone(dtype):
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(dtype)
    together, alone = ([deepcopy(network).float() for _ in range(3)] for _ in range(2))
    decays = [0.9, 0.0, 0.999]
    for parameter in network.parameters():
        nn.init.normal_(parameter)

    update_emas(together, network, decays)
    for ema, decay in zip(alone, decays, strict=True):
        update_ema(ema, network, decay)

    for one, other in zip(together, alone, strict=True):
        assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize("sigma_rel", [0.001, 0.05, 0.1, 0.2, 0.288])
def test_the_exponent_has_the_width_it_was_asked_for(sigma_rel):
    gamma = exponent(sigma_rel)

    assert gamma > 0
    assert math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) == pytest.approx(sigma_rel, rel=1e-12)


@pytest.mark.parametrize("sigma_rel", [-0.1, 0.0, 0.2887, 1.0, math.inf, math.nan])
def test_a_width_that_no_rising_profile_has_is_refused(sigma_rel):
    with pytest.raises(ValueError, match=rf"sigma_rel={sigma_rel} is not between 0 and 0\.2887"):
        power_decay(sigma_rel, 0, 1)


def test_the_first_step_forgets_what_was_there_before():
    assert power_decay(0.1, 0, BATCH) == 0


def test_a_step_keeps_what_its_two_halves_keep():
    whole = power_decay(0.1, 300, 1000)

    assert whole == pytest.approx(power_decay(0.1, 300, 512) * power_decay(0.1, 512, 1000), rel=1e-12)


@pytest.mark.parametrize(("before", "after"), [(5, 5), (6, 5), (-1, 5)])
def test_what_is_not_a_step_is_refused(before, after):
    with pytest.raises(ValueError, match=f"images_before={before} and images_after={after} are not a step"):
        power_decay(0.1, before, after)


@pytest.mark.parametrize("sigma_rel", [0.02, 0.1, 0.25])
def test_a_weight_that_grows_with_training_has_the_mean_of_the_defining_integral(sigma_rel):
    network, steps = nn.Linear(1, 1, bias=False).double(), 20_000
    ema, gamma = deepcopy(network), exponent(sigma_rel)

    for step in range(1, steps + 1):
        nn.init.constant_(network.weight, step)
        update_ema(ema, network, power_decay(sigma_rel, (step - 1) * BATCH, step * BATCH))

    assert ema.weight.item() == pytest.approx(steps * (gamma + 1) / (gamma + 2), rel=1e-4)


def test_the_mean_depends_on_positions_and_not_on_the_batch_size():
    fine, coarse = (mean_of_steps(batch) for batch in (16, 128))

    torch.testing.assert_close(fine, coarse, rtol=1e-5, atol=1e-5)


def test_a_resumed_run_has_the_means_of_an_uninterrupted_one():
    straight, resumed = Walk(TRACKED), Walk(TRACKED)

    straight.go_to(40 * BATCH)
    resumed.go_to(17 * BATCH)
    saved = deepcopy((resumed.network.state_dict(), [ema.state_dict() for ema in resumed.emas], resumed.images_seen))
    resumed = Walk(TRACKED)
    resumed.load(*saved)
    resumed.go_to(40 * BATCH)

    for sigma_rel in TRACKED:
        assert torch.equal(resumed.mean(sigma_rel), straight.mean(sigma_rel))


@pytest.mark.parametrize("position", POSITIONS[7:])
@pytest.mark.parametrize("sigma_rel", [0.04, 0.07, 0.15])
def test_a_width_that_was_not_tracked_comes_out_as_if_it_had_been(walked, sigma_rel, position):
    weights, error = reconstruct(snapshots(walked), sigma_rel, position)

    assert 0 < error < 0.1
    assert distance(weights["weight"], walked[sigma_rel, position]) < 0.01


def test_eight_snapshots_of_each_width_will_do(walked):
    weights, error = reconstruct(snapshots(walked, positions=POSITIONS[1::2]), 0.07, LAST)

    assert error < 0.02
    assert distance(weights["weight"], walked[0.07, LAST]) < 0.01


def test_a_position_between_snapshots_is_put_together_from_both_sides(walked):
    sparse = snapshots(walked, positions=[*POSITIONS[:12], *POSITIONS[13:]])

    weights, error = reconstruct(sparse, 0.07, POSITIONS[12], worst_error=1)

    assert error > 0.1
    assert distance(weights["weight"], walked[0.07, POSITIONS[12]]) < 0.05


def test_a_tracked_width_at_a_snapshot_is_that_snapshot_and_loads_no_other(walked):
    loaded = []
    tracked = [counted(snapshot, loaded) for snapshot in snapshots(walked)]

    weights, error = reconstruct(tracked, 0.05, POSITIONS[9])

    assert torch.equal(weights["weight"], walked[0.05, POSITIONS[9]])
    assert (error, loaded) == (0, [(0.05, POSITIONS[9])])


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 0.001), (torch.bfloat16, 0.01)])
def test_snapshots_in_low_precision_give_float32_weights(walked, dtype, limit):
    weights, _ = reconstruct(snapshots(walked, dtype=dtype), 0.07, LAST)

    assert weights["weight"].dtype == torch.float32
    assert distance(weights["weight"], walked[0.07, LAST]) < limit


def test_snapshots_are_left_as_they_were():
    state = {"weight": torch.ones(3)}
    snapshot = Snapshot(images_seen=5, sigma_rel=0.1, load=lambda: state)

    weights, _ = reconstruct([snapshot], 0.1, 5)
    weights["weight"].zero_()

    assert torch.equal(state["weight"], torch.ones(3))


def test_weights_that_never_moved_come_out_as_they_are():
    still = [Snapshot(images_seen=p, sigma_rel=s, load=lambda: {"w": torch.ones(3)}) for p in (4, 9) for s in TRACKED]

    weights, error = reconstruct(still, 0.2, 9, worst_error=1)

    assert error > 0.1
    torch.testing.assert_close(weights["w"], torch.ones(3))


def test_the_error_is_the_part_of_the_profile_that_is_missing():
    tracked = [Snapshot(images_seen=p, sigma_rel=s, load=dict) for p in (400, 800, 1000) for s in TRACKED]
    centres = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100  # images, 0 to 1000
    wanted = profile(centres, 0.15, 800)

    weights, error = reconstruction_weights(tracked, 0.15, 800)

    found = sum(w * profile(centres, s.sigma_rel, s.images_seen) for w, s in zip(weights, tracked, strict=True))
    assert error == pytest.approx(float((found - wanted).norm() / wanted.norm()), rel=1e-3)


def test_no_other_weights_of_sum_1_have_a_smaller_error():
    tracked = [Snapshot(images_seen=p, sigma_rel=s, load=dict) for p in (400, 800, 1000) for s in TRACKED]
    centres = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10
    profiles = torch.stack([profile(centres, s.sigma_rel, s.images_seen) for s in tracked])

    weights, _ = reconstruction_weights(tracked, 0.15, 800)

    slope = profiles @ (torch.tensor(weights).double() @ profiles - profile(centres, 0.15, 800))
    assert sum(weights) == pytest.approx(1)
    torch.testing.assert_close(slope, slope.mean().expand(len(slope)), rtol=1e-3, atol=0)


def test_the_same_snapshot_twice_does_no_harm(walked):
    once = snapshots(walked)

    _, error = reconstruct(once, 0.07, LAST)
    weights, error_twice = reconstruct([*once, *once[-4:]], 0.07, LAST)

    assert error_twice == pytest.approx(error)
    assert distance(weights["weight"], walked[0.07, LAST]) < 0.01


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ((0.07, 0), "target_images=0 is not between 1 and the last snapshot's 1000"),
        ((0.07, 1001), "target_images=1001 is not between 1 and the last snapshot's 1000"),
        ((0.3, 1000), "sigma_rel=0.3 is not between 0 and 0.2887"),
        ((0.25, 1000), "target_sigma_rel=0.25 at target_images=1000 has an error of 1.038, above worst_error=0.1"),
    ],
)
def test_a_mean_that_the_snapshots_cannot_give_is_refused(target, message):
    tracked = [Snapshot(images_seen=1000, sigma_rel=sigma_rel, load=dict) for sigma_rel in TRACKED]

    with pytest.raises(ValueError) as refusal:
        reconstruct(tracked, *target)

    assert str(refusal.value).startswith(message)


def test_no_snapshots_are_refused():
    with pytest.raises(ValueError, match=r"snapshots=\[\] has nothing to put together"):
        reconstruct([], 0.1, 1000)


@pytest.mark.parametrize(
    "other", [{"v": torch.ones(2)}, {"w": torch.ones(1)}, {"w": torch.ones(2), "b": torch.ones(2)}]
)
def test_snapshots_of_different_networks_are_refused(other):
    states = [{"w": torch.ones(2)}, other]
    tracked = [Snapshot(images_seen=9, sigma_rel=s, load=lambda i=i: states[i]) for i, s in enumerate(TRACKED)]

    with pytest.raises(
        ValueError, match=r"the snapshot of sigma_rel=0\.1 at images_seen=9 differs from others in [bvw]"
    ):
        reconstruct(tracked, 0.07, 9, worst_error=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"images_seen": 0}, "images_seen=0 is below 1"), ({"sigma_rel": 0.5}, "sigma_rel=0.5 is not")],
)
def test_a_snapshot_without_a_profile_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Snapshot(**{"images_seen": 5, "sigma_rel": 0.1, "load": dict} | changed)


class Walk:
    """A network whose weights walk at random, by position alone, and its power means."""

    def __init__(self, sigma_rels: tuple[float, ...]):
        self.network = nn.Linear(64, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.sigma_rels, self.images_seen = sigma_rels, 0
        self.emas = [deepcopy(self.network).requires_grad_(False) for _ in sigma_rels]

    def go_to(self, position: int) -> None:
        for before, after in pairwise(range(self.images_seen, position + 1, BATCH)):
            step = torch.randn(1, 64, generator=torch.Generator().manual_seed(before))
            self.network.weight.data += 0.01 * step
            update_emas(self.emas, self.network, [power_decay(s, before, after) for s in self.sigma_rels])
        self.images_seen = position

    def load(self, network: dict, emas: list[dict], images_seen: int) -> None:
        self.network.load_state_dict(network)
        for ema, state in zip(self.emas, emas, strict=True):
            ema.load_state_dict(state)
        self.images_seen = images_seen

    def mean(self, sigma_rel: float) -> Tensor:
        return self.emas[self.sigma_rels.index(sigma_rel)].weight.clone()


@pytest.fixture(scope="module")
def walked() -> dict[tuple[float, int], Tensor]:
    """The means of one walk, some tracked and some to be reconstructed, by width and position."""
    walk, means = Walk((*TRACKED, 0.04, 0.07, 0.15)), {}
    for position in POSITIONS:
        walk.go_to(position)
        means |= {(sigma_rel, position): walk.mean(sigma_rel) for sigma_rel in walk.sigma_rels}
    return means


def snapshots(means, positions=POSITIONS, dtype=torch.float32) -> list[Snapshot]:
    return [
        Snapshot(images_seen=p, sigma_rel=s, load=lambda p=p, s=s: {"weight": means[s, p].to(dtype)})
        for p in positions
        for s in TRACKED
    ]


def counted(snapshot: Snapshot, loaded: list[tuple[float, int]]) -> Snapshot:
    def load():
        loaded.append((snapshot.sigma_rel, snapshot.images_seen))
        return snapshot.load()

    return Snapshot(images_seen=snapshot.images_seen, sigma_rel=snapshot.sigma_rel, load=load)


def mean_of_steps(batch: int) -> Tensor:
    """Of weights that change only every 128 images."""
    network = nn.Linear(4, 1, bias=False)
    ema = deepcopy(network)
    for before in range(0, 128 * 20, batch):
        nn.init.normal_(network.weight, generator=torch.Generator().manual_seed(before // 128))
        update_ema(ema, network, power_decay(0.1, before, before + batch))
    return ema.weight.detach()


def profile(u: Tensor, sigma_rel: float, end: int) -> Tensor:
    gamma = exponent(sigma_rel)
    return torch.where(u <= end, (gamma + 1) / end * (u / end) ** gamma, 0)


def distance(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())
