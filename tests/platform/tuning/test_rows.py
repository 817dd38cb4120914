import threading
import time
from datetime import UTC, datetime

import psutil
import pytest

from unlatent.platform import tables
from unlatent.platform.provenance import process
from unlatent.platform.tuning.definition import definition_text, refuse_changed_definition
from unlatent.platform.tuning.results import Results
from unlatent.platform.tuning.rows import begin, finish, point_rows, settle, trial_rows

WINDOWS = "knobs: {model.patch_size: [2, 4], model.compaction.window: [1, 2, 4]}\n"


@pytest.fixture
def ended(plan, record):
    """A sweep whose trials have ended in several ways, and what is known of it."""
    sweep = plan(WINDOWS, "train.total_images=1000")
    states = ["succeeded", "succeeded", "failed", "running", "running"]
    for trial, status, value in zip(sweep.trials, states, [9.0, 4.0, 1.0, 2.0, 3.0], strict=True):
        record(sweep, trial, status, {1000: value}, error="it broke" if status == "failed" else None)
    return sweep


def known(sweep) -> Results:
    results = Results(sweep)
    results.recall()
    return results


def test_the_best_is_chosen_among_trials_that_came_to_their_end(store, ended):
    results, row = known(ended), begin(ended)
    settle(results, {ended.trials[3].run_id: "its process died"}, {ended.trials[4].run_id: "too slow"})

    best = finish(results, row, 1.5)

    assert best == ended.trials[1]
    written = tables.row(store, "sweeps", "mine")
    assert (written["best_run_id"], written["best_value"], written["best_deviation"]) == (best.run_id, 4.0, None)
    assert (written["succeeded"], written["failed"], written["stopped_early"]) == (2, 2, 1)
    assert "it broke" in written["error"] and "its process died" in written["error"]
    assert tables.row(store, "runs", ended.trials[4].run_id)["stopped_because"] == "too slow"


def test_a_trial_that_failed_before_it_had_a_row_is_given_one(store, plan):
    sweep = plan(WINDOWS)
    results = known(sweep)

    settle(results, {sweep.trials[0].run_id: "OSError: no such disk"}, {})

    row = tables.row(store, "runs", sweep.trials[0].run_id)
    assert (row["status"], row["error"], row["sweep"]) == ("failed", "OSError: no such disk", "mine")


def test_the_best_point_has_the_best_mean_and_the_deviation_is_said(store, plan, record):
    sweep = plan("knobs: {model.patch_size: [2, 4]}\nseeds: 3", "train.total_images=1000")
    for trial, value in zip(sweep.trials, [1.0, 9.0, 8.0, 4.0, 5.0, 6.0], strict=True):
        record(sweep, trial, "succeeded", {1000: value})

    best = finish(known(sweep), begin(sweep), 1.0)

    row = tables.row(store, "sweeps", "mine")
    assert (row["best_value"], row["best_deviation"], row["seeds"]) == (5.0, 1.0, 3)
    assert (row["best_point"], row["best_run_id"]) == (sweep.trials[3].run.point, sweep.trials[3].run_id)
    assert best.knobs == {"model.patch_size": 4}
    assert [text["fid"] for text in point_rows(known(sweep))] == ["5.000", "6.000"]


def test_a_point_with_a_seed_that_failed_does_not_win(store, plan, record):
    sweep = plan("knobs: {model.patch_size: [2, 4]}\nseeds: 2", "train.total_images=1000")
    for trial, value in zip(sweep.trials, [1.0, None, 4.0, 5.0], strict=True):
        record(sweep, trial, "succeeded" if value else "failed", {1000: value} if value else {})

    assert finish(known(sweep), begin(sweep), 1.0).knobs == {"model.patch_size": 4}


def test_values_measured_in_another_way_are_not_looked_at(store, ended, row_of):
    odd = row_of("evaluations", run_id=ended.trials[0].run_id, metric="fid", value=0.0, samples=7, weights="raw")
    tables.append(store, "evaluations", [odd | {"images_seen": 1000}])

    assert known(ended).objectives()[ended.trials[0].run_id] == 9.0


@pytest.mark.parametrize("value", [0.0, 99.0])
def test_values_by_another_extractor_are_not_looked_at_even_where_all_trials_have_them(plan, record, value):
    sweep = plan("knobs: {model.patch_size: [2]}", "train.total_images=1000")
    record(sweep, sweep.trials[0], "succeeded", {1000: 3.0})
    record(sweep, sweep.trials[0], "succeeded", {1000: value}, extractor="inception")

    assert known(sweep).objectives() == {sweep.trials[0].run_id: 3.0}


