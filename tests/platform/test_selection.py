import pytest

from unlatent.platform import tables
from unlatent.platform.selection import best_checkpoint


@pytest.fixture
def measured(store, row_of):
    def measure(name: str, value: float, metric: str = "fid", exists: bool = True, **columns):
        path = f"checkpoints/{name}/1"
        if exists:
            store.write_bytes(f"{path}/meta.json", b"{}")
        shared = {"samples": 100, "sampler": "ab2", "steps": 20, "guidance": 2.0, "weights": "ema"} | columns
        row = row_of("evaluations", run_id=name, checkpoint=path, metric=metric, value=value, **shared)
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

    with pytest.raises(ValueError, match="samples: 100, 50; steps: 10, 20"):
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
