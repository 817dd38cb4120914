import pytest

from tests.comparable import ALIKE, OTHERWISE
from unlatent.platform import tables
from unlatent.platform.selection import (
    COMPARABLE_IN,
    best_checkpoint,
    best_of_run,
    evaluations,
    measured_alike,
    measured_as,
)


@pytest.fixture
def measured(store, row_of):
    def measure(name: str, value: float, metric: str = "fid", exists: bool = True, images: int = 1, **columns):
        path = f"checkpoints/{name}/{images:012d}"
        if exists:
            store.write_bytes(f"{path}/meta.json", b"{}")
        of_checkpoint = {"run_id": name, "checkpoint": path, "images_seen": images}
        row = row_of("evaluations", **of_checkpoint, metric=metric, value=value, **(ALIKE | columns))
        tables.append(store, "evaluations", [row])

    return measure


def test_lower_is_better_for_fid_and_higher_for_class_agreement(store, measured):
    for name, value in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        measured(name, value)
        measured(name, value, metric="class_agreement")

    assert best_checkpoint(store, "fid")["run_id"] == "b"
    assert best_checkpoint(store, "class_agreement")["run_id"] == "a"


def test_rows_that_differ_in_what_they_depend_on_are_refused_by_name(store, measured):
    measured("a", 3.0)
    measured("b", 1.0, samples=50, steps=10)

    with pytest.raises(ValueError, match="samples: 50, 100; steps: 10, 20"):
        best_checkpoint(store, "fid")
    assert best_checkpoint(store, "fid", {"samples": 100})["run_id"] == "a"


def test_rankings_that_agree_need_no_choice_between_them(store, measured):
    measured("a", 3.0)
    measured("b", 1.0)
    measured("b", 0.5, samples=50)

    assert best_checkpoint(store, "fid")["run_id"] == "b"


def test_a_checkpoint_that_is_gone_is_not_chosen(store, measured):
    measured("a", 3.0)
    measured("b", 1.0, exists=False)

    assert best_checkpoint(store, "fid")["run_id"] == "a"


def test_nothing_measured_says_what_would_measure(store):
    with pytest.raises(ValueError, match=r"no checkpoint .* has a fid yet; `unlatent evaluate RUN`"):
        best_checkpoint(store, "fid")


def test_a_metric_without_a_better_is_refused(store):
    with pytest.raises(ValueError, match="metric='seconds_per_image' is not one that checkpoints are ranked by"):
        best_checkpoint(store, "seconds_per_image")


@pytest.mark.parametrize("column", COMPARABLE_IN)
def test_each_thing_that_a_value_depends_on_parts_rows_by_itself(store, measured, column):
    measured("a", 3.0)
    measured("b", 2.0)
    measured("c", 1.0, **{column: OTHERWISE[column]})

    with pytest.raises(ValueError, match=rf"cannot be ranked: they differ in {column}: [^;]*; serve.checkpoint=RUN"):
        best_checkpoint(store, "fid")
    assert sorted(measured_alike(evaluations(store, "fid", {}))["run_id"]) == ["a", "b"]


def test_a_runs_best_checkpoints_are_the_best_in_each_way_of_measuring(store, measured):
    for images, value in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 4.0)):
        measured("a", value, images=images)
        measured("a", value, metric="recall", images=images)
    measured("a", 0.5, images=4, samples=50)
    measured("a", 0.1, images=5, exists=False)
    measured("b", 0.0, images=1)

    def images_of(metric: str, count: int) -> list[int]:
        return sorted(int(path.rpartition("/")[2]) for path in best_of_run(store, "a", metric, count))

    assert images_of("fid", 1) == [2, 4], "a smaller value of another number of samples beats no other"
    assert images_of("fid", 2) == [2, 3, 4]
    assert images_of("recall", 1) == [4]
    assert images_of("fid", 0) == []


def test_most_runs_decide_which_way_of_measuring_is_looked_at_and_not_most_rows(store, measured):
    for images in (1, 2, 3):
        measured("a", 1.0, images=images, samples=50)
    measured("a", 1.0)
    measured("b", 1.0)

    assert set(measured_alike(evaluations(store, "fid", {}))["samples"]) == {100}


def test_a_config_says_in_advance_how_its_checkpoints_would_be_measured(make_config):
    """All but what is only known from the data, its features and its reference, and what only suites have."""
    config = make_config("evaluation.samples=7", "evaluation.weights=raw", "sampler.steps=3", "sampler.guidance=1.5")

    measured = measured_as(config)

    assert set(measured) == set(COMPARABLE_IN) - {"feature_extractor", "reference", "negative_prompt"}
    assert (measured["samples"], measured["weights"], measured["steps"], measured["guidance"]) == (7, "raw", 3, 1.5)
