import math
from itertools import pairwise

import pytest
import torch

from unlatent.models import SamplerConfig, Text, TextConfig, sample
from unlatent.models.queries import answer
from unlatent.models.samplers import STEPS, Point, dpmpp_2m, euler

NULL = 10
LABELS = torch.tensor([3, 7])
EVERY_SAMPLER = pytest.mark.parametrize("name", STEPS)
MEAN, STD = 0.5, 0.3  # of the data that the Gaussian flow leads to


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
    return noise, sample(network, noise, LABELS, SamplerConfig(**settings), torch.full_like(LABELS, NULL), on_step)


def gaussian_velocity(x, t, label=None):
    """Of the flow from N(0, 1) to N(MEAN, STD^2), at times (B,)."""
    t = t[:, None, None, None]
    variance = (t * STD) ** 2 + (1 - t) ** 2
    return MEAN + (t * STD**2 - (1 - t)) / variance * (x - t * MEAN)


def gaussian_end(x, t, t_end):
    """Where that flow takes `x` from `t` to `t_end`: as many standard deviations from the mean as before."""
    std, std_end = (math.hypot(at * STD, 1 - at) for at in (t, t_end))
    return t_end * MEAN + std_end / std * (x - t * MEAN)


def line():
    return torch.linspace(-2, 2, 16, dtype=torch.float64).reshape(1, 1, 4, 4)


def uneven_times(steps):
    """From 0.2 to 0.9, every second step twice as long as the one before it."""
    lengths = [1 + step % 2 for step in range(steps)]
    return [0.2 + 0.7 * sum(lengths[:step]) / sum(lengths) for step in range(steps + 1)]


@EVERY_SAMPLER
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_straight_flow_ends_at_its_data(name, shift):
    start = SamplerConfig(name=name, steps=7, shift=shift).times()[0]

    noise, image = draw(lambda x, t, label: torch.full_like(x, 2.0), name=name, steps=7, shift=shift)

    torch.testing.assert_close(image, noise + (1 - start) * 2)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ab2", 2), ("heun", 2)])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_twice_the_steps_divide_the_error_by_two_to_the_order(name, order, shift):
    def error(steps):
        image = sample(gaussian_velocity, line(), LABELS, SamplerConfig(name=name, steps=steps, shift=shift))
        return (image - gaussian_end(line(), 0, 1)).abs().max().item()

    few, more, most = error(80), error(160), error(320)

    assert math.log2(few / more) == pytest.approx(order, abs=0.1)
    assert math.log2(more / most) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_dpmpp_2m_is_of_second_order_but_for_a_logarithm(shift):
    def error(steps):
        settings = SamplerConfig(name="dpmpp_2m", steps=steps, shift=shift)
        image = sample(gaussian_velocity, line(), LABELS, settings)
        return (image - gaussian_end(line(), settings.times()[0], 1)).abs().max().item()

    few, more, most = error(500), error(1000), error(2000)

    assert 1.6 < math.log2(few / more) < math.log2(more / most) < 2


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ab2", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_steps_in_turn_short_and_long_cost_only_ab2_an_order(name, order):
    def error(steps):
        x, before, settings = line(), None, SamplerConfig(name=name)
        for t, t_next in pairwise(uneven_times(steps)):
            for at, update in settings.updates(t, t_next):
                now = Point(at, x, gaussian_velocity(x, x.new_tensor([at])))
                x, before = update(now, before, t_next), now
        return (x - gaussian_end(line(), 0.2, 0.9)).abs().max().item()

    assert math.log2(error(160) / error(320)) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "published"),
    [
        ({"steps": 10, "shift": 3.0}, [-1.0797484, 0.1236118, 0.7719033, 1.4260728]),
        ({"steps": 20, "shift": 3.0, "guidance": 4.5}, [-0.3842804, -0.3437483, -0.3083141, -0.2531799]),
        ({"steps": 25, "shift": 4.0, "guidance": 4.5}, [-0.3830988, -0.3435057, -0.3088998, -0.2550503]),
        ({"steps": 50, "shift": 4.0, "guidance": 2.75}, [-0.4261721, -0.2135722, -0.0468545, 0.1955216]),
    ],
)
def test_dpmpp_2m_ends_where_the_published_solver_of_text_networks_does(settings, published):
    def network(x, t, label):
        shown = (label != NULL).to(x)[:, None, None, None]
        return torch.cos(x + shown) + t[:, None, None, None] * x

    noise = torch.tensor([-1.5, -0.5, 0.5, 1.5], dtype=torch.float64).reshape(1, 1, 2, 2)
    settings = SamplerConfig(name="dpmpp_2m", guidance_low=0.0, **settings)

    image = sample(network, noise, torch.tensor([3]), settings, torch.tensor([NULL]))

    assert image.flatten().tolist() == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize(
    ("t_before", "t_next"), [(None, 0.5), (0.2, 1.0), (0.0, 0.5)], ids=["first step", "last step", "after pure noise"]
)
def test_dpmpp_2m_steps_like_euler_where_the_log_snr_has_no_line(t_before, t_next):
    x, earlier, velocity, earlier_velocity = torch.randn(4, 1, 1, 2, 2, dtype=torch.float64)
    now = Point(0.3, x, velocity)
    before = None if t_before is None else Point(t_before, earlier, earlier_velocity)

    torch.testing.assert_close(dpmpp_2m(now, before, t_next), euler(now, None, t_next))


