import random
from collections import Counter

import pytest

from unlatent.platform import checkpoints, tables
from unlatent.platform.tuning.population import Population
from unlatent.platform.tuning.results import Results

PBT = """
knobs: {train.learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}, train.beta2: [0.9, 0.95, 0.99, 0.999]}
search: random
samples: 8
scheduler: pbt
rung_images: 200
"""
IMAGES = ("train.total_images=600", "train.checkpoint_images=100", "train.batch_size=50")


@pytest.fixture
def sweep(plan):
    return plan(PBT, *IMAGES)


def come(population, values):
    """Tells a population what its members came to; returns who starts next."""
    started = population.waiting()
    for trial, value in zip(started, values, strict=True):
        result = None if value is None else {"spent": trial.until, "fid": value}
        population.hear(trial, result)
    return population.next_trials()


def test_forks_of_the_best_quarter_take_the_places_of_the_worst(sweep):
    population = Population(sweep)
    first = list(population.members)

    second = come(population, [5.0, 9.0, 4.0, 3.0, 6.0, 8.0, 1.0, 2.0])

    assert [before.run_id == now.run_id for before, now in zip(first, second, strict=True)] == [
        True, False, True, True, True, False, True, True,
    ]  # fmt: skip
    sources = {f"checkpoints/{first[place].run_id}/000000000200" for place in (6, 7)}
    for place in (1, 5):
        assert second[place].run.config.train.fork in sources
        assert second[place].run.config.train.seed == place
    assert {trial.until for trial in second} == {400}


def test_settings_of_a_fork_are_near_those_of_its_source(sweep):
    population, sources = Population(sweep), {}
    for member in population.members:
        sources[checkpoints.path_of(member.run_id, 200)] = member.knobs

    forks = [
        population.fork(place, source, random.Random(f"{place} {number}"))
        for number, source in enumerate(population.members)
        for place in range(20)
    ]

    ratios, steps, betas = [], set(), [0.9, 0.95, 0.99, 0.999]
    for fork in forks:
        before = sources[fork.run.config.train.fork]
        ratios.append(round(fork.knobs["train.learning_rate"] / before["train.learning_rate"], 2))
        steps.add(betas.index(fork.knobs["train.beta2"]) - betas.index(before["train.beta2"]))
        assert 1e-4 <= fork.knobs["train.learning_rate"] <= 1e-1
    assert {0.8, 1.25} <= set(ratios) and {-1, 1} <= steps
    drawn_anew = sum(ratio not in (0.8, 1.25) for ratio in ratios) / len(ratios)
    assert 0.15 < drawn_anew < 0.4, "one in four, and those at the end of the range"


def test_whether_a_setting_is_drawn_anew_has_nothing_to_do_with_the_source(plan):
    anew = Counter()
    for seed in range(60):
        population = Population(plan(PBT + f"seed: {seed}", *IMAGES))
        sources = {checkpoints.path_of(member.run_id, 200): member for member in population.members}
        best = population.members[0]
        for fork in [each for each in come(population, range(8)) if each.run.config.train.fork]:
            source = sources[fork.run.config.train.fork]
            ratio = fork.knobs["train.learning_rate"] / source.knobs["train.learning_rate"]
            anew[source is best, not any(abs(ratio - each) < 0.01 for each in (0.8, 1.25))] += 1

    for is_best in (True, False):
        share = anew[is_best, True] / (anew[is_best, True] + anew[is_best, False])
        assert 0.1 < share < 0.5


def test_a_member_that_failed_is_replaced_first(sweep):
    population = Population(sweep)
    failed, worst = population.members[0], population.members[7]

    second = come(population, [None, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])

    gone = {failed.run_id, worst.run_id}
    assert not gone & {trial.run_id for trial in second} and len(second) == 8


def test_a_number_that_is_none_counts_as_a_failure(sweep):
    population = Population(sweep)
    diverged = population.members[2]

    second = come(population, [1.0, 2.0, float("nan"), 4.0, 5.0, 6.0, 7.0, 8.0])

    assert diverged.run_id not in {trial.run_id for trial in second}


def test_members_wait_for_each_other(sweep):
    population = Population(sweep)
    one, *others = population.waiting()

    population.hear(one, {"spent": 200, "fid": 1.0})

    assert population.next_trials() is None
    assert population.waiting() == others


def test_more_is_better_where_the_metric_says_so(plan):
    population = Population(plan(PBT + "metric: class_agreement", *IMAGES))
    members = list(population.members)
    for place, trial in enumerate(population.waiting()):
        population.hear(trial, {"spent": 200, "class_agreement": place / 10})

    second = population.next_trials()

    assert {members[0].run_id, members[1].run_id} == {each.run_id for each in members} - {x.run_id for x in second}


def test_the_last_rung_is_the_end(sweep):
    population = Population(sweep)
    come(population, range(8))
    assert {trial.until for trial in come(population, range(8))} == {600}

    assert come(population, range(8)) == []
    assert len(sweep.trials) == sweep.planned == 8 + 2 * 2


def test_where_all_fail_the_sweep_ends(sweep):
    assert come(Population(sweep), [None] * 8) == []


