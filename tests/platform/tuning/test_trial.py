import pytest

from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.tuning.trial import settings_of, task_of

ASHA = "knobs: {train.learning_rate: [1.0e-3, 2.0e-3]}\nscheduler: asha\n"
IMAGES = ("train.total_images=800", "train.checkpoint_images=200")


def test_a_trials_process_knows_the_run_the_budget_and_the_objectives_that_were_planned(plan):
    sweep = plan(ASHA + "metric: kid", *IMAGES)

    task = task_of(settings_of(sweep, sweep.trials[1]))

    assert task.run.run_id == sweep.trials[1].run_id and task.run.identity == sweep.trials[1].run.identity
    assert task.budget == sweep.budget and task.metrics == ["kid"]


@pytest.mark.parametrize(("second", "measured"), [("kid", ["fid", "kid"]), ("parameters", ["fid"])])
def test_a_second_objective_that_is_a_metric_is_measured_and_a_cost_is_not(plan, second, measured):
    sweep = plan(f"knobs: {{train.learning_rate: [1.0e-3, 2.0e-3]}}\nsearch: optuna\nagainst: {second}")
    [trial] = sweep.trials_of(sweep.candidates[0])

    assert task_of(settings_of(sweep, trial)).metrics == measured


@pytest.mark.parametrize("images", [None, 600])
def test_a_checkpoint_at_which_trials_are_not_compared_is_not_measured(plan, images):
    sweep = plan(ASHA, *IMAGES)
    task = task_of(settings_of(sweep, sweep.trials[0]))
    checkpoint = None if images is None else Checkpoint("nowhere", "run", images, (), {})

    assert task.measure(checkpoint) is None
