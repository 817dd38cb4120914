import math

import pytest
import torch

from unlatent.models import SamplerConfig, sample

NULL = 10
LABELS = torch.tensor([3, 7])
EVERY_SAMPLER = pytest.mark.parametrize("name", ["ab2", "euler", "heun"])


class Recorder:
    """A network that says how strongly it was asked for a class, and notes what it was shown."""

    def __init__(self):
        self.calls: list[tuple[float, list[int]]] = []

    def __call__(self, x, t, label):
        assert len(t.unique()) == 1
        self.calls.append((t[0].item(), label.tolist()))
        return (label != NULL).float()[:, None, None, None].expand_as(x)

    @property
    def guided_times(self):
        return [round(t, 6) for t, label in self.calls if NULL in label]


def draw(network, on_step=None, **settings):
    noise = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return noise, sample(network, noise, LABELS, SamplerConfig(**settings), NULL, on_step)


@EVERY_SAMPLER
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_straight_flow_ends_at_its_data(name, shift):
    noise, image = draw(lambda x, t, label: torch.full_like(x, 2.0), name=name, steps=7, shift=shift)

    torch.testing.assert_close(image, noise + 2)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ab2", 2), ("heun", 2)])
def test_twice_the_steps_divide_the_error_by_two_to_the_order(name, order):
    def error(steps):
        noise, image = draw(lambda x, t, label: x, name=name, steps=steps)  # grows by a factor of e
        return (image.double() - math.e * noise.double()).abs().max().item()

    assert math.log2(error(20) / error(40)) == pytest.approx(order, abs=0.2)


@EVERY_SAMPLER
def test_without_guidance_no_unconditional_row_is_made(name):
    network = Recorder()

    draw(network, name=name, steps=5, guidance=1.0, guidance_low=0.0)

    assert {tuple(label) for _, label in network.calls} == {(3, 7)}


def test_guidance_holds_strictly_inside_its_interval():
    network = Recorder()

    draw(network, name="euler", steps=10, guidance=3.0, guidance_low=0.1, guidance_high=0.5)

    assert network.guided_times == [0.2, 0.3, 0.4]
    assert len(network.calls) == 10
    assert network.calls[2][1] == [3, 7, NULL, NULL]


def test_time_zero_is_outside_any_interval():
    network = Recorder()

    draw(network, steps=4, guidance=3.0, guidance_low=0.0)

    assert network.guided_times == [0.25, 0.5, 0.75]


def test_guidance_goes_beyond_the_class():
    noise, image = draw(Recorder(), name="euler", steps=4, guidance=3.0, guidance_low=0.4, guidance_high=0.6)

    torch.testing.assert_close(image, noise + (1 + 1 + 3 + 1) / 4)


@EVERY_SAMPLER
def test_no_network_is_asked_about_the_end(name):
    network = Recorder()

    draw(network, name=name, steps=4)

    assert max(t for t, _ in network.calls) == 0.75


@EVERY_SAMPLER
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_network_evaluations_are_the_rows_that_the_network_sees(name, guidance):
    network, settings = Recorder(), {"name": name, "steps": 10, "guidance": guidance, "shift": 2.0}

    draw(network, **settings)

    rows = sum(len(label) for _, label in network.calls)
    assert SamplerConfig(**settings).network_evaluations() == rows / len(LABELS)


@EVERY_SAMPLER
def test_every_step_is_shown_and_the_last_is_the_result(name):
    shown = {}

    _, image = draw(lambda x, t, label: (1 - x) * t[:, None, None, None], shown.__setitem__, name=name, steps=6)

    assert list(shown) == [1, 2, 3, 4, 5, 6]
    assert torch.equal(shown[6], image)


@EVERY_SAMPLER
def test_the_estimate_of_a_straight_flow_is_right_from_the_first_step(name):
    shown = []

    _, image = draw(lambda x, t, label: torch.ones_like(x), lambda _, x: shown.append(x), name=name, steps=4)

    for estimate in shown:
        torch.testing.assert_close(estimate, image)


@pytest.mark.parametrize("prediction", ["velocity", "data"])
def test_an_image_does_not_depend_on_its_batch_mates(make_config, make_network, prediction):
    network = make_network(make_config(prediction=prediction))
    noise, label = torch.randn(8, 3, 16, 16), torch.arange(8)
    settings = SamplerConfig(steps=4, guidance=2.0)

    together = sample(network, noise, label, settings, network.null_label)
    alone = sample(network, noise[3:4], label[3:4], settings, network.null_label)

    assert (alone - together[3:4]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "ddim"}, "name='ddim' is not a sampler; ab2, euler or heun would do"),
        ({"steps": 0}, "steps=0 is below 1; 1 or more would do"),
        ({"guidance": -1.0}, "guidance=-1.0 is not a finite number of 0 or more; 1 means none"),
        ({"guidance": math.nan}, "guidance=nan is not a finite number of 0 or more; 1 means none"),
        ({"shift": 0.0}, "shift=0.0 is not a finite number above 0; 1 means none"),
        (
            {"guidance_low": 0.9, "guidance_high": 0.2},
            "guidance_low=0.9 and guidance_high=0.2 are not an interval; "
            "0 <= guidance_low <= guidance_high <= 1 would do",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(settings, message):
    with pytest.raises(ValueError) as refusal:
        SamplerConfig(**settings)

    assert str(refusal.value) == message
