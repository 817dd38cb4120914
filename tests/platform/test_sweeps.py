import pytest

from unlatent.platform import tables
from unlatent.platform.sweep_plan import definition_text, plan_sweep, refuse_changed_definition
from unlatent.platform.sweep_rows import begin, finish, objective_values, settle, trial_rows
from unlatent.platform.sweep_space import SweepConfig, as_overrides, choose, combinations


@pytest.fixture
def plan(store, tmp_path):
    """Plans a sweep from a definition's text."""

    def make(text: str, *overrides: str):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return plan_sweep(str(path), [f"store={store.root}", *overrides])

    return make


WINDOWS = "knobs: {model.patch_size: [2, 4], model.compaction.window: [1, 2, 4]}\n"


def test_combinations_that_cannot_work_are_left_out_and_said_why(plan):
    sweep = plan(WINDOWS)

    assert len(sweep.trials) == 5
    assert sweep.pruned == ["compaction.window=4 does not divide patch_size=2; 1 or 2 would"]


def test_the_shipped_sweep_covers_patches_windows_and_no_attention(store):
    sweep = plan_sweep("digits", [f"store={store.root}"])

    points = {
        (trial.run.config.model.patch_size, trial.run.config.model.window, trial.run.config.model.compaction.attention)
        for trial in sweep.trials
    }
    assert len(points) == len(sweep.trials) >= 5
    assert len({patch for patch, _, _ in points}) >= 2
    assert len({window for _, window, on in points if on}) >= 2
    assert any(not on for _, _, on in points)


def test_no_combination_that_works_is_an_error(plan):
    with pytest.raises(ValueError, match=r"no combination .* patch_size=3 does not divide"):
        plan("knobs: {model.patch_size: [3, 5]}")


def test_a_misspelt_value_is_an_error_and_not_left_out(plan):
    with pytest.raises(ValueError, match=r"model.patch_size: Value 'four'"):
        plan("knobs: {model.patch_size: [2, four]}")


def test_knobs_that_make_trials_incomparable_are_refused(plan):
    with pytest.raises(ValueError, match=r"sweep.knobs.sampler.steps: trials are ranked"):
        plan("knobs: {sampler.steps: [10, 20]}")


def test_an_objective_that_is_no_metric_is_refused(plan):
    with pytest.raises(ValueError, match=r"sweep.metric='loss' is not one of fid, kid"):
        plan(WINDOWS, "sweep.metric=loss")


def test_more_is_better_for_class_agreement(plan):
    assert plan(WINDOWS, "sweep.metric=class_agreement").definition.direction == "max"


def test_a_name_for_one_run_is_refused(plan):
    with pytest.raises(ValueError, match=r"train.run='mine' names one run"):
        plan(WINDOWS, "train.run=mine")


def test_combinations_that_are_one_trial_are_refused(plan):
    with pytest.raises(ValueError, match="2 combinations of its knobs are one trial"):
        plan("knobs: {model.patch_size: [2, 2]}")


def test_a_random_search_draws_without_repetition_and_from_its_seed():
    config = SweepConfig(name="x", knobs={"a": list(range(10))}, search="random", samples=4)

    chosen = choose(config, combinations(config))

    assert chosen == choose(config, combinations(config))
    assert len({each["a"] for each in chosen}) == 4


def test_knobs_are_written_as_the_command_line_would():
    knobs = {"a": True, "b": None, "c": 2, "d": 0.5, "e": "rms"}

    assert as_overrides(knobs) == ["a=true", "b=null", "c=2", "d=0.5", 'e="rms"']


def test_a_trial_is_identified_by_its_config_and_its_sweep(plan):
    one, two = plan(WINDOWS), plan(WINDOWS, "sweep.max_concurrent=1", "cluster.cpus_per_trial=2")

    assert [trial.run_id for trial in one.trials] == [trial.run_id for trial in two.trials]
    assert plan(WINDOWS, "train.seed=1").trials[0].run_id != one.trials[0].run_id
    assert all(trial.run_id.startswith("mine-") for trial in one.trials)


