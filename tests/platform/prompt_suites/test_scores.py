"""What scores become in `evaluations`, and which of them may be ranked."""

import json
from dataclasses import asdict

import pytest

from tests.suite_files import RESULTS, SCORES, WITH_THE_ONE, WITHOUT_ONE, plan_of
from unlatent.platform import shard_folder, tables
from unlatent.platform.prompt_suites import SUITES, record
from unlatent.platform.ranking import rank
from unlatent.platform.selection import best_checkpoint
from unlatent.platform.store import Store


@pytest.fixture
def scored(store, tmp_path):
    """Records the results of a suite, for images that a plan tells of."""

    def score(suite: str, judge: str | None = None, results=None, **changes):
        planned = plan_of(suite, **changes)
        store.write_bytes(f"{planned.checkpoint}/meta.json", b"{}")
        folder = Store(tmp_path / "images")
        folder.write_bytes(shard_folder.PLAN, json.dumps(asdict(planned)).encode())
        return record(store, folder, results or RESULTS[suite], judge)

    return score


@pytest.mark.parametrize("suite", SUITES)
def test_every_score_is_a_row_with_all_that_it_depends_on(store, scored, suite):
    scored(suite)

    table = tables.read(store, "evaluations")
    assert dict(zip(table["metric"], table["value"], strict=True)) == pytest.approx(SCORES[suite], abs=1e-5)
    assert table.drop(columns=["metric", "value"]).drop_duplicates().shape[0] == 1
    row = table.iloc[0]
    assert (row["run_id"], row["checkpoint"]) == ("drawn", "checkpoints/drawn/000000000256")
    assert (row["weights"], row["sampler"], row["steps"], row["guidance"]) == ("ema", "euler", 2, 2.0)
    assert (row["seed"], row["image_size"], row["dataset"], row["feature_extractor"]) == (0, 16, suite, suite)
    assert row["samples"] == {"geneval": 28, "dpg": 12}[suite]


def test_the_same_results_again_add_nothing(store, scored):
    (first, _), (again, _) = scored("geneval"), scored("geneval")
    tables.compact(store, "evaluations")
    scored("dpg")
    tables.compact(store, "evaluations")
    scored("geneval")

    assert [row["value"] for row in again] == [row["value"] for row in first]
    assert tables.read(store, "evaluations")["metric"].value_counts().max() == 1


def test_rows_say_which_prompt_their_scorer_left_out_and_are_ranked_with_no_others(store, scored):
    rows, unjudged = scored("dpg", results=WITHOUT_ONE, names=WITH_THE_ONE)
    again, _ = scored("dpg", results=WITHOUT_ONE, names=WITH_THE_ONE)

    assert unjudged == ["partiprompts97"] and len(again) == len(rows) == len(tables.read(store, "evaluations"))
    assert {row["samples"] for row in rows} == {12}
    assert all(row["reference"].endswith(":16px without partiprompts97") for row in rows)
    scored("dpg", run_id="other", checkpoint="checkpoints/other/000000000256", checkpoint_hash="o")
    with pytest.raises(
        ValueError, match=r"they differ in reference: dpg:\w+:16px, dpg:\w+:16px without partiprompts97"
    ):
        rank(store, "evaluations", "dpg")


def test_a_folder_from_before_there_were_negative_prompts_is_read_as_one_without(store, scored, tmp_path):
    rows, _ = scored("dpg")
    folder = Store(tmp_path / "images")
    earlier = asdict(plan_of("dpg"))
    del earlier["negative_prompt"]
    folder.write_bytes(shard_folder.PLAN, json.dumps(earlier).encode())

    again, _ = record(store, folder, RESULTS["dpg"], None)

    assert [row["evaluation_id"] for row in again] == [row["evaluation_id"] for row in rows]
    assert {row["negative_prompt"] for row in again} == {None}
    assert len(tables.read(store, "evaluations")) == len(rows)


def test_other_scores_of_the_same_images_are_another_judge_s(store, scored, tmp_path):
    scored("geneval")
    others = tmp_path / "others.jsonl"
    others.write_text(RESULTS["geneval"].read_text().replace('"correct":false', '"correct":true', 1))

    with pytest.raises(ValueError, match=r"others.jsonl says geneval [\d.]+, and [\d.]+ is on record .*--judge NAME"):
        scored("geneval", results=others)
    scored("geneval", judge="another detector", results=others)

    judges = tables.read(store, "evaluations").query("metric == 'geneval'")["feature_extractor"]
    assert sorted(judges) == ["another detector", "geneval"]


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"seed": 1}, "seed: 0, 1"),
        ({"guidance": 3.0}, "guidance: 2.0, 3.0"),
        ({"negative_prompt": "a blur"}, "negative_prompt: a blur, none; "),
        ({"steps": 9}, "steps: 2, 9"),
        ({"weights": "raw"}, "weights: ema, raw"),
        ({"image_size": 32}, r"reference: geneval:\w+:16px, geneval:\w+:32px"),
        ({"judge": "another"}, "feature_extractor: another, geneval"),
    ],
)
def test_scores_of_images_that_were_drawn_or_judged_otherwise_are_not_ranked(store, scored, changes, differs):
    scored("geneval")
    scored("geneval", run_id="other", checkpoint="checkpoints/other/000000000256", checkpoint_hash="o", **changes)

    with pytest.raises(ValueError, match=f"measured in 2 ways and cannot be ranked: they differ in {differs}"):
        rank(store, "evaluations", "geneval")


@pytest.mark.parametrize("metric", ["geneval", "geneval_counting"])
def test_more_is_better_and_the_best_can_be_chosen(store, scored, tmp_path, metric):
    scored("geneval")
    better = tmp_path / "better.jsonl"
    better.write_text(RESULTS["geneval"].read_text().replace('"correct":false', '"correct":true'))
    scored("geneval", run_id="good", checkpoint="checkpoints/good/000000000256", checkpoint_hash="g", results=better)

    assert list(rank(store, "evaluations", metric).rows["run_id"]) == ["good", "drawn"]
    assert best_checkpoint(store, metric)["run_id"] == "good"


def test_scores_of_a_checkpoint_that_the_store_does_not_know_are_refused(scored, store, tmp_path):
    scored("dpg")

    with pytest.raises(ValueError, match=r"checkpoints/drawn/000000000256, which drew the images, is not in .*store="):
        record(Store(tmp_path / "another"), Store(tmp_path / "images"), RESULTS["dpg"], None)


@pytest.mark.parametrize("content", [None, b"[]", b"{}", b'{"source": "shards"}', b"nothing"])
def test_a_folder_of_something_else_is_refused(store, tmp_path, content):
    folder = Store(tmp_path / "images")
    if content:
        folder.write_bytes(shard_folder.PLAN, content)

    with pytest.raises(ValueError, match=r"images holds no images of a suite; `unlatent benchmark geneval` or `dpg`"):
        record(store, folder, RESULTS["dpg"], None)