def test_a_population_that_was_cut_off_is_the_one_that_it_would_have_become(plan, record, store):
    sweep, rungs = plan(PBT, *IMAGES), [[5.0, 9.0, 4.0, None, 6.0, 8.0, 1.0, 2.0], [3, 1, 4, 1.5, 5, 9, 2, 6]]
    undisturbed = Population(sweep)
    generations = [undisturbed.waiting()]
    for values in rungs:
        generations.append(come(undisturbed, values))
    for number, values in enumerate(rungs):
        for trial, value in zip(generations[number], values, strict=True):
            reached = {} if value is None else {200 * (number + 1): value}
            record(sweep, trial, "paused" if value is not None else "failed", reached)

        again = plan(PBT, *IMAGES)
        recalled = Population(again)
        recalled.recall(Results(again), retry_failed=False)

        assert [t.run_id for t in recalled.waiting()] == [t.run_id for t in generations[number + 1]]
        assert [t.knobs for t in recalled.waiting()] == [t.knobs for t in generations[number + 1]]


def test_a_member_that_was_measured_at_the_end_and_died_before_it_said_so_is_run_again(plan, record):
    sweep, rungs = plan(PBT, *IMAGES), [[5.0, 9.0, 4.0, 3.0, 6.0, 8.0, 1.0, 2.0], [3, 1, 4, 1.5, 5, 9, 2, 6]]
    population = Population(sweep)
    for number, values in enumerate(rungs, start=1):
        for trial, value in zip(population.waiting(), values, strict=True):
            record(sweep, trial, "paused", {200 * number: value})
        come(population, values)
    *ended, cut = population.members
    for trial in ended:
        record(sweep, trial, "succeeded", {600: 1.0})
    record(sweep, cut, "running", {600: 2.0})

    recalled = Population(again := plan(PBT, *IMAGES))
    recalled.recall(Results(again), retry_failed=False)

    assert [trial.run_id for trial in recalled.waiting()] == [cut.run_id]


def test_what_failed_is_tried_again_when_asked_where_nothing_has_taken_its_place(plan, record):
    sweep = plan(PBT, *IMAGES)
    for trial in Population(sweep).waiting():
        record(sweep, trial, "failed", {})

    for asked, expected in ((False, 0), (True, 8)):
        again = plan(PBT, *IMAGES)
        population = Population(again)
        population.recall(Results(again), retry_failed=asked)

        assert len(population.waiting()) == expected
        assert population.until == 200


def test_it_is_on_record_why_a_member_ended_and_what_went_on_in_its_place(sweep, record, store):
    population = Population(sweep)
    members = list(population.members)
    for trial, value in zip(members, [5.0, 9.0, 4.0, 3.0, 6.0, 8.0, 1.0, 2.0], strict=True):
        record(sweep, trial, "paused", {200: value})

    second = come(population, [5.0, 9.0, 4.0, 3.0, 6.0, 8.0, 1.0, 2.0])

    row = tables.row(store, "runs", members[1].run_id)
    assert row["status"] == "stopped_early"
    why = f"fid 9 at 200 images, of the worst quarter; in its place {second[1].run_id} goes on from mine-"
    assert row["stopped_because"].startswith(why)
    assert f"with train.learning_rate={second[1].knobs['train.learning_rate']}" in row["stopped_because"]
    assert tables.row(store, "runs", members[0].run_id)["status"] == "paused"


def test_a_member_that_was_measured_before_its_process_died_is_not_replaced(plan, sweep, record):
    members = Population(plan(PBT, *IMAGES)).members
    record(sweep, members[0], "failed", {200: 0.5})
    population = Population(sweep)

    second = come(population, [None, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])

    assert second[0].run_id == members[0].run_id
    assert not {members[6].run_id, members[7].run_id} & {trial.run_id for trial in second}


def test_under_a_budget_of_computation_forks_leave_at_its_rungs(plan):
    text = PBT.replace("rung_images: 200", "total_gflops: 40\nrung_gflops: 10")
    population = Population(plan(text, "train.batch_size=50"))
    train = population.members[0].run.config.train

    second = come(population, range(8))

    [fork] = {trial.run.config.train.fork.rpartition("/")[2] for trial in second if trial.run.config.train.fork}
    assert int(fork) == train.checkpoint_images
    assert population.sweep.budget.spent(train, int(fork)) == 10


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        (("samples: 8", "samples: 3"), (), "pbt needs 4 points or more, for its worst quarter goes on from its best"),
        (("search: random", "search: optuna"), (), "sweep.scheduler=pbt searches by itself"),
        (("train.beta2", "train.batch_size"), (), "knobs.train.batch_size cannot change while a run goes on"),
        (("samples: 8", "samples: 8\nseeds: 2"), (), "sweep.scheduler=pbt ends single trials"),
        (("rung_images: 200", "rung_images: 600"), (), "its first rung, 600, is not below the whole, 600"),
        (("", ""), ("train.batch_size=384",), "the rung at 200 images cannot be told from the next"),
        (("", ""), ("train.keep_checkpoints=2",), "train.keep_checkpoints=2: .*, which is 2 on; 3 would do"),
        (("", ""), ("train.ema_power_widths=[0.1]",), "averages for train.ema_power_widths"),
    ],
)
def test_what_cannot_be_a_population_is_refused(plan, change, overrides, message):
    with pytest.raises(ValueError, match=message):
        Population(plan(PBT.replace(*change), *IMAGES, *overrides))
