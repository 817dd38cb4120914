"""The runner, with steps that only count and write."""

import threading
import time

import pytest

from unlatent.pipelines import steps
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.planning import plan_pipeline
from unlatent.pipelines.records import Outputs
from unlatent.pipelines.runner import Execution, StepError, run_pipeline
from unlatent.pipelines.steps import Action
from unlatent.platform import tables
from unlatent.platform.store import Store

DIAMOND = """
steps:
  first: {run: note}
  left: {run: note, needs: [first]}
  right: {run: note, needs: [first]}
  last: {run: note, needs: [left, right]}
"""


class Kitchen:
    """A store, a definition, and what the steps did."""

    def __init__(self, folder, monkeypatch) -> None:
        self.folder, self.store = folder, Store(folder / "store")
        self.calls: list[str] = []
        self.failing: set[str] = set()
        for name, passing in (("note", False), ("hold", True)):
            monkeypatch.setitem(steps.ACTIONS, name, Action(self.note, passing=passing))
        monkeypatch.setitem(steps.ACTIONS, "meet", Action(self.meet))
        self.meeting = threading.Barrier(2, timeout=20)

    def note(self, context) -> Outputs:
        self.calls.append(context.step)
        if context.step in self.failing:
            raise RuntimeError(f"{context.step} broke")
        path = f"{context.folder}/file"
        context.store.write_bytes(path, f"{context.config.train.seed} {sorted(context.inputs)}".encode())
        return Outputs({"seed": str(context.config.train.seed)}, (path,), message=f"{context.step} says so")

    def meet(self, context) -> Outputs:
        """Returns only if another step is in here at the same time."""
        self.meeting.wait()
        return self.note(context)

    def run(self, text: str, *overrides: str) -> list[str]:
        """Runs a definition. Returns the steps that ran."""
        path = self.folder / "dinner.yaml"
        path.write_text(text)
        self.calls.clear()
        run_pipeline(load_pipeline(str(path)), [f"store={self.store.root}", *overrides])
        return self.calls

    def plan(self, text: str, *overrides: str) -> dict[str, str]:
        path = self.folder / "dinner.yaml"
        path.write_text(text)
        rows = plan_pipeline(Execution(load_pipeline(str(path)), (f"store={self.store.root}", *overrides)))
        return {row["step"]: f"{row['would']}: {row['why']}" for row in rows}

    def rows(self):
        return tables.read(self.store, "pipeline_steps").sort_values("started_at")


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    return Kitchen(tmp_path, monkeypatch)


def test_steps_run_in_order_and_leave_a_row_each(kitchen, capsys):
    ran = kitchen.run(DIAMOND)

    assert ran[0] == "first" and ran[-1] == "last" and sorted(ran) == ["first", "last", "left", "right"]
    rows = kitchen.rows()
    assert list(rows["action"]) == ["ran"] * 4 and rows["error"].isna().all()
    assert "last says so" in capsys.readouterr().out


def test_a_second_time_nothing_runs_and_the_reason_is_given(kitchen, capsys):
    kitchen.run(DIAMOND)

    assert kitchen.run(DIAMOND) == []
    out = capsys.readouterr().out
    assert "left: skipped, done before, under the same config, inputs and code" in out
    assert out.count("last says so") == 2, "what a step says at the end is said again"
    assert (kitchen.rows()["action"] == "skipped").sum() == 4


def test_what_is_independent_runs_at_once(kitchen):
    text = "steps: {a: {run: meet}, b: {run: meet}}"

    assert sorted(kitchen.run(text)) == ["a", "b"], "each waits for the other, so they ran together"


def test_a_changed_config_runs_the_step_and_what_needs_it(kitchen):
    kitchen.run(DIAMOND)

    ran = kitchen.run(
        DIAMOND.replace("{run: note, needs: [first]}", "{run: note, needs: [first], overrides: [train.seed=5]}", 1)
    )

    assert ran == ["left", "last"]
    assert "its config, its inputs or the code have changed" in set(kitchen.rows()["reason"])


def test_where_a_step_runs_does_not_make_it_run_again(kitchen):
    kitchen.run(DIAMOND)

    assert kitchen.run(DIAMOND, "cluster.cpus_per_trial=2", "serve.port=9001") == []


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_outputs_that_are_not_as_they_were_left_are_made_again(kitchen, how):
    kitchen.run(DIAMOND)
    path = "artifacts/pipelines/dinner/left/file"
    kitchen.store.delete(path) if how == "gone" else kitchen.store.write_bytes(path, b"touched")

    assert kitchen.run(DIAMOND) == ["left"], "its outputs are as before, so nothing that needs them runs again"
    assert f"{path} {'is gone' if how == 'gone' else 'has changed'}" in set(kitchen.rows()["reason"])


def test_a_failure_stops_only_what_needs_it(kitchen):
    kitchen.failing = {"left"}

    with pytest.raises(StepError, match="step left failed: left broke"):
        kitchen.run(DIAMOND)

    assert sorted(kitchen.calls) == ["first", "left", "right"]
    assert "RuntimeError: left broke" in set(kitchen.rows()["error"])
    kitchen.failing = set()
    assert kitchen.run(DIAMOND) == ["left", "last"], "the same command goes on"


def test_a_step_is_tried_again_as_often_as_it_says(kitchen):
    kitchen.failing = {"only"}

    with pytest.raises(StepError):
        kitchen.run("steps: {only: {run: note, retries: 2}}")

    assert kitchen.calls == ["only"] * 3
    assert list(kitchen.rows()["attempt"]) == [1, 2, 3]


def test_a_passing_step_runs_only_for_a_step_that_runs(kitchen):
    text = "steps: {open: {run: hold}, ask: {run: note, needs: [open]}}"

    assert kitchen.run(text) == ["open", "ask"]
    assert kitchen.run(text) == []
    assert kitchen.rows().iloc[-2]["reason"] == "nothing that needs it has to run"
    kitchen.store.delete("artifacts/pipelines/dinner/ask/file")
    assert kitchen.run(text) == ["open", "ask"]


def test_a_plan_says_what_would_happen_and_runs_nothing(kitchen):
    assert kitchen.plan(DIAMOND) == {
        "first": "run: it has not succeeded before",
        "left": "run: first would run before it",
        "right": "run: first would run before it",
        "last": "run: left, right would run before it",
    }
    assert kitchen.calls == [] and not kitchen.store.exists("")
    kitchen.run(DIAMOND)
    assert set(kitchen.plan(DIAMOND).values()) == {"skip: done before, under the same config, inputs and code"}
    assert kitchen.plan(DIAMOND, "train.seed=4")["first"] == "run: its config, its inputs or the code have changed"


def test_a_config_that_cannot_work_is_refused_before_anything_starts(kitchen):
    text = DIAMOND.replace("last: {run: note,", "last: {run: note, overrides: [model.patch_size=3],")

    with pytest.raises(ValueError, match="patch_size=3"):
        kitchen.run(text)

    assert kitchen.calls == [] and not kitchen.store.exists("")


def test_steps_that_run_at_once_do_not_wait_for_the_slowest_to_be_noted(kitchen, monkeypatch):
    def slow(context):
        time.sleep(0.5)
        return kitchen.note(context)

    monkeypatch.setitem(steps.ACTIONS, "slow", Action(slow))

    ran = kitchen.run("steps: {a: {run: slow}, b: {run: note}, c: {run: note, needs: [b]}}")

    assert ran == ["b", "c", "a"]
