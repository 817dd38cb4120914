"""Which rows may be ranked, and in which order they come."""

import math

import pandas as pd
import pytest

from tests.comparable import ALIKE, OTHERWISE
from unlatent.platform import listing, tables
from unlatent.platform.ranking import rank, remarks, shown
from unlatent.platform.selection import COMPARABLE_IN


@pytest.fixture
def measured(store, row_of):
    """Writes a run and the value of its last checkpoint."""

    def measure(name: str, value: float | None, how: dict | None = None, metric: str = "fid", **run):
        of_checkpoint = {"run_id": name, "checkpoint_hash": f"hash of {name}"}
        run = {"status": "succeeded", "images_seen": 256, "patch_size": 4, "seed": 7} | run
        tables.replace(store, "runs", row_of("runs", **of_checkpoint, **run))
        if value is not None:
            row = row_of("evaluations", **of_checkpoint, metric=metric, value=value, **(ALIKE | (how or {})))
            tables.append(store, "evaluations", [row])

    return measure


@pytest.mark.parametrize("table", ["runs", "evaluations"])
def test_less_comes_first_for_fid_and_more_for_class_agreement(store, measured, table):
    for name, value in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        measured(name, value)
        measured(name, value, metric="class_agreement")

    assert list(rank(store, table, "fid").rows["run_id"]) == ["b", "c", "a"]
    assert list(rank(store, table, "class_agreement").rows["run_id"]) == ["a", "c", "b"]


def test_a_run_has_the_value_of_its_last_checkpoint_and_not_of_a_better_one_before(store, measured, row_of):
    measured("a", 3.0)
    measured("b", 4.0)
    before = row_of("evaluations", run_id="b", checkpoint_hash="an earlier one", metric="fid", value=1.0, **ALIKE)
    tables.append(store, "evaluations", [before])

    assert list(rank(store, "runs", "fid").rows["fid"]) == [3.0, 4.0]
    assert list(rank(store, "evaluations", "fid").rows["value"]) == [1.0, 3.0, 4.0]


@pytest.mark.parametrize("column", COMPARABLE_IN)
@pytest.mark.parametrize("table", ["runs", "evaluations"])
def test_rows_that_differ_in_anything_that_a_value_depends_on_are_refused_with_a_condition_that_parts_them(
    store, measured, table, column
):
    for name in ("a", "b"):
        measured(name, 3.0)
    measured("c", 1.0, {column: OTHERWISE[column]})

    with pytest.raises(ValueError, match=r"measured in 2 ways and cannot be ranked: they differ in ") as refusal:
        rank(store, table, "fid")

    text = str(refusal.value)
    assert f"{column}: " in text and text.endswith("leaves one, of 2 rows")
    assert sorted(rank(store, table, "fid", condition_in(text)).rows["run_id"]) == ["a", "b"]


def condition_in(refusal: str) -> str:
    return refusal.split('--where "')[1].split('" leaves')[0]


def test_the_condition_is_added_to_the_one_given(store, measured):
    for name, patch_size, samples in (("a", 4, 100), ("b", 4, 50), ("c", 4, 100), ("d", 2, 50), ("e", 2, 50)):
        measured(name, 1.0, {"samples": samples, "steps": samples}, patch_size=patch_size)

    with pytest.raises(ValueError) as refusal:
        rank(store, "runs", "fid", "patch_size == 4")

    condition = condition_in(str(refusal.value))
    assert condition == "(patch_size == 4) and samples == 100", "one column that parts them is enough"
    assert list(rank(store, "runs", "fid", condition).rows["run_id"]) == ["a", "c"]


def test_rows_measured_without_a_setting_can_be_asked_for(store, measured):
    for name in ("a", "b"):
        measured(name, 1.0, {"guidance_low": None, "reference": None})
    measured("c", 1.0)

    with pytest.raises(ValueError) as refusal:
        rank(store, "runs", "fid")

    condition = condition_in(str(refusal.value))
    assert condition == "guidance_low.isna()"
    assert sorted(rank(store, "runs", "fid", condition).rows["run_id"]) == ["a", "b"]


def test_other_metrics_and_earlier_checkpoints_may_have_been_measured_otherwise(store, measured, row_of):
    measured("a", 3.0)
    measured("a", 3.0, {"samples": 50}, metric="kid")
    earlier = row_of("evaluations", run_id="a", checkpoint_hash="earlier", metric="fid", value=1.0, samples=7)
    tables.append(store, "evaluations", [earlier])

    assert list(rank(store, "runs", "fid").rows["fid"]) == [3.0]
    with pytest.raises(ValueError, match="samples: 7, 100"):
        rank(store, "evaluations", "fid")


def test_runs_without_a_value_are_counted_and_not_ranked(store, measured):
    measured("a", 3.0)
    measured("b", None)
    measured("c", None, patch_size=2)

    assert rank(store, "runs", "fid").unmeasured == 2
    narrowed = rank(store, "runs", "fid", "patch_size == 4")
    assert list(narrowed.rows["run_id"]) == ["a"]
    assert "1 more have no fid of their last checkpoint" in remarks(narrowed, "fid")


