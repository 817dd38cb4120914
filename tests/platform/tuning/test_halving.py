from types import SimpleNamespace

import pytest

from unlatent.platform.tuning.budget import Measured
from unlatent.platform.tuning.decisions import Decisions
from unlatent.platform.tuning.halving import Halving
from unlatent.platform.tuning.results import Results

ASHA = "knobs: {train.learning_rate: [1.0e-4, 1.0e-3, 2.0e-3, 3.0e-3]}\nscheduler: asha\n"
IMAGES = ("train.total_images=800", "train.checkpoint_images=100", "train.batch_size=50")


@pytest.fixture
def sweep(plan):
    return plan(ASHA + "rung_images: 200\n", *IMAGES)


def scheduler_of(sweep) -> Halving:
    return Halving(sweep.definition, sweep.budget, Decisions(sweep))


def run_of(scheduler: Halving, letter: str) -> str:
    """The first trial is `a`, and so on."""
    return scheduler.decisions.sweep.trials["abcd".index(letter)].run_id


def tell(scheduler: Halving, letter: str, spent: float, value: float) -> str:
    trial = SimpleNamespace(trial_id="drawn by Tune", config={"trial": {"run_id": run_of(scheduler, letter)}})
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
    scheduler = scheduler_of(sweep)

    decisions = [tell(scheduler, name, 200, value) for name, value in [("a", 5.0), ("b", 7.0), ("c", 4.0), ("d", 6.0)]]

    assert decisions == ["CONTINUE", "STOP", "CONTINUE", "STOP"]
    assert scheduler.stopped[run_of(scheduler, "b")] == "fid 7 at 200 images, where the one before it had 5 or better"
    assert scheduler.stopped[run_of(scheduler, "d")] == (
        "fid 6 at 200 images, where the best 1 in 2 of the 3 trials before it had 5 or better"
    )


def test_more_is_better_where_the_metric_says_so(plan):
    sweep = plan(ASHA + "metric: class_agreement", *IMAGES)
    scheduler = scheduler_of(sweep)

    assert [tell(scheduler, name, 100, value) for name, value in [("a", 0.5), ("b", 0.4)]] == ["CONTINUE", "STOP"]
    assert "the one before it had 0.5 or better" in scheduler.stopped[run_of(scheduler, "b")]


def test_what_was_told_before_a_kill_decides_after_it(sweep, plan):
    told = [("a", 200, 5.0), ("b", 200, 3.0), ("a", 400, 4.0), ("c", 200, 3.5), ("d", 200, 3.2)]
    beside = plan(ASHA + "rung_images: 200\n", *IMAGES, f"store={sweep.store.root}-beside")
    undisturbed, before = scheduler_of(beside), scheduler_of(sweep)
    expected = [tell(undisturbed, *each) for each in told]
    decided = [tell(before, *each) for each in told[:3]]

    after = scheduler_of(sweep)
    for measured in before.heard:
        after.recall(measured)

    assert decided + [tell(after, *each) for each in told[3:]] == expected
    assert after.stopped == undisturbed.stopped


def test_what_was_decided_stays_though_it_is_recalled_in_another_order(sweep):
    before = scheduler_of(sweep)
    told = [("a", 200, 3.0), ("b", 200, 2.0), ("c", 200, 2.8)]  # a goes on, for it is the first
    decided = [tell(before, *each) for each in told]

    after = scheduler_of(sweep)
    for measured in reversed(before.heard):
        after.recall(measured)

    assert decided == ["CONTINUE", "CONTINUE", "STOP"]
    assert after.stopped == before.stopped and list(after.stopped) == [run_of(after, "c")]


def test_a_trial_that_comes_to_its_end_is_not_one_that_was_stopped(sweep):
    scheduler = scheduler_of(sweep)

    assert [tell(scheduler, "a", spent, 5.0) for spent in (200, 400, 800)] == ["CONTINUE"] * 3
    assert [tell(scheduler, "b", *each) for each in ((200, 1.0), (800, 9.0))] == ["CONTINUE"] * 2
    assert scheduler.stopped == {}


def test_a_trial_that_reports_a_rung_again_hears_the_same(sweep):
    scheduler = scheduler_of(sweep)
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
