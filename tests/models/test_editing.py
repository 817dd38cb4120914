"""FlowEdit, on networks of every kind and on flows whose ends are known."""

import pytest
import torch

from unlatent.models import SamplerConfig
from unlatent.models.editing import Edit, EditConfig, changed_region, edit, most_rows
from unlatent.models.queries import follow

NULL = 10


def task(source=1, target=2, mask=None, sampler=None, **settings):
    conditions = (torch.tensor([label]) for label in (source, target, NULL))
    return Edit(
        *conditions,
        EditConfig(**{"steps": 10, "n_max": 8, "source_guidance": 1.5, **settings}),
        sampler or SamplerConfig(),
        mask,
    )


def edited(network, image, task, seed=0, on_step=None):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return follow(network, edit(image, task, lambda: torch.randn(image.shape, generator=generator), on_step))


class TwoEnds:
    """The exact flow from noise to N(m, 0) for each label: label 1 is dark, 2 is light. Notes what it was shown."""

    means = torch.tensor([0.0, -0.5, 0.5] + [0.0] * 8)

    def __init__(self):
        self.calls = []

    def __call__(self, x, t, label):
        self.calls.append((sorted(set(t.tolist())), label.tolist()))
        return (self.means[label][:, None, None, None] - x) / (1 - t[:, None, None, None])


@pytest.mark.parametrize("n_avg", [1, 3])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_equal_conditions_give_back_the_image_bit_for_bit(config, make_network, make_inputs, n_avg, guidance):
    network = make_network(config)
    image, _, condition = make_inputs(config, 1)
    other = make_inputs(config, 1)[2]
    settings = EditConfig(steps=6, n_max=5, n_avg=n_avg, source_guidance=guidance, target_guidance=guidance)

    result = edited(network, image, Edit(condition, condition, other, settings, SamplerConfig()))

    assert torch.equal(result, image)


def test_an_image_moves_by_what_tells_the_target_from_the_source():
    image = torch.full((1, 1, 4, 4), -0.5)

    result = edited(TwoEnds(), image, task(1, 2, steps=20, n_max=20, source_guidance=1.0, target_guidance=1.0))

    torch.testing.assert_close(result, torch.full((1, 1, 4, 4), 0.5), atol=1e-4, rtol=0)


def test_what_the_image_has_of_its_own_is_carried_along():
    detail = torch.linspace(-0.1, 0.1, 16).reshape(1, 1, 4, 4)

    def drift(x, t, label):  # every image of a label moves by its mean: the rest is its own
        return TwoEnds.means[label][:, None, None, None].expand_as(x)

    result = edited(drift, detail - 0.5, task(1, 2, steps=10, n_max=10, source_guidance=1.0, target_guidance=1.0))

    torch.testing.assert_close(result, detail + 0.5)


@pytest.mark.parametrize(("n_max", "n_min", "asked"), [(10, 0, 10), (7, 0, 7), (7, 3, 7), (3, 3, 3), (0, 0, 0)])
def test_steps_with_more_than_n_max_left_are_skipped(n_max, n_min, asked):
    network, shown = TwoEnds(), []

    edited(network, torch.zeros(1, 1, 4, 4), task(n_max=n_max, n_min=n_min), on_step=lambda done, _: shown.append(done))

    assert [times for times, _ in network.calls] == [[pytest.approx(step / 10)] for step in range(10 - asked, 10)]
    assert shown == list(range(10 - asked + 1, 11))


def test_a_step_asks_for_target_and_source_with_and_without_their_condition_at_once():
    network = TwoEnds()

    edited(network, torch.zeros(1, 1, 4, 4), task(steps=2, n_max=1, n_avg=2))

    assert network.calls == [([0.5], [2, NULL, 1, NULL] * 2)]


def test_the_last_n_min_steps_draw_under_the_target_alone():
    network = TwoEnds()

    result = edited(network, torch.zeros(1, 1, 4, 4), task(n_max=5, n_min=2, source_guidance=1, target_guidance=1))

    assert [labels for _, labels in network.calls] == [[2, 1]] * 3 + [[2]] * 2
    torch.testing.assert_close(result, torch.full((1, 1, 4, 4), 0.5))


def test_rows_are_never_more_than_was_said():
    for settings in ({}, {"n_avg": 3}, {"source_guidance": 1.0}, {"n_min": 3, "target_guidance": 1.0}):
        network, this = TwoEnds(), task(**settings)

        edited(network, torch.zeros(1, 1, 4, 4), this)

        assert max(len(labels) for _, labels in network.calls) == most_rows(this.config, this.sampler)


@pytest.mark.parametrize("n_min", [0, 4])
def test_outside_a_mask_every_pixel_stays_what_it_was(make_config, make_network, n_min):
    network, image = make_network(make_config()), torch.randn(1, 3, 16, 16)
    mask = torch.zeros(1, 1, 16, 16)
    mask[:, :, 4:9, 5:12] = 1

    result = edited(network, image, task(mask=mask, n_min=n_min))

    assert torch.equal(result.where(mask == 0, 0), image.where(mask == 0, 0))
    assert (result != image)[mask.expand_as(image) == 1].float().mean() > 0.9


def test_noise_of_another_seed_gives_another_edit_and_the_same_seed_the_same(make_config, make_network):
    network, image = make_network(make_config()), torch.randn(1, 3, 16, 16)

    first, again, other = (edited(network, image, task(), seed) for seed in (1, 1, 2))

    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_changed_region_is_where_the_change_is_and_a_little_around_it():
    image = torch.zeros(2, 3, 16, 16)
    result = image + 0.02 * torch.randn(2, 3, 16, 16)
    result[0, :, 4:8, 5:12] += 1
    result[1, 0, 10:14, 2:6] -= 1  # of one channel alone

    region = changed_region(image, result)

    assert region.shape == (2, 1, 16, 16) and set(region.unique().tolist()) == {0, 1}
    assert region[0, 0, 4:8, 5:12].all() and region[1, 0, 10:14, 2:6].all()
    assert region[0].sum() <= 8 * 11 and region[1].sum() <= 8 * 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_max": 51}, "n_min=0, n_max=51 and steps=50 are out of order; 0 <= n_min <= n_max <= steps would do"),
        ({"n_min": 34}, "n_min=34, n_max=33 and steps=50 are out of order; 0 <= n_min <= n_max <= steps would do"),
        ({"n_avg": 0}, "n_avg=0 is below 1; 1 or more would do"),
        ({"target_guidance": -1}, "target_guidance=-1 is not a finite number of 0 or more; 1 means none"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(settings, message):
    with pytest.raises(ValueError) as refusal:
        EditConfig(**settings)

    assert str(refusal.value) == message
