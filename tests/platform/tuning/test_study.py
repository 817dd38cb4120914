import itertools
import math
import statistics

import pytest

from unlatent.platform.tuning.results import Results

pytest.importorskip("optuna")

from unlatent.platform.tuning.study import Study

SPACE = """
knobs:
  model.patch_size: [2, 4, 8]
  model.compaction.window: [1, 2, 4, 8]
search: optuna
samples: 6
"""
RANGE = "knobs: {train.learning_rate: {low: 1.0e-5, high: 1.0e-1, log: true}}\nsearch: optuna\nsamples: 6\n"
IMAGES = ("train.total_images=1000",)


def value_at(trial) -> float:
    """Best where the patch is 4 and the window 2; by the seed somewhat better or worse."""
    model, seed = trial.run.config.model, trial.run.config.train.seed
    return abs(model.patch_size - 4) + abs(model.window - 2) + 0.01 * seed


def ended(sweep, trial, value: float) -> dict[str, float]:
    return {"spent": sweep.budget.total, sweep.definition.metric: value}


def go_on(sweep, study, record, most: int = 100) -> list[dict]:
    """Proposes and ends trials one after another, at most so many points; the points in their order."""
    points = []
    while len(points) < most and (trials := study.next_trials()):
        points.append(trials[0].knobs)
        for trial in trials:
            record(sweep, trial, "succeeded", {1000: value_at(trial)})
            study.hear(trial, ended(sweep, trial, value_at(trial)))
    return points


def test_points_are_proposed_that_work_and_none_twice(plan, record):
    sweep = plan(SPACE, *IMAGES)

    points = go_on(sweep, Study(sweep), record)

    assert len(points) == len({str(point) for point in points}) == 6
    assert all(point["model.patch_size"] % point["model.compaction.window"] == 0 for point in points)


def test_a_space_that_is_used_up_ends_the_search(plan, record):
    sweep = plan(SPACE.replace("samples: 6", "samples: 50"), *IMAGES)

    assert len(go_on(sweep, Study(sweep), record)) == sweep.planned == 9


def test_a_search_that_was_cut_off_proposes_what_it_would_have(plan, record):
    undisturbed = plan(SPACE, *IMAGES, "sweep.name=whole")
    expected = go_on(undisturbed, Study(undisturbed), record)
    sweep = plan(SPACE, *IMAGES)
    before = go_on(sweep, Study(sweep), record, most=3)

    again = plan(SPACE, *IMAGES)
    study, results = Study(again), Results(again)
    study.recall(results, retry_failed=False)

    assert before + go_on(again, study, record) == expected
    assert len(again.trials) == 6


def test_a_trial_that_was_running_is_taken_up_and_not_proposed_again(plan, record):
    sweep = plan(RANGE + "seeds: 2", *IMAGES)
    first, second = Study(sweep).next_trials()
    record(sweep, first, "succeeded", {1000: 1.0})
    record(sweep, second, "running", {})

    again = plan(RANGE + "seeds: 2", *IMAGES)
    study, results = Study(again), Results(again)
    study.recall(results, retry_failed=False)

    assert [trial.run_id for trial in again.trials] == [first.run_id, second.run_id]
    assert [results.has_ended(trial) for trial in again.trials] == [True, False]
    study.hear(again.trials[1], ended(again, again.trials[1], 3.0))
    [told] = study.proposals.study.get_trials()
    assert told.values == [2.0]  # the mean over the seeds


def test_a_point_that_failed_is_not_proposed_again(plan, record):
    sweep = plan(RANGE, *IMAGES)
    study = Study(sweep)
    [trial] = study.next_trials()

    study.hear(trial, None)

    assert study.proposals.study.get_trials()[0].state.name == "FAIL"
    assert str(trial.knobs) not in map(str, go_on(sweep, study, record))


def test_two_objectives_are_told_as_two(plan, record):
    sweep = plan(SPACE + "against: forward_gflops", *IMAGES)
    study = Study(sweep)

    go_on(sweep, study, record)

    told = [trial.values for trial in study.proposals.study.get_trials() if trial.state.name == "COMPLETE"]
    costs = {values[1] for values in told}
    assert len(told) == 6 and len(costs) > 3
    fronts = study.proposals.study.best_trials
    for one, other in itertools.permutations(fronts, 2):
        assert any(a < b for a, b in zip(one.values, other.values, strict=True)) or one.values == other.values


def test_the_second_objective_may_be_a_metric(plan, record):
    sweep = plan(SPACE + "against: kid", *IMAGES)
    study = Study(sweep)
    [trial] = study.next_trials()

    study.hear(trial, ended(sweep, trial, 3.0) | {"kid": 0.5})

    assert study.proposals.study.get_trials()[-1].values == [3.0, 0.5]


def test_what_optuna_learns_makes_better_proposals_than_chance(plan, record):
    sweep = plan(RANGE.replace("samples: 6", "samples: 24"), *IMAGES)
    study = Study(sweep)

    def distance(trial) -> float:
        return abs(math.log10(trial.run.config.train.learning_rate / 0.003))

    found = []
    while trials := study.next_trials():
        found.append(distance(trials[0]))
        study.hear(trials[0], ended(sweep, trials[0], distance(trials[0])))

    assert statistics.median(found[14:]) < 0.5 * statistics.median(found[:10])  # the first ten are drawn at random
