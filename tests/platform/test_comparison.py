"""What two runs differ in."""

import math

import pytest

from tests import comparable
from unlatent.platform import tables
from unlatent.platform.comparison import Line, as_said, compare
from unlatent.platform.config import to_yaml
from unlatent.platform.selection import COMPARABLE_IN

ALIKE = comparable.ALIKE | {"device": "cpu"}


@pytest.fixture
def begun(store, row_of, make_config):
    """Writes the row of a run with these overrides and columns."""

    def begin(run_id: str, *overrides: str, **columns):
        config = to_yaml(make_config(*overrides))
        columns = {"checkpoint_hash": f"hash of {run_id}"} | columns
        tables.replace(store, "runs", row_of("runs", run_id=run_id, config=config, **columns))

    return begin


@pytest.fixture
def measured(store, row_of):
    """Writes a metric of a run's last checkpoint."""

    def measure(run_id: str, metric: str, value: float, **how):
        of_checkpoint = {"run_id": run_id, "checkpoint_hash": f"hash of {run_id}", "metric": metric, "value": value}
        tables.append(store, "evaluations", [row_of("evaluations", **(of_checkpoint | ALIKE | how))])

    return measure


def differing(store, part: str, first: str = "a", second: str = "b") -> dict[str, tuple]:
    lines = [line for line in compare(store, first, second) if line.part == part and line.differs]
    return {line.name: (line.first, line.second) for line in lines}


def metrics(store) -> dict[str, Line]:
    return {line.name: line for line in compare(store, "a", "b") if line.part == "metric"}


def test_settings_that_differ_are_told_by_their_paths_and_no_other(store, begun):
    begun("a", "model.patch_size=4", "train.seed=1")
    begun("b", "model.patch_size=2", "train.seed=1", "model.compaction.attention=false", "train.run=mine")

    assert differing(store, "setting") == {
        "model.patch_size": (4, 2),
        "model.compaction.attention": (True, False),
        "train.run": (None, "mine"),
    }


def test_every_setting_is_there_whether_it_differs_or_not(store, begun):
    begun("a")
    begun("b")

    lines = [line for line in compare(store, "a", "b") if line.part == "setting"]

    assert differing(store, "setting") == {}
    assert {"train.learning_rate", "model.patch_size", "sampler.steps", "data.kind"} <= {line.name for line in lines}


def test_where_a_run_comes_from_is_compared(store, begun):
    same = {"git_commit": "abc", "host": "one", "torch_version": "2", "dataset_hash": "d", "workers": 1}
    begun("a", **same, git_dirty=False, code_version="1", device="cpu")
    begun("b", **same, git_dirty=True, code_version="2", device="H100")

    assert differing(store, "provenance") == {
        "git_dirty": (False, True),
        "code_version": ("1", "2"),
        "device": ("cpu", "H100"),
    }


def test_outcomes_come_with_their_difference(store, begun):
    begun("a", status="succeeded", forward_gflops=2.0, images_seen=256, loss=0.5)
    begun("b", status="failed", forward_gflops=0.5, images_seen=256, loss=0.5)

    lines = {line.name: line for line in compare(store, "a", "b") if line.part == "outcome"}

    assert lines["forward_gflops"].difference == -1.5
    assert lines["status"].differs and lines["status"].difference is None
    assert not lines["images_seen"].differs and not lines["loss"].differs


def test_a_loss_that_is_no_number_does_not_differ_from_another(store, begun):
    for run_id in "ab":
        begun(run_id, loss=math.nan)

    assert differing(store, "outcome") == {}


def test_metrics_of_the_last_checkpoints_stand_side_by_side_those_that_rank_first(store, begun, measured, row_of):
    for run_id, fid in (("a", 3.0), ("b", 2.5)):
        begun(run_id)
        measured(run_id, "nearest_neighbour", 1.0)
        measured(run_id, "fid", fid)
    earlier = row_of("evaluations", run_id="b", checkpoint_hash="earlier", metric="fid", value=9.0, **ALIKE)
    tables.append(store, "evaluations", [earlier])

    found = metrics(store)

    assert list(found) == ["fid", "nearest_neighbour"]
    assert (found["fid"].first, found["fid"].second, found["fid"].difference) == (3.0, 2.5, -0.5)


@pytest.mark.parametrize("column", COMPARABLE_IN)
def test_values_measured_in_different_ways_do_not_stand_beside_each_other(store, begun, measured, column):
    for run_id in "ab":
        begun(run_id)
    measured("a", "fid", 3.0)
    measured("b", "fid", 2.5, **{column: comparable.OTHERWISE[column]})

    [line] = metrics(store).values()

    assert (line.first, line.second, line.difference) == (None, None, None)
    assert line.remark.startswith(f"measured in different ways: they differ in {column}: ") and line.differs