def test_a_changed_definition_under_the_same_name_is_refused_with_the_difference(plan):
    begin(plan(WINDOWS))

    refuse_changed_definition(plan(WINDOWS, "sweep.max_concurrent=1"))
    with pytest.raises(ValueError, match=r"sweep 'mine' exists with another definition: .*- 8"):
        refuse_changed_definition(plan(WINDOWS.replace("[2, 4]", "[2, 4, 8]")))


def test_more_than_one_worker_a_trial_is_refused(plan):
    with pytest.raises(ValueError, match=r"cluster.workers=2: a trial runs in one process"):
        plan(WINDOWS, "cluster.workers=2")


@pytest.fixture
def ended(store, plan, row_of, noon):
    """A sweep whose trials have ended in several ways."""
    sweep = plan(WINDOWS)
    row = begin(sweep)
    sampler, evaluation = sweep.config.sampler, sweep.config.evaluation
    alike = {
        "metric": "fid", "weights": "ema", "samples": evaluation.samples, "seed": 0, "sampler": sampler.name,
        "steps": sampler.steps, "guidance": sampler.guidance, "guidance_low": sampler.guidance_low,
        "guidance_high": sampler.guidance_high, "shift": sampler.shift, "precision": sampler.precision,
        "dataset_hash": sweep.dataset.hash,
    }  # fmt: skip
    for trial, status, value in zip(
        sweep.trials, ["succeeded", "succeeded", "failed", "running", "running"], [9.0, 4.0, 1.0, 2.0, 3.0], strict=True
    ):
        run = row_of("runs", run_id=trial.run_id, status=status, images_seen=64, forward_gflops=0.1, error="it broke")
        tables.replace(store, "runs", run)
        tables.append(store, "evaluations", [row_of("evaluations", run_id=trial.run_id, value=value, **alike)])
    return sweep, row


def test_the_best_is_chosen_among_trials_that_came_to_their_end(store, ended):
    sweep, row = ended
    settle(sweep, sweep.trials, {sweep.trials[3].run_id: "its process died"})

    best = finish(sweep, row, 1.5)

    assert best == sweep.trials[1]
    written = tables.row(store, "sweeps", "mine")
    assert (written["best_run_id"], written["best_value"]) == (best.run_id, 4.0)
    assert (written["succeeded"], written["failed"], written["stopped_early"]) == (2, 2, 1)
    assert "it broke" in written["error"] and "its process died" in written["error"]


def test_values_measured_in_another_way_are_not_looked_at(store, ended, row_of):
    sweep, _ = ended
    odd = row_of("evaluations", run_id=sweep.trials[0].run_id, metric="fid", value=0.0, samples=7, weights="raw")
    tables.append(store, "evaluations", [odd])

    assert objective_values(sweep)[sweep.trials[0].run_id] == 9.0


def test_the_table_shows_the_best_first_and_those_without_a_value_last(ended):
    sweep, _ = ended

    rows = trial_rows(sweep)

    assert [row["fid"] for row in rows] == ["4.000", "9.000", "", "", ""]
    assert rows[0]["window"] == "2" and rows[0]["patch_size"] == "2"


def test_a_sweep_without_a_success_says_why(store, plan, row_of):
    sweep = plan("knobs: {model.patch_size: [2]}")
    row = begin(sweep)
    tables.replace(store, "runs", row_of("runs", run_id=sweep.trials[0].run_id, status="failed", error="out of memory"))

    with pytest.raises(RuntimeError, match=r"no trial succeeded; .*out of memory"):
        finish(sweep, row, 0.1)
    assert tables.row(store, "sweeps", "mine")["status"] == "failed"
    assert definition_text(sweep) == tables.row(store, "sweeps", "mine")["definition"]
