"""The runner, with steps that only count and write."""

import re
import time

import pytest

from tests.kitchen import DIAMOND
from unlatent.pipelines import steps
from unlatent.pipelines.driver import only_driver
from unlatent.pipelines.runner import StepError
from unlatent.pipelines.steps import Action


def test_steps_run_in_order_and_leave_a_row_each(kitchen, capsys):
    ran = kitchen.run(DIAMOND)

    assert ran[0] == "first" and ran[-1] == "last" and sorted(ran) == ["first", "last", "left", "right"]
    rows = kitchen.rows()
    assert list(rows["action"]) == ["ran"] * 4 and rows["error"].isna().all()
    assert rows["key"].notna().all() and set(rows["reason"]) == {"it has not succeeded before"}
    out = capsys.readouterr().out
    assert "last says so" in out and "dinner: 4 ran" in out


def test_what_is_independent_runs_at_once_and_every_line_names_its_step(kitchen, capsys):
    ran = kitchen.run("steps: {a: {run: meet}, b: {run: meet}}")

    assert sorted(ran) == ["a", "b"], "each waits for the other, so they ran together"
    first, second = kitchen.rows().to_dict("records")
    assert second["started_at"] < first["ended_at"]
    out = capsys.readouterr().out.splitlines()
    for step in ("a", "b"):
        start = out.index(f"{step} | met")
        assert out[start + 1] == f"{step} | and parted", "what is said at once stays together"


def test_a_step_that_runs_alone_needs_no_name_on_its_lines(kitchen, capsys):
    kitchen.meeting = type(kitchen.meeting)(1)

    kitchen.run("steps: {a: {run: meet}}")

    assert "met" in capsys.readouterr().out.splitlines()


@pytest.fixture
def crowd(kitchen, monkeypatch):
    """The most steps that were seen at work at the same time, of several that could be."""

    def run(at_once=None, before="", **traits) -> int:
        under_way, most = [], []

        def count(context):
            under_way.append(context.step)
            most.append(len(under_way))
            time.sleep(0.05)
            under_way.remove(context.step)
            return kitchen.actions["note"].call(context)

        monkeypatch.setitem(steps.ACTIONS, "count", Action(call=count, reads=("train",), **traits))
        kitchen.run(
            before + "steps: {a: {run: count}, b: {run: count}, c: {run: count}, d: {run: count}}", at_once=at_once
        )
        assert len(most) == 4
        return max(most)

    return run


def test_no_more_steps_run_at_once_than_the_command_or_the_definition_allows(crowd):
    assert crowd(at_once=3) == 3
    assert crowd(before="at_once: 2\noverrides: [train.seed=1]\n") == 2
    assert crowd(before="at_once: 2\noverrides: [train.seed=2]\n", at_once=1) == 1


@pytest.mark.parametrize("trait", ["on_ray", "in_torch"])
def test_steps_that_would_get_into_each_others_way_take_turns(crowd, trait):
    assert crowd(at_once=4, **{trait: True}) == 1


def test_steps_that_run_at_once_do_not_wait_for_the_slowest_to_be_noted(kitchen, monkeypatch):
    def slow(context):
        time.sleep(0.5)
        return kitchen.actions["note"].call(context)

    monkeypatch.setitem(steps.ACTIONS, "slow", Action(call=slow, reads=("train",)))

    ran = kitchen.run("steps: {a: {run: slow}, b: {run: note}, c: {run: note, needs: [b]}}")

    assert ran == ["b", "c", "a"]


def test_a_failure_stops_only_what_needs_it_and_the_end_says_how_to_go_on(kitchen, capsys):
    kitchen.failing = {"left": RuntimeError("left broke")}

    with pytest.raises(StepError, match="step left failed: left broke"):
        kitchen.run(DIAMOND.replace("last:", "after: {run: note, needs: [last]}\n  last:"))

    assert sorted(kitchen.calls) == ["first", "left", "right"]
    rows = kitchen.rows().set_index("step")
    assert rows["action"].to_dict() == {
        "first": "ran",
        "left": "failed",
        "right": "ran",
        "last": "not_run",
        "after": "not_run",
    }
    assert rows.loc["left", "error"] == "RuntimeError: left broke"
    assert rows.loc["last", "reason"] == "left, which it needs, failed"
    assert rows.loc["after", "reason"] == "last, which it needs, was not run"
    out = capsys.readouterr().out
    assert "dinner: 2 ran, 1 failed (left), 2 not run (last, after)" in out
    assert "the same command goes on: it skips what is done" in out
    assert "right says so" in out, "what has succeeded has its say"


def test_after_a_failure_the_same_command_goes_on(kitchen):
    kitchen.failing = {"left": RuntimeError("left broke")}
    with pytest.raises(StepError):
        kitchen.run(DIAMOND)

    kitchen.failing = {}

    assert kitchen.run(DIAMOND) == ["left", "last"]


