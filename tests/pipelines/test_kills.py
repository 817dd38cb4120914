"""Pipelines whose process is killed, as by `kill -9`, or stopped."""

import os
import signal
import time

import pytest

from tests.kitchen import DIAMOND, Kitchen, in_process
from unlatent.pipelines import steps

RESTING = {
    "alone": "steps: {a: {run: note}, b: {run: rest, needs: [a]}, c: {run: note, needs: [b]}}",
    "beside another": "steps: {a: {run: note}, b: {run: rest}, d: {run: rest}, c: {run: note, needs: [b, d]}}",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Kitchen:
    kitchen = Kitchen(tmp_path_factory.mktemp("undisturbed"))
    with in_process(kitchen.folder, DIAMOND) as process:
        process.join(60)
        assert process.exitcode == 0, (kitchen.folder / "said").read_text()
    return kitchen


def run_to_the_end(kitchen: Kitchen) -> str:
    (kitchen.folder / "said").unlink()
    with in_process(kitchen.folder, DIAMOND) as process:
        process.join(60)
        said = (kitchen.folder / "said").read_text()
        assert process.exitcode == 0, said
    return said


@pytest.mark.parametrize(  # `first` has the main thread, `right` one of several
    ("step", "point"),
    [("first", "start"), ("first", "action"), ("first", "record"), ("first", "row"), ("right", "action")],
)
def test_killed_at_any_point_of_a_step_the_same_command_ends_in_the_same_state(tmp_path, undisturbed, step, point):
    kitchen = Kitchen(tmp_path)
    with in_process(tmp_path, DIAMOND, kill=(step, point)) as process:
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "said").read_text()
    done = point in ("record", "row")

    said = run_to_the_end(kitchen)

    assert kitchen.left() == undisturbed.left()
    rows, theirs = kitchen.rows(), undisturbed.rows()
    keys = (each[each["action"] == "ran"].set_index("step")["key"].to_dict() for each in (rows, theirs))
    assert next(keys) == next(keys)
    assert (rows["action"] == "ran").sum() == 4, "each step is told of once"
    assert rows["execution_id"].is_unique and not (rows["action"] == "running").any()
    assert (step in set(rows["step"][rows["action"] == "lost"])) == (not done)
    assert (f"{step}: skipped, done before" in said) == done
    assert (f"{step}: was cut off when its process was killed" in said) == (not done)


@pytest.mark.parametrize(("number", "how"), [(signal.SIGINT, "alone"), (signal.SIGTERM, "beside another")])
def test_stopped_it_says_how_to_go_on_and_the_rows_say_so(tmp_path, number, how):
    kitchen = Kitchen(tmp_path)
    with in_process(tmp_path, RESTING[how]) as process:
        wait_for(lambda: all(begun(kitchen, step) for step in resting(how)))
        os.kill(process.pid, number)
        process.join(30)

        assert process.exitcode == 130
    assert "stopped; the same command goes on from here" in (tmp_path / "said").read_text()
    rows = kitchen.rows().set_index("step")
    assert rows["action"].to_dict() == {"a": "ran"} | dict.fromkeys(resting(how), "stopped")
    assert set(rows.loc[resting(how), "error"]) == {"by Ctrl-C or SIGTERM"}
    assert not [name for name in kitchen.store.list("artifacts/pipelines/dinner") if "attempt" in name]


def test_a_second_command_is_refused_while_the_first_runs_and_not_once_it_was_killed(tmp_path, monkeypatch):
    first, text = Kitchen(tmp_path), RESTING["alone"]
    with in_process(tmp_path, text) as process:
        wait_for(lambda: begun(first, "b"))
        with in_process(tmp_path, text) as second:
            second.join(30)
            assert second.exitcode == 2
        [refusal] = [line for line in (tmp_path / "said").read_text().splitlines() if line.startswith("error: ")]
        assert f"pipeline 'dinner' is being run by process {process.pid} on " in refusal
        process.kill()
        process.join()

    for name, action in (first.actions | {"rest": first.actions["note"]}).items():
        monkeypatch.setitem(steps.ACTIONS, name, action)
    assert first.run(text) == ["b", "c"]


def resting(how: str) -> list[str]:
    return ["b"] if how == "alone" else ["b", "d"]


def begun(kitchen: Kitchen, step: str) -> bool:
    return kitchen.store.exists(f"artifacts/pipelines/dinner/{step}/begun")


def wait_for(reached, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)
