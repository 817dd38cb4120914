from types import SimpleNamespace

import pytest

from unlatent.platform.tuning.budget import Measured
from unlatent.platform.tuning.halving import Halving
from unlatent.platform.tuning.results import Results

ASHA = "knobs: {train.learning_rate: [1.0e-4, 1.0e-3, 2.0e-3, 3.0e-3]}\nscheduler: asha\n"
IMAGES = ("train.total_images=800", "train.checkpoint_images=100", "train.batch_size=50")


@pytest.fixture
def sweep(plan):
    return plan(ASHA + "rung_images: 200\n", *IMAGES)


def tune_trial(run_id: str) -> SimpleNamespace:
    return SimpleNamespace(trial_id="drawn by Tune", config={"trial": {"run_id": run_id}})


def tell(scheduler: Halving, run_id: str, spent: float, value: float) -> str:
    trial = tune_trial(run_id)
    scheduler.on_trial_add(None, trial)
    return scheduler.on_trial_result(None, trial, {"spent": spent, scheduler.definition.metric: value})


def test_trials_are_compared_at_rungs_and_at_the_end_alone(sweep):
    train, budget = sweep.trials[0].run.config.train, sweep.budget

    assert budget.rungs == (200, 400)
    assert [budget.spent(train, images) for images in (100, 200, 300, 400, 600, 800)] == [
        None, 200, None, 400, None, 800,
    ]  # fmt: skip


def test_under_a_budget_of_computation_a_rung_is_at_the_same_gflops_for_every_trial(plan):
    sweep = plan(
        "knobs: {model.patch_size: [1, 2, 4]}\nscheduler: asha\ntotal_gflops: 400\nrung_gflops: 100",
        "train.batch_size=8",
    )

    for trial in sweep.trials:
        train = trial.run.config.train
        first, last = train.checkpoint_images, train.total_images
        assert [sweep.budget.spent(train, images) for images in (first, 2 * first, last)] == [100, 200, 400]
        assert sweep.budget.spent(train, 3 * first) is None


def test_the_worse_are_stopped_and_it_is_said_by_what(sweep):
    scheduler = Halving(sweep.definition, sweep.budget)

    decisions = [tell(scheduler, name, 200, value) for name, value in [("a", 5.0), ("b", 7.0), ("c", 4.0), ("d", 6.0)]]

    assert decisions == ["CONTINUE", "STOP", "CONTINUE", "STOP"]
    assert scheduler.stopped["b"] == "fid 7 at 200 images, where the one before it had 5 or better"
    assert scheduler.stopped["d"] == (
        "fid 6 at 200 images, where the best 1 in 2 of the 3 trials before it had 5 or better"
    )


def test_more_is_better_where_the_metric_says_so(plan):
    sweep = plan(ASHA + "metric: class_agreement", *IMAGES)
    scheduler = Halving(sweep.definition, sweep.budget)

    assert [tell(scheduler, name, 100, value) for name, value in [("a", 0.5), ("b", 0.4)]] == ["CONTINUE", "STOP"]
    assert "the one before it had 0.5 or better" in scheduler.stopped["b"]


def test_what_was_told_before_a_kill_decides_after_it(sweep):
    told = [("a", 200, 5.0), ("b", 200, 3.0), ("a", 400, 4.0), ("c", 200, 3.5), ("d", 200, 3.2)]
    undisturbed, before = Halving(sweep.definition, sweep.budget), Halving(sweep.definition, sweep.budget)
    expected = [tell(undisturbed, *each) for each in told]
    decided = [tell(before, *each) for each in told[:3]]

    after = Halving(sweep.definition, sweep.budget)
    for measured in before.heard:
        after.recall(measured)

    assert decided + [tell(after, *each) for each in told[3:]] == expected
    assert after.stopped == undisturbed.stopped


def test_a_trial_that_comes_to_its_end_is_not_one_that_was_stopped(sweep):
    scheduler = Halving(sweep.definition, sweep.budget)

    assert [tell(scheduler, "a", spent, 5.0) for spent in (200, 400, 800)] == ["CONTINUE", "CONTINUE", "STOP"]
    assert tell(scheduler, "b", 200, 1.0) == "CONTINUE" and tell(scheduler, "b", 800, 9.0) == "STOP"
    assert scheduler.stopped == {}


def test_a_trial_that_reports_a_rung_again_hears_the_same(sweep):
    scheduler = Halving(sweep.definition, sweep.budget)
    told = [("a", 200, 3.0), ("b", 200, 5.0)]

    first = [tell(scheduler, *each) for each in told]

    assert [tell(scheduler, *each) for each in told] == first == ["CONTINUE", "STOP"]
    assert len(scheduler.heard) == 2


def test_what_the_tables_hold_is_recalled_in_the_order_of_time(sweep, record):
    for trial, value in zip(sweep.trials[:3], [5.0, 3.0, 4.0], strict=True):
        record(sweep, trial, "running", {100: 9.9, 200: value})
    results = Results(sweep)

    results.recall()

    assert results.heard == [
        Measured(trial.run_id, 200, value) for trial, value in zip(sweep.trials[:3], [5.0, 3.0, 4.0], strict=True)
    ]