def test_a_step_whose_record_cannot_be_looked_at_fails_alone(kitchen):
    kitchen.run("steps: {a: {run: note}, b: {run: note}}")
    kitchen.store.delete(kitchen.file("a"))
    kitchen.store.write_bytes(f"{kitchen.file('a')}/within", b"a folder where a file was")
    kitchen.store.delete(kitchen.file("b"))

    with pytest.raises(StepError, match="step a failed"):
        kitchen.run("steps: {a: {run: note}, b: {run: note}}")

    assert kitchen.calls == ["b"]


def test_a_step_is_tried_again_as_often_as_it_says_and_each_try_is_a_row(kitchen, capsys):
    kitchen.failing = {"only": OSError("no answer")}

    with pytest.raises(StepError, match="step only failed: no answer"):
        kitchen.run("steps: {only: {run: note, retries: 2, backoff_s: 0.1}}")

    assert kitchen.calls == ["only"] * 3
    rows = kitchen.rows()
    assert list(rows["attempt"]) == [1, 2, 3] and set(rows["action"]) == {"failed"}
    pauses = (rows["started_at"].shift(-1) - rows["ended_at"]).dt.total_seconds().dropna()
    assert 0.1 <= pauses.iloc[0] < 0.2 <= pauses.iloc[1], "each pause is twice as long as the one before"
    assert "only: failed: no answer; try 2 of 3 in 0.1 s" in capsys.readouterr().out


def test_a_try_that_succeeds_is_the_last(kitchen, monkeypatch):
    def fail_once(context):
        kitchen.failing = {} if kitchen.calls else {"only": ConnectionError("gone")}
        return kitchen.actions["note"].call(context)

    monkeypatch.setitem(steps.ACTIONS, "stumble", Action(call=fail_once, reads=("train",)))

    kitchen.run("steps: {only: {run: stumble, retries: 5, backoff_s: 0}}")

    assert list(kitchen.rows()["action"]) == ["failed", "ran"] and list(kitchen.rows()["attempt"]) == [1, 2]


@pytest.mark.parametrize("error", [ValueError("train.batch_size=3 is odd"), KeyError("seed"), TypeError("no")])
def test_what_another_try_would_meet_again_is_not_tried_again(kitchen, error):
    kitchen.failing = {"only": error}

    with pytest.raises(StepError):
        kitchen.run("steps: {only: {run: note, retries: 2, backoff_s: 0}}")

    assert kitchen.calls == ["only"]


def test_a_config_that_cannot_work_is_refused_before_anything_starts(kitchen):
    text = DIAMOND.replace("last: {run: note,", "last: {run: note, overrides: [model.patch_size=3],")

    with pytest.raises(ValueError, match="patch_size=3"):
        kitchen.run(text)

    assert kitchen.calls == [] and not kitchen.store.exists("")


@pytest.mark.parametrize(
    ("sweep", "named"),
    [
        ("nowhere", "'nowhere' is neither a definition in sweeps/"),
        ("digits, overrides: [sweep.metric=beauty]", "sweep.metric='beauty' is not one of"),
        ("digits, overrides: [train.run=mine]", "train.run='mine' names one run"),
    ],
)
def test_a_sweep_that_cannot_work_is_refused_before_anything_starts(kitchen, sweep, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        kitchen.run(f"steps: {{a: {{run: note}}, b: {{run: sweep, needs: [a], sweep: {sweep}}}}}")

    assert kitchen.calls == [] and not kitchen.store.exists("")


def test_an_override_for_a_sweep_is_refused_where_there_is_none(kitchen):
    with pytest.raises(ValueError, match=r"sweep.samples=3: dinner has no step that runs a sweep"):
        kitchen.run(DIAMOND, "sweep.samples=3")


def test_a_second_driver_is_refused_in_one_line(kitchen):
    with (
        only_driver(kitchen.store, "dinner"),
        pytest.raises(
            ValueError, match=r"^pipeline 'dinner' is being run by process \d+ on .+; wait for it, or end"
        ) as no,
    ):
        kitchen.run(DIAMOND)

    assert "\n" not in str(no.value) and kitchen.calls == []
    assert len(kitchen.run(DIAMOND)) == 4, "once the first has ended, it is the second's turn"


def test_drivers_of_two_pipelines_share_a_store(kitchen):
    with only_driver(kitchen.store, "supper"):
        assert len(kitchen.run(DIAMOND)) == 4


def test_a_number_of_steps_at_once_below_one_is_refused(kitchen):
    with pytest.raises(ValueError, match="--at-once=0 is below 1"):
        kitchen.run(DIAMOND, at_once=0)