def test_dpmpp_2m_starts_just_above_pure_noise_and_all_others_at_it():
    starts = {name: SamplerConfig(name=name, shift=3.0).times()[0] for name in STEPS}

    assert starts.pop("dpmpp_2m") == pytest.approx(1 / 2998)  # what a shift of 3 makes of 1/1000
    assert set(starts.values()) == {0.0}


@EVERY_SAMPLER
@pytest.mark.parametrize("steps", [1, 2, 49, 100])
def test_the_last_step_ends_at_the_data(name, steps):
    times = SamplerConfig(name=name, steps=steps, shift=3.0).times()

    assert len(times) == steps + 1
    assert times == sorted(set(times))
    assert times[-1] == 1


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


def test_dpmpp_2m_is_guided_from_its_first_step_on():
    network = Recorder()

    draw(network, name="dpmpp_2m", steps=4, guidance=3.0, guidance_low=0.0)

    assert network.guided_times == [0.001, 0.25075, 0.5005, 0.75025]


def test_guidance_goes_beyond_the_class():
    noise, image = draw(Recorder(), name="euler", steps=4, guidance=3.0, guidance_low=0.4, guidance_high=0.6)

    torch.testing.assert_close(image, noise + (1 + 1 + 3 + 1) / 4)


@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize("avoided", [1, 3, 5])
def test_guidance_is_between_the_two_texts_as_each_is_read_alone(make_config, make_network, mask_padding, avoided):
    text = TextConfig(width=12, tokens=5, mask_padding=mask_padding)
    network = make_network(make_config(condition="text", text=text))
    x, wanted, other = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 12), torch.randn(2, avoided, 12)
    t, settings = torch.full((2,), 0.5), SamplerConfig(guidance=3.0)

    guided = settings.velocity(answer(network, settings.queries(x, 0.5, Text(wanted), Text(other)), "fp32"))

    towards, away = network(x, t, Text(wanted)), network(x, t, Text(other))
    torch.testing.assert_close(guided, away + 3 * (towards - away), rtol=1e-4, atol=1e-5)


def test_guidance_with_nothing_to_guide_away_from_is_refused():
    with pytest.raises(ValueError) as refusal:
        sample(Recorder(), torch.zeros(2, 1, 4, 4), LABELS, SamplerConfig(guidance=3.0))

    assert str(refusal.value) == "guidance=3.0 needs an unconditional condition; guidance=1 does without"


@pytest.mark.parametrize("settings", [{}, {"guidance": 3.0, "guidance_low": 0.5, "guidance_high": 0.5}])
def test_without_a_guided_step_there_need_be_no_unconditional_condition(settings):
    network = Recorder()

    sample(network, torch.zeros(2, 1, 4, 4), LABELS, SamplerConfig(steps=4, **settings))

    assert {tuple(label) for _, label in network.calls} == {(3, 7)}


@EVERY_SAMPLER
def test_no_network_is_asked_about_the_end(name):
    network = Recorder()

    draw(network, name=name, steps=4)

    assert max(t for t, _ in network.calls) == pytest.approx(0.75, abs=1e-3)


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

    def show(done, point):
        shown[done] = point.data

    _, image = draw(lambda x, t, label: (1 - x) * t[:, None, None, None], show, name=name, steps=6)

    assert list(shown) == [1, 2, 3, 4, 5, 6]
    assert torch.equal(shown[6], image)


@EVERY_SAMPLER
def test_the_estimate_of_a_straight_flow_is_right_from_the_first_step(name):
    shown = []

    def show(done, point):
        shown.append(point.data)

    _, image = draw(lambda x, t, label: torch.ones_like(x), show, name=name, steps=4)

    for estimate in shown:
        torch.testing.assert_close(estimate, image)


@EVERY_SAMPLER
@pytest.mark.parametrize("prediction", ["velocity", "data"])
def test_an_image_does_not_depend_on_its_batch_mates(make_config, make_network, prediction, name):
    network = make_network(make_config(prediction=prediction))
    noise, label = torch.randn(8, 3, 16, 16), torch.arange(8)
    settings = SamplerConfig(name=name, steps=4, guidance=2.0)

    together = sample(network, noise, label, settings, network.unconditional(len(label)))
    alone = sample(network, noise[3:4], label[3:4], settings, network.unconditional(1))

    assert (alone - together[3:4]).abs().max() < 1e-5


@EVERY_SAMPLER
def test_bf16_is_the_network_s_alone_and_the_way_is_float32(make_config, make_network, name):
    network, inside = make_network(make_config()), []
    network.decoder.register_forward_hook(lambda module, given, output: inside.append(output.dtype))
    noise, label = torch.randn(4, 3, 16, 16), torch.arange(4)

    exact, half = (
        sample(network, noise, label, SamplerConfig(name=name, steps=8, precision=precision))
        for precision in ("fp32", "bf16")
    )

    assert set(inside) == {torch.float32, torch.bfloat16}
    assert half.dtype == torch.float32
    assert 0 < (half - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "fp8"}, "precision='fp8' is not known; fp32 or bf16 would do"),
        ({"name": "ddim"}, "name='ddim' is not a sampler; ab2, dpmpp_2m, euler or heun would do"),
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