def test_values_of_earlier_checkpoints_are_not_the_objective(plan, record):
    sweep = plan("knobs: {model.patch_size: [2]}", "train.total_images=1000", "train.checkpoint_images=500")
    record(sweep, sweep.trials[0], "succeeded", {500: 1.0, 1000: 2.0})

    assert known(sweep).objectives() == {sweep.trials[0].run_id: 2.0}


def test_what_runs_is_shown_first_then_the_best(ended):
    rows = trial_rows(known(ended))

    assert [row["status"] for row in rows] == ["running", "running", "succeeded", "succeeded", "failed"]
    assert [row["fid"] for row in rows] == ["", "", "4.000", "9.000", ""]
    assert rows[2]["window"] == "2" and rows[2]["patch_size"] == "2"


def test_what_has_ended_is_not_run_again_unless_a_failure_is_to_be_retried(ended):
    results = known(ended)

    assert [results.has_ended(trial) for trial in ended.trials] == [True, True, True, False, False]
    assert [results.has_ended(trial, retry_failed=True) for trial in ended.trials] == [True, True, False, False, False]


def test_a_trial_at_its_end_whose_objective_is_not_in_the_table_has_not_ended(plan, record):
    sweep = plan("knobs: {model.patch_size: [2]}", "train.total_images=1000")
    record(sweep, sweep.trials[0], "succeeded", {})

    assert not known(sweep).has_ended(sweep.trials[0])


def test_a_sweep_without_a_success_says_why(store, plan, record):
    sweep = plan("knobs: {model.patch_size: [2]}")
    row = begin(sweep)
    record(sweep, sweep.trials[0], "failed", {}, error="out of memory")

    with pytest.raises(RuntimeError, match=r"no trial succeeded; .*out of memory; --retry-failed tries again"):
        finish(known(sweep), row, 0.1)
    assert tables.row(store, "sweeps", "mine")["status"] == "failed"
    assert definition_text(sweep) == tables.row(store, "sweeps", "mine")["definition"]


@pytest.mark.parametrize(
    ("text", "overrides", "difference"),
    [
        (WINDOWS.replace("[2, 4]", "[2, 4, 8]"), [], "+ - 8"),
        (WINDOWS + "seeds: 2", [], "+ seeds: 2"),
        (WINDOWS + "metric: kid", [], "+ metric: kid"),
        (WINDOWS, ["train.batch_size=16"], "+ train.batch_size: 16"),
        (WINDOWS, ["evaluation.samples=77"], "+ samples: 77"),
        (WINDOWS, ["sampler.steps=3"], "+ steps: 3"),
    ],
)
def test_a_changed_definition_under_the_same_name_is_refused_with_the_difference(plan, text, overrides, difference):
    begin(plan(WINDOWS))

    refuse_changed_definition(plan(WINDOWS + "question: Why?", "sweep.max_concurrent=1", "train.keep_checkpoints=7"))
    with pytest.raises(ValueError, match=r"sweep 'mine' exists with another definition: ") as refused:
        refuse_changed_definition(plan(text, *overrides))
    assert difference in str(refused.value) and "\n" not in str(refused.value)


def test_a_trial_that_had_failed_and_was_tried_again_meanwhile_is_what_it_came_to(store, ended):
    results, failed = known(ended), ended.trials[2]
    row = tables.row(store, "runs", failed.run_id)
    tables.replace(store, "runs", row | {"status": "succeeded", "error": None})

    settle(results, {}, {})

    assert results.status(failed) == "succeeded"


def test_a_trial_that_was_stopped_is_heard_before_the_reason_is_written(store, ended):
    results, trial = known(ended), ended.trials[3]
    other = psutil.Process().parent()
    whose = {"pid": other.pid, "process_started_at": datetime.fromtimestamp(other.create_time(), UTC)}
    running = tables.row(store, "runs", trial.run_id) | process() | whose

    def stop_late() -> None:
        time.sleep(0.5)
        tables.replace(store, "runs", running | {"status": "stopped_early"})

    tables.replace(store, "runs", running)
    results.refresh(trial.run_id)
    writing = threading.Thread(target=stop_late)
    writing.start()
    settle(results, {}, {trial.run_id: "too slow"})
    writing.join()

    row = tables.row(store, "runs", trial.run_id)
    assert (row["status"], row["stopped_because"]) == ("stopped_early", "too slow")
