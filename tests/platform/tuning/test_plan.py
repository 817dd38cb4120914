import pytest

from unlatent.models import cost
from unlatent.platform.tuning.definition import describe
from unlatent.platform.tuning.plan import plan_sweep, planned_configs

WINDOWS = "knobs: {model.patch_size: [2, 4], model.compaction.window: [1, 2, 4]}\n"


def test_combinations_that_cannot_work_are_left_out_and_counted_by_reason(plan):
    sweep = plan("knobs: {model.patch_size: [2, 4], model.compaction.window: [1, 2, 4], train.learning_rate: [1, 2]}")

    assert len(sweep.trials) == 10
    assert (
        "left out beforehand: 2 of 12 combinations: 2 because compaction.window=4 does not divide" in describe(sweep)[1]
    )


def test_conditions_leave_out_what_does_not_meet_them(plan):
    sweep = plan(WINDOWS + "conditions: ['window == patch_size or window == 1', 'patch_size > 2']")

    assert [(trial.run.config.model.patch_size, trial.run.config.model.window) for trial in sweep.trials] == [
        (4, 1),
        (4, 4),
    ]
    assert any("2 because it does not meet the condition 'patch_size > 2'" in line for line in describe(sweep))


@pytest.mark.parametrize("condition", ["depth > 1", "window >", "window + 'a' > 1"])
def test_a_condition_that_cannot_be_worked_out_is_an_error(plan, condition):
    with pytest.raises(ValueError, match=r"sweep.conditions: .* cannot be worked out of patch_size, window") as refused:
        plan(WINDOWS + f'conditions: ["{condition}"]')
    assert "\n" not in str(refused.value)


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


@pytest.mark.parametrize(
    ("knob", "reason"),
    [
        ("sampler.steps", "trials are ranked"),
        ("data.image_size", "trials are ranked"),
        ("train.seed", "sweep.seeds=3 gives"),
        ("train.total_images", "equal budgets"),
        ("train.run", "trials name themselves"),
    ],
)
def test_knobs_that_would_make_trials_incomparable_are_refused(plan, knob, reason):
    with pytest.raises(ValueError, match=f"sweep.knobs.{knob}: .*{reason}"):
        plan(f"knobs: {{{knob}: [10, 20]}}")
    with pytest.raises(ValueError, match=f"sweep.knobs.{knob}: .*{reason}"):
        plan(f"variants: {{a: [{knob}=10], b: [{knob}=20]}}")


def test_a_name_for_one_run_is_refused(plan):
    with pytest.raises(ValueError, match=r"train.run='mine' names one run"):
        plan(WINDOWS, "train.run=mine")


def test_combinations_that_are_one_trial_are_refused(plan):
    with pytest.raises(ValueError, match="2 combinations of its knobs are one trial"):
        plan("knobs: {model.patch_size: [2, 2]}")


def test_variants_are_settings_that_go_together(plan):
    sweep = plan(
        "variants: {plain: [model.pixel_depth=0, model.norm=layer], dual: [model.pixel_depth=2]}\n"
        "knobs: {model.patch_size: [2, 4]}"
    )

    models = [trial.run.config.model for trial in sweep.trials]
    assert [trial.knobs["variant"] for trial in sweep.trials] == ["plain", "plain", "dual", "dual"]
    assert [trial.run.variant for trial in sweep.trials] == ["plain", "plain", "dual", "dual"]
    assert [(model.norm, model.pixel_depth) for model in models] == [("layer", 0)] * 2 + [("rms", 2)] * 2
    assert [model.patch_size for model in models] == [2, 4, 2, 4]


def test_a_named_choice_can_be_a_knob(plan):
    sweep = plan("knobs: {model: [tiny, b]}", "model.patch_size=2")

    assert [trial.run.config.model.width for trial in sweep.trials] == [64, 768]


def test_seeds_give_each_point_so_many_trials_that_differ_in_their_seed_alone(plan):
    sweep = plan("knobs: {model.patch_size: [2, 4]}\nseeds: 3", "train.seed=5")

    assert [trial.run.config.train.seed for trial in sweep.trials] == [5, 6, 7, 5, 6, 7]
    assert len({trial.run_id for trial in sweep.trials}) == 6
    assert [len({trial.run.point for trial in sweep.trials[start : start + 3]}) for start in (0, 3)] == [1, 1]
    assert sweep.trials[0].run.point != sweep.trials[3].run.point


def test_a_budget_of_computation_gives_cheaper_networks_more_images(plan):
    sweep = plan("knobs: {model.patch_size: [1, 2, 4]}\ntotal_gflops: 500", "train.batch_size=4")

    runs = [trial.run.config for trial in sweep.trials]
    spent = [cost.training_gflops(config.model) * config.train.total_images for config in runs]
    each = [4 * cost.training_gflops(config.model) for config in runs]
    assert all(500 - batch < gflops <= 500 for gflops, batch in zip(spent, each, strict=True))
    assert len({config.train.total_images for config in runs}) == 3
    assert all(config.train.total_images % 4 == 0 for config in runs)


def test_what_costs_more_than_the_budget_a_batch_is_left_out_and_said_so(plan):
    model = plan("knobs: {model.patch_size: [1, 8]}").trials
    costs = sorted(cost.training_gflops(trial.run.config.model) for trial in model)
    between = 64 * (costs[0] + costs[1]) / 2

    sweep = plan(f"knobs: {{model.patch_size: [1, 8]}}\ntotal_gflops: {between}", "train.batch_size=64")

    assert [trial.run.config.model.patch_size for trial in sweep.trials] == [8]
    assert "does not allow for a batch of 64 images" in sweep.pruned[0]


