import pytest
import torch

from unlatent.models import flow


def test_the_flow_begins_at_noise_and_ends_at_data():
    data, noise = torch.randn(2, 3, 3, 8, 8)

    assert torch.equal(flow.interpolate(data, noise, torch.zeros(3)), noise)
    assert torch.equal(flow.interpolate(data, noise, torch.ones(3)), data)


def test_every_row_has_its_own_time():
    data, noise = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)

    mixed = flow.interpolate(data, noise, torch.tensor([0.25, 0.75]))

    torch.testing.assert_close(mixed[:, 0, 0, 0], torch.tensor([0.25, 0.75]))


def test_the_true_velocity_has_no_loss():
    data, noise = torch.randn(2, 4, 3, 8, 8)

    loss = flow.loss(data - noise, data, noise)

    assert torch.equal(loss, torch.zeros(4))


def test_the_loss_is_a_mean_square_per_image():
    data, noise = torch.randn(2, 4, 3, 8, 8)
    off = torch.tensor([0.0, 1.0, 2.0, 3.0])

    loss = flow.loss(data - noise + off[:, None, None, None], data, noise)

    torch.testing.assert_close(loss, off.square())


@pytest.mark.parametrize(("mean", "shift", "median"), [(0.0, 1.0, 0.5), (1.0, 1.0, 0.7311), (0.0, 3.0, 0.25)])
def test_training_times_are_logit_normal_then_shifted(mean, shift, median):
    t = flow.sample_times(20_001, torch.Generator().manual_seed(0), shift, mean, std=1.0)

    assert t.min() > 0
    assert t.max() < 1
    assert t.median().item() == pytest.approx(median, abs=0.01)


def test_training_times_follow_their_generator():
    def draw(seed):
        return flow.sample_times(5, torch.Generator().manual_seed(seed), 1.0, 0.0, 1.0)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_shifting_moves_towards_noise_and_leaves_the_ends():
    assert [flow.shift_time(t, 3.0) for t in (0.0, 0.5, 1.0)] == [0.0, 0.25, 1.0]
    assert flow.shift_time(torch.tensor(0.75), 3.0).item() == 0.5
    assert all(flow.shift_time(k / 100, 1.0) == k / 100 for k in range(101))  # 1 changes nothing, not even a bit