def test_a_point_has_the_mean_and_deviation_of_its_seeds_and_its_best_run(store, measured):
    for name, point, seed, value in (
        ("a0", "a", 0, 2.0), ("a1", "a", 1, 4.0), ("a2", "a", 2, 6.0), ("b0", "b", 0, 1.0), ("b1", "b", 1, 9.0),
        ("c0", "c", 0, 3.5),
    ):  # fmt: skip
        measured(name, value, point=point, seed=seed)

    rows = rank(store, "runs", "fid", by="point").rows

    assert list(rows["point"]) == ["c", "a", "b"]
    assert list(rows["run_id"]) == ["c0", "a0", "b0"]
    assert list(rows["fid"]) == [3.5, 4.0, 5.0] and list(rows["seeds"]) == [1, 3, 2]
    assert rows["fid_deviation"].tolist()[1:] == pytest.approx([2.0, math.sqrt(32)])
    assert pd.isna(rows["fid_deviation"][0]), "one seed has no deviation"


def test_where_more_is_better_a_points_best_run_is_the_highest(store, measured):
    for name, value in (("a0", 0.5), ("a1", 0.7)):
        measured(name, value, metric="class_agreement", point="a", seed=int(name[1]))

    [row] = rank(store, "runs", "class_agreement", by="point").rows.to_dict("records")

    assert row["run_id"] == "a1" and row["class_agreement"] == pytest.approx(0.6)


def test_a_seed_that_was_run_twice_counts_once(store, measured):
    for name, seed, value in (("one", 0, 1.0), ("again", 0, 1.0), ("other", 1, 3.0)):
        measured(name, value, point="a", seed=seed)

    [row] = rank(store, "runs", "fid", by="point").rows.to_dict("records")

    assert (row["fid"], row["seeds"]) == (2.0, 2)
    assert row["fid_deviation"] == pytest.approx(math.sqrt(2))


def test_runs_that_did_not_come_to_their_end_are_in_no_mean(store, measured):
    for name, status, value in (("a", "succeeded", 2.0), ("b", "stopped_early", 9.0), ("c", "running", 8.0)):
        measured(name, value, point="a", seed=ord(name), status=status)

    ranking = rank(store, "runs", "fid", by="point")

    assert list(ranking.rows["fid"]) == [2.0] and list(ranking.rows["seeds"]) == [1]
    assert "2 more have not succeeded, and are in no mean" in remarks(ranking, "fid")
    with pytest.raises(ValueError, match="none of 2 runs with a fid has succeeded"):
        rank(store, "runs", "fid", "status != 'succeeded'", by="point")


def test_a_run_that_is_in_no_mean_may_have_been_measured_otherwise(store, measured):
    measured("a", 2.0, point="a")
    measured("b", 1.0, {"samples": 50}, point="b", status="running")

    ranking = rank(store, "runs", "fid", by="point")

    assert list(ranking.rows["run_id"]) == ["a"] and ranking.measured["samples"] == 100


def test_runs_from_before_there_were_points_are_points_of_their_own(store, measured):
    for name in ("old", "older"):
        measured(name, 1.0, point=None, seed=None)

    rows = rank(store, "runs", "fid", by="point").rows

    assert sorted(rows["point"]) == ["old", "older"] and list(rows["seeds"]) == [1, 1]


def test_seeds_measured_in_different_ways_are_never_averaged(store, measured):
    measured("a", 1.0, point="a", seed=0)
    measured("b", 2.0, {"samples": 50}, point="a", seed=1)

    with pytest.raises(ValueError, match="samples: 50, 100"):
        rank(store, "runs", "fid", by="point")


@pytest.mark.parametrize(
    ("table", "metric", "where", "by", "said"),
    [
        ("runs", "fdi", None, None, "--best fdi is not one of fid, kid, .*; did you mean fid?"),
        ("runs", "loss", None, None, "--best loss is not one of fid, kid, .*, recall, geneval, dpg$"),
        ("runs", "seconds_per_image", None, None, "--best seconds_per_image has no better and no worse; fid, kid"),
        ("steps", "fid", None, None, "--best fid ranks evaluations or runs, not steps"),
        ("evaluations", "fid", None, "point", "--by point of evaluations: only runs have means"),
        ("runs", "fid", None, "seed", "--by seed of runs: .* only by point"),
        ("runs", "kid", None, None, "no row of runs has a kid; `unlatent evaluate RUN` measures one"),
        ("runs", "dpg", None, None, "no row of runs has a dpg; `unlatent benchmark scores FOLDER RESULTS` records one"),
        ("runs", "fid", "patch_size == 8", None, "no row of runs with patch_size == 8 has a fid"),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_line(store, measured, table, metric, where, by, said):
    measured("a", 1.0)
    measured("a", 0.1, metric="seconds_per_image")

    with pytest.raises(ValueError, match=said) as refusal:
        rank(store, table, metric, where, by)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("table", "by"), [("runs", None), ("runs", "point"), ("evaluations", None)])
def test_what_is_shown_of_ranked_rows_is_there(store, measured, table, by):
    measured("a", 1.0, point="a")
    ranking = rank(store, table, "fid", by=by)

    [text] = listing.for_terminal(ranking.rows, shown(table, "fid", by).split())

    assert "a" in text.values() and "1" in text.values()
    assert remarks(ranking, "fid") == [
        "measured with weights ema, samples 100, sampler ab2, steps 20, guidance 2, guidance_low 0.1, "
        f"guidance_high 0.9, shift 1, precision fp32, {'seed' if table == 'evaluations' else 'evaluation_seed'} 0, "
        "feature_extractor inception, reference abc"
    ]