def test_a_random_search_draws_without_repetition_and_from_its_seed(plan):
    text = "knobs: {model.patch_size: [1, 2, 4, 8], train.learning_rate: [1.0e-3, 2.0e-3]}\nsearch: random\nsamples: 4"

    one, same, other = plan(text), plan(text), plan(text, "sweep.seed=3")

    ids = [{trial.run_id for trial in sweep.trials} for sweep in (one, same, other)]
    assert len(ids[0]) == 4
    assert ids[0] == ids[1] != ids[2]


def test_a_random_search_draws_from_ranges(plan):
    text = "knobs: {train.learning_rate: {low: 1.0e-5, high: 1.0e-1, log: true}, model.patch_depth: {low: 1, high: 3}}"

    sweep = plan(text + "\nsearch: random\nsamples: 40", "model.width=16", "model.heads=2")

    rates = [trial.run.config.train.learning_rate for trial in sweep.trials]
    assert len(sweep.trials) == 40 and all(1e-5 <= rate <= 1e-1 for rate in rates)
    assert 8 <= sum(rate < 1e-3 for rate in rates) <= 32  # evenly in the logarithm
    assert {trial.run.config.model.patch_depth for trial in sweep.trials} == {1, 2, 3}


def test_a_range_that_holds_too_few_points_is_an_error(plan):
    with pytest.raises(ValueError, match=r"sweep.samples=9: .* draws found only 3 points that work; they repeat"):
        plan("knobs: {model.patch_depth: {low: 1, high: 3}}\nsearch: random\nsamples: 9", "model.width=16")


def test_a_grid_has_no_ranges(plan):
    with pytest.raises(ValueError, match=r"sweep.knobs.train.learning_rate is a range"):
        plan("knobs: {train.learning_rate: {low: 1.0e-5, high: 1.0e-1}}")


@pytest.mark.parametrize(
    "given", ["{low: 1}", "{low: 2, high: 1}", "{low: 0, high: 1, log: true}", "{low: a, high: b}", "3", "{a: 1}"]
)
def test_a_knob_that_is_no_list_and_no_range_is_refused_by_name(plan, given):
    with pytest.raises(ValueError, match=r"sweep.knobs.train.learning_rate=") as refused:
        plan(f"knobs: {{train.learning_rate: {given}}}\nsearch: random")
    assert "\n" not in str(refused.value)


def test_the_configs_of_a_sweep_are_those_of_its_trials(plan, store, tmp_path):
    sweep = plan(WINDOWS + "seeds: 2")

    configs = planned_configs(str(tmp_path / "mine.yaml"), [f"store={store.root}"])

    assert [(config.model.patch_size, config.train.seed) for config in configs] == [
        (trial.run.config.model.patch_size, trial.run.config.train.seed) for trial in sweep.trials
    ]


def test_the_configs_of_a_sweep_keep_to_its_budget(store, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("knobs: {model.patch_size: [1, 2, 4]}\ntotal_gflops: 500")

    configs = planned_configs(str(path), [f"store={store.root}"])

    assert all(0 < cost.training_gflops(each.model) * each.train.total_images <= 500 for each in configs)


def test_a_trial_is_identified_by_its_config_and_its_sweep(plan):
    one, two = plan(WINDOWS), plan(WINDOWS, "sweep.max_concurrent=1", "cluster.cpus_per_trial=2")

    assert [trial.run_id for trial in one.trials] == [trial.run_id for trial in two.trials]
    assert plan(WINDOWS, "train.seed=1").trials[0].run_id != one.trials[0].run_id
    assert all(trial.run_id.startswith("mine-") for trial in one.trials)


def test_rungs_must_be_where_checkpoints_are(plan):
    asha = WINDOWS + "scheduler: asha\n"

    with pytest.raises(ValueError, match=r"sweep.rung_images=150 is not a multiple of train.checkpoint_images=100"):
        plan(asha + "rung_images: 150", "train.checkpoint_images=100", "train.total_images=1000")
    with pytest.raises(ValueError, match=r"sweep.rung_images=2000 is above train.total_images=1000"):
        plan(asha + "rung_images: 2000", "train.checkpoint_images=100", "train.total_images=1000")
    with pytest.raises(ValueError, match=r"needs sweep.rung_gflops"):
        plan(asha + "total_gflops: 5000")
    with pytest.raises(ValueError, match=r"sweep.rung_images is set, and the budget is in gflops"):
        plan(asha + "total_gflops: 5000\nrung_images: 100")


def test_what_may_be_stopped_early_has_one_seed(plan):
    with pytest.raises(ValueError, match=r"sweep.scheduler=asha ends single trials, so not all sweep.seeds=2"):
        plan(WINDOWS + "scheduler: asha\nseeds: 2")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("metric: loss", "sweep.metric='loss' is not one of fid, kid"),
        ("against: precision\nsearch: optuna", "sweep.against='precision' is not one of activation_bytes"),
        ("against: fid\nsearch: optuna", "sweep.against='fid' is not one of"),
        ("against: parameters", "two objectives are for sweep.search=optuna"),
        ("search: annealing", "sweep.search='annealing' is not one of grid, random, optuna"),
        ("seeds: 0", "sweep.seeds=0 is below 1"),
        ("total_gflops: -1", "sweep.total_gflops=-1.0 is not above 0"),
    ],
)
def test_a_definition_that_means_nothing_is_refused_in_a_line(plan, text, reason):
    with pytest.raises(ValueError, match=reason):
        plan(WINDOWS + text)


def test_more_is_better_for_class_agreement(plan):
    assert plan(WINDOWS, "sweep.metric=class_agreement").definition.direction == "max"
