import pytest

from unlatent.models import cost
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.estimates import amount, duration, estimates, period
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.work import work_of
from unlatent.platform.provenance import now
from unlatent.platform.rates import Rate


@pytest.fixture
def execution(tmp_path):
    def make(name: str, *overrides: str) -> Execution:
        return Execution(load_pipeline(name), (f"store={tmp_path}/store", *overrides))

    return make


def work(execution: Execution, step: str):
    return work_of(execution, execution.pipeline.steps[step])


def gpu_rate(kind: str, gflops_per_s: float, forward_gflops: float) -> Rate:
    shared = {"device": "NVIDIA H100 80GB HBM3", "precision": "bf16", "measured_at": now()}
    return Rate(work=kind, gflops_per_s=gflops_per_s, forward_gflops=forward_gflops, **shared)


def test_the_recipe_costs_what_its_images_and_its_network_cost(execution):
    recipe = execution("imagenet256")

    assert amount(work(recipe, "train")) == "training, 409,600,000 images × 933 GFLOPs = 382 EFLOPs"
    forward = cost.forward_gflops(recipe.configs["train"].model)
    rows = 100 + 79  # guided at the 79 of 100 times that lie between 0.1 and 0.9
    assert work(recipe, "evaluate")[0].gflops == pytest.approx(50_000 * rows * forward)


def test_hours_follow_from_a_rate_and_the_number_of_gpus(execution):
    recipe = execution("imagenet256")
    [training] = work(recipe, "train")
    forward = cost.forward_gflops(training.config.model)
    rate = gpu_rate("training", 300 * training.gflops_each, forward)

    said = duration([training], [rate])

    hours = 409_600_000 / 300 / 3600
    assert said.startswith(f"{hours / 8:.3g} h ({hours:.0f} GPU hours) at 300 images/s on each of 8 GPUs; ")
    assert said.endswith("on NVIDIA H100 80GB HBM3, bf16, this network")
    assert duration([training], [gpu_rate("training", 1e5, 1.0)]).endswith("another network")


def test_a_rate_that_is_not_known_is_not_guessed(execution):
    assert "no rate of training on a GPU is known yet" in duration(work(execution("imagenet256"), "train"), [])


def test_a_sweep_is_the_sum_of_its_trials(execution):
    works = work(execution("quickstart"), "sweep")

    assert len(works) == 7 and len({each.gflops_each for each in works}) > 1
    assert amount(works).startswith("training of 7 trials, 112,000 images = ")


def test_steps_that_neither_train_nor_draw_have_no_estimate(execution):
    quickstart = execution("quickstart")
    works = {name: work(quickstart, name) for name in quickstart.pipeline.order()}

    lines = estimates(quickstart, works)

    assert [line.partition(":")[0] for line in lines if line[0] != " "] == ["sweep", "train", "evaluate"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "5 s"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (172_800, "2 days"), (3.2e8, "10.1 years")],
)
def test_periods_are_said_in_a_unit_that_fits(seconds, said):
    assert period(seconds) == said