def test_of_several_ways_those_that_both_were_measured_in_are_compared_and_named(store, begun, measured):
    for run_id, better in (("a", 0.0), ("b", 1.0)):
        begun(run_id)
        for samples in (50, 100):
            measured(run_id, "fid", 100 / samples - better, samples=samples)
    measured("b", "fid", 0.1, samples=10_000)

    found = metrics(store)

    assert set(found) == {"fid samples=50", "fid samples=100"}
    assert (found["fid samples=50"].first, found["fid samples=50"].second) == (2.0, 1.0)
    assert found["fid samples=100"].difference == -1.0


def test_times_of_different_devices_do_not_stand_beside_each_other(store, begun, measured):
    for run_id, device in (("a", "cpu"), ("b", "H100")):
        begun(run_id)
        measured(run_id, "seconds_per_image", 1.0, device=device)
        measured(run_id, "fid", 1.0, device=device)

    found = metrics(store)

    assert "device: H100, cpu" in found["seconds_per_image"].remark
    assert found["fid"].difference == 0.0


def test_a_metric_that_one_run_lacks_says_so(store, begun, measured):
    for run_id in "ab":
        begun(run_id)
    measured("a", "fid", 3.0)

    [line] = metrics(store).values()

    assert (line.first, line.second, line.difference, line.remark) == (3.0, None, None, "b has none")


def test_runs_without_a_checkpoint_have_no_metrics(store, begun, measured):
    begun("a", checkpoint_hash=None)
    begun("b")
    measured("b", "fid", 3.0)

    assert metrics(store)["fid"].remark == "a has none"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("538985de9d", r"did you mean digits-538985de9d\?$"),
        ("digits-538985de98", r"did you mean digits-538985de9d\?$"),
        ("digits", r"did you mean digits-538985de9d or digits-ad7f6754bc\?$"),
        ("elsewhere", "`unlatent runs` lists them$"),
    ],
)
def test_an_unknown_run_names_those_that_are_near(store, begun, asked, said):
    for run_id in ("digits-538985de9d", "digits-ad7f6754bc", "other"):
        begun(run_id)

    with pytest.raises(ValueError, match=rf"^run='{asked}' is not in .*results/runs; {said}"):
        compare(store, "other", asked)


def test_a_run_is_not_compared_with_itself(store, begun):
    begun("a")

    with pytest.raises(ValueError, match="run='a' is named twice"):
        compare(store, "a", "a")


def test_on_a_terminal_what_is_the_same_is_left_out_unless_asked_for(store, begun, measured):
    for run_id, commit in (("a", "0123456789abcdef"), ("b", "fedcba9876543210")):
        begun(run_id, f"train.run={run_id}", git_commit=commit, host="one", forward_gflops=0.5)
        measured(run_id, "fid", 3.0, samples=100 if run_id == "a" else 50)
        measured(run_id, "kid", 1.0)
    lines = compare(store, "a", "b")

    settings, provenance, outcome, metric = as_said(lines, ("a", "b"), every=False)
    all_provenance = as_said(lines, ("a", "b"), every=True)[1]

    assert settings[1] == [{"setting": "train.run", "a": "a", "b": "b", "difference": ""}]
    assert provenance[1] == [{"provenance": "git_commit", "a": "0123456789ab", "b": "fedcba987654", "difference": ""}]
    assert {"provenance": "host", "a": "one", "b": "one", "difference": ""} in all_provenance[1]
    assert outcome == ("outcome: 0 of 11 differ", [], [])
    assert metric[1] == [{"metric": "kid", "a": "1", "b": "1", "difference": ""}]
    assert metric[2] == ["fid: measured in different ways: they differ in samples: 50, 100"]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (2.0, 1.5, "-0.5 (-25.0%)"), (0.0, 1.0, "+1"), (-2.0, -1.0, "+1 (+50.0%)"), (1000, 4500, "+3,500 (+350.0%)"),
        (1, 1.0, ""), (True, False, ""), ("x", 1, ""), (None, 1, ""),
    ],
)  # fmt: skip
def test_a_difference_is_told_as_a_number_and_as_a_share_of_the_first(first, second, said):
    [(_, [texts], _), *_] = as_said([Line("setting", "x", first, second)], ("a", "b"), every=True)

    assert texts["difference"] == said
