"""What the benchmark measures is what it says, and the networks that it compares are one network."""

import json

import pytest
import torch

from benchmarks.contenders import OURS, make_contenders
from benchmarks.measure import compare_outputs, make_batch
from benchmarks.memory import kept_bytes, step_memory
from benchmarks.model import main, make_config, parser
from benchmarks.report import Agreement, Footprint, Report, Timing
from benchmarks.timing import Spread, interleaved, time_steps
from unlatent.models import PixelTransformerConfig
from unlatent.models.cost import parameters

CPU = torch.device("cpu")
SIZES = {"image_size": 16, "patch_size": 4, "width": 32, "heads": 2, "patch_depth": 2, "pixel_depth": 2}
TINY = [word for name, value in SIZES.items() for word in (f"--{name.replace('_', '-')}", str(value))]
SHORT = ["--batch", "2", "--sample-images", "2", "--sample-steps", "3", "--rounds", "2", "--steps", "1"]


@pytest.fixture(autouse=True)
def repeatable():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def contenders():
    return make_contenders(PixelTransformerConfig(**SIZES), CPU, torch.float32, "none", None)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str)
def test_contenders_say_the_same(contenders, dtype, largest):
    batch = make_batch(PixelTransformerConfig(**SIZES), 2, CPU)

    [agreement] = compare_outputs(contenders, batch, dtype)

    assert agreement.holds
    assert agreement.difference < largest


def test_a_contender_that_says_something_else_is_found_out(contenders):
    with torch.no_grad():
        contenders[1].network.final_layer.linear.bias.add_(0.01)

    [agreement] = compare_outputs(contenders, make_batch(PixelTransformerConfig(**SIZES), 2, CPU), torch.float32)

    assert not agreement.holds
    assert agreement.difference == pytest.approx(0.01, rel=1e-3)


def test_every_contender_learns_from_its_steps(contenders):
    batch = make_batch(PixelTransformerConfig(**SIZES), 4, CPU)

    for contender in contenders:
        contender.begin_training()
        before = [weight.clone() for weight in contender.ema.parameters()]
        losses = [float(contender.step(batch, lambda: None)[0]) for _ in range(5)]

        assert losses[-1] < losses[0]
        assert any((old != new).any() for old, new in zip(before, contender.ema.parameters(), strict=True))


def test_the_kernels_of_a_step_are_told_from_the_longest_on(tmp_path, capsys):
    file = tmp_path / "measured.json"

    status = main([*TINY, *SHORT, "--only", "kernels", "--shown", "4", "--json", str(file)])

    work, text = json.loads(file.read_text())["work"], capsys.readouterr().out
    assert status == 0
    assert [each["contender"] for each in work] == [OURS, "plain"]
    for each in work:
        seconds = [kernel["seconds"] for kernel in each["longest"]]
        assert len(seconds) == 4 and seconds == sorted(seconds, reverse=True)
        assert sum(seconds) < each["busy"] and each["launched"] > 1000
        assert f"{each['contender']}: {each['launched']:,.0f} kernels a training step" in text
    assert any(kernel["name"] == "aten::mm" for kernel in work[0]["longest"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_command_measures_everything(tmp_path, capsys, precision):
    file = tmp_path / "measured.json"

    status = main([*TINY, *SHORT, "--precision", precision, "--json", str(file)])

    measured, text = json.loads(file.read_text()), capsys.readouterr().out
    assert status == 0
    assert measured["same"] is True
    assert set(measured["ratios"]) == {
        "sampling",
        "training step",
        "of it forward and backward",
        "peak memory",
    }
    for what, ratios in measured["ratios"].items():
        assert ratios["plain"] > 0
        assert what in text
    for lines in measured["timings"].values():
        assert [line["contender"] for line in lines] == [OURS, "plain"]
        assert all(0 < line["seconds"]["lowest"] <= line["seconds"]["highest"] for line in lines)


def test_one_measure_alone(capsys):
    assert main([*TINY, *SHORT, "--only", "memory"]) == 0

    text = capsys.readouterr().out
    assert "peak memory" in text
    assert "sampling   " in text  # the setting
    assert "median" not in text


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--patch-size", "5"], "patch_size=5 does not divide image_size=16"),
        (["--rounds", "0"], "--rounds 0 is below 1"),
        (["--published", "/nowhere"], "published=/nowhere has no pixdit_core/pixeldit_c2i.py"),
    ],
)
def test_what_cannot_work_is_one_line(capsys, words, complaint):
    with pytest.raises(SystemExit) as stopped:
        main([*TINY, *words])

    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_turns_are_taken_round_by_round():
    order = []

    found = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)

    assert order == ["a", "b", "a", "b"]
    assert len(found["a"].found) == len(found["b"].found) == 2
    assert found["a"].graphs == 0


def test_one_step_of_a_turn_is_not_timed():
    calls = []

    def step(after_backward):
        after_backward()
        calls.append(step)

    time = time_steps(step, 3, CPU)

    assert len(calls) == 4
    assert 0 <= time.forward_backward <= time.whole


def test_memory_is_what_is_held_at_once():
    state = torch.ones(1 << 20)

    def step():
        first = state * 2
        second = first + 1
        del first
        return second + 1

    memory = step_memory(step, [state, state.view(2, -1)], CPU)

    assert memory.state == 4 << 20
    assert memory.step == pytest.approx(8 << 20, rel=0.01)
    assert memory.peak == memory.state + memory.step


def test_kept_is_what_the_backward_pass_needs():
    weight = torch.ones(1000, requires_grad=True)

    kept = kept_bytes(lambda: (weight.exp() * weight).sum(), [weight])

    assert kept == 4000  # the exponential, once though two operations keep it; the weight is there anyway


def test_ratios_are_ours_over_the_baselines():
    lines = [
        Timing(contender=name, seconds=Spread(seconds, seconds, seconds), flops=1.0)
        for name, seconds in {OURS: 1.0, "plain": 2.0, "published": 4.0}.items()
    ]
    footprints = [Footprint(contender=name, peak=peak, state=1) for name, peak in {OURS: 3, "plain": 4}.items()]

    report = Report({}, 1.0, timings={"training step": lines}, footprints=footprints)

    assert report.ratios() == {"training step": {"plain": 0.5, "published": 0.25}, "peak memory": {"plain": 0.75}}


@pytest.mark.parametrize(("difference", "same"), [(0.9, True), (1.1, False)])
def test_a_report_is_of_one_network_if_all_differences_are_within_limits(difference, same):
    lines = [Agreement(what="output", baseline="plain", difference=difference, limit=1.0)]

    assert Report({}, 1.0, agreements=lines).same is same


@pytest.mark.parametrize(("preset", "millions"), [("b", 184.7), ("l", 569.6), ("xl", 797.4)])
def test_presets_have_the_papers_sizes(preset, millions):
    config = make_config(parser().parse_args(["--preset", preset]))

    assert parameters(config) / 1e6 == pytest.approx(millions, abs=0.05)
