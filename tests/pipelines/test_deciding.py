"""When a step is skipped, when it runs, and what is said about it."""

import pytest

from tests.kitchen import DIAMOND
from tests.picture_files import make_pictures, write_folder
from unlatent.pipelines import execution as execution_module
from unlatent.pipelines.runner import StepError
from unlatent.platform import tables
from unlatent.platform.schemas import RATES

TWO = "steps: {a: {run: note}, b: {run: draw}}"


def test_a_second_time_nothing_runs_and_the_reason_is_given(kitchen, capsys):
    kitchen.run(DIAMOND)

    assert kitchen.run(DIAMOND) == []
    out = capsys.readouterr().out
    assert "left: skipped, done before, under the same config, inputs and code" in out
    assert out.count("last says so") == 2, "what a step says at the end is said again"
    rows = kitchen.rows()
    skipped, ran = rows[rows["action"] == "skipped"], rows[rows["action"] == "ran"]
    assert set(skipped["step"] + skipped["key"]) == set(ran["step"] + ran["key"]), "under the same key"


def test_a_changed_config_runs_the_step_and_what_needs_it_and_the_setting_is_named(kitchen):
    kitchen.run(DIAMOND)

    ran = kitchen.run(
        DIAMOND.replace("{run: note, needs: [first]}", "{run: note, needs: [first], overrides: [train.seed=5]}", 1)
    )

    assert ran == ["left", "last"]
    assert kitchen.reasons("ran")["left"] == "train.seed=5, was 0"
    assert kitchen.reasons("ran")["last"] == "what left hands on has changed"


def test_of_many_changed_settings_a_few_are_named(kitchen):
    kitchen.run(TWO)

    kitchen.run(TWO, "model.width=32", "model.heads=2", "train.seed=1", "train.batch_size=8", "train.log_images=64")

    assert kitchen.reasons("ran")["a"] == (
        "model.heads=2, was 4; model.width=32, was 64; train.batch_size=8, was 32; 2 more settings have changed"
    )


def test_changed_code_runs_everything_and_is_named(kitchen, monkeypatch):
    kitchen.run(TWO)
    monkeypatch.setattr(execution_module, "code_version", lambda: "another")

    assert sorted(kitchen.run(TWO)) == ["a", "b"]
    assert set(kitchen.rows()["reason"][-2:]) == {"the code has changed"}


def test_another_action_or_another_need_is_named(kitchen):
    kitchen.run("steps: {a: {run: note}, b: {run: note}}")

    assert kitchen.run("steps: {a: {run: note}, b: {run: measure, needs: [a]}}") == ["b"]

    assert kitchen.reasons("ran")["b"] == "it runs measure, and ran note; it needs a now"


def test_changed_images_run_what_looks_at_them(kitchen, tmp_path):
    write_folder(tmp_path / "pictures", make_pictures())
    given = ("data=imagefolder", f"data.root={tmp_path}/pictures", "data.image_size=8")
    text = "steps: {a: {run: note}, b: {run: look}}"
    kitchen.run(text, *given)
    assert kitchen.run(text, *given) == []

    path = next((tmp_path / "pictures").rglob("*.png"))
    path.with_name("one_more.png").write_bytes(path.read_bytes())

    assert kitchen.run(text, *given) == ["b"]
    assert kitchen.reasons("ran")["b"] == "the files of the data set have changed"


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_outputs_that_are_not_as_they_were_left_are_made_again(kitchen, how):
    kitchen.run(DIAMOND)
    path = kitchen.file("left")
    kitchen.store.delete(path) if how == "gone" else kitchen.store.write_bytes(path, b"touched")

    assert kitchen.run(DIAMOND) == ["left"], "its outputs are as before, so nothing that needs them runs again"
    assert kitchen.reasons("ran")["left"] == f"{path} {'is gone' if how == 'gone' else 'has changed'}"


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_rows_that_are_not_as_they_were_left_are_made_again(kitchen, how):
    text = "steps: {a: {run: measure}, b: {run: measure}}"
    kitchen.run(text)
    tables.remove(kitchen.store, "rates", "a")
    if how == "changed":
        tables.append(kitchen.store, "rates", [dict.fromkeys(RATES) | {"work": "a", "gflops_per_s": 9.0}], name="a")

    assert kitchen.run(text) == ["a"]
    assert kitchen.reasons("ran")["a"] == f"rates where work is a: the rows {'are' if how == 'gone' else 'have'} {how}"


def test_rows_that_were_merged_are_as_they_were_left(kitchen):
    text = "steps: {a: {run: measure}, b: {run: measure}}"
    kitchen.run(text)
    tables.compact(kitchen.store, "rates")
    tables.compact(kitchen.store, "pipeline_steps")

    assert kitchen.run(text) == []


@pytest.mark.parametrize("left", [b"", b"{", b'{"basis": {}}', b"[]", b'{"rows": [1]}'])
def test_a_record_that_cannot_be_read_is_none(kitchen, left):
    kitchen.run(TWO)
    kitchen.store.write_bytes("artifacts/pipelines/dinner/a.json", left)

    assert kitchen.run(TWO) == ["a"]


def test_a_forced_step_runs_and_what_needs_it_only_if_its_outputs_changed(kitchen):
    kitchen.run(DIAMOND)

    assert kitchen.run(DIAMOND, forced=("first", "right")) == ["first", "right"]

    assert set(kitchen.reasons("ran").values()) >= {"--force asks for it"}
    assert {"left", "last"} <= kitchen.reasons("skipped").keys()


@pytest.mark.parametrize(
    ("name", "hint"), [("lest", r"did you mean l(ast|eft)\?"), ("soup", "the steps are first, left, right, last")]
)
def test_a_forced_step_that_is_not_there_is_refused(kitchen, name, hint):
    with pytest.raises(ValueError, match=f"^--force {name}: no step of dinner is called so; {hint}$"):
        kitchen.run(DIAMOND, forced=(name,))
    assert kitchen.calls == []


def test_a_passing_step_runs_only_for_a_step_that_runs(kitchen):
    text = "steps: {open: {run: hold}, ask: {run: note, needs: [open]}}"

    assert kitchen.run(text) == ["open", "ask"]
    assert kitchen.run(text) == []
    assert kitchen.reasons("skipped")["open"] == "nothing that needs it has to run"
    kitchen.store.delete(kitchen.file("ask"))
    assert kitchen.run(text) == ["open", "ask"]
    assert kitchen.reasons("ran")["open"] == "ask needs it"
    assert kitchen.run(text, "sampler.steps=3") == ["open", "ask"], "it would hand on something else"
    assert kitchen.run(text, "sampler.steps=3", forced=("open",)) == ["open"]


def test_where_a_step_runs_does_not_make_it_run_again(kitchen):
    kitchen.run(DIAMOND)

    assert kitchen.run(DIAMOND, "cluster.cpus_per_trial=2", "serve.port=9001") == []


def test_an_override_runs_the_steps_that_read_it_and_no_other(kitchen):
    kitchen.run(TWO)

    assert kitchen.run(TWO, "sampler.steps=7") == ["b"]
    assert kitchen.run(TWO, "sampler.steps=7", "train.seed=2") == ["a"]
    assert kitchen.run(TWO, "sampler.steps=7", "train.seed=2", "evaluation.samples=99", "data.workers=0") == []


def test_a_step_cannot_read_what_its_key_does_not_tell_of(kitchen):
    with pytest.raises(StepError, match="a step reads sampler of the config, and its action's `reads` does not say so"):
        kitchen.run("steps: {a: {run: pry}}")


def test_the_command_wins_over_the_step_and_the_step_over_the_pipeline(kitchen):
    text = """
overrides: [train.seed=1]
steps:
  plain: {run: note}
  own: {run: note, overrides: [train.seed=2]}
"""

    def seeds() -> list[str]:
        return [kitchen.store.read_bytes(kitchen.file(step)).decode().split()[0] for step in ("plain", "own")]

    kitchen.run(text)
    assert seeds() == ["1", "2"]
    kitchen.run(text, "train.seed=3")
    assert seeds() == ["3", "3"]
    kitchen.run(text.replace("overrides: [train.seed=1]\n", ""))
    assert seeds() == ["0", "2"]


def test_a_setting_may_move_within_a_definition_without_a_run(kitchen):
    kitchen.run("steps: {a: {run: note, overrides: [train.seed=4]}}")

    assert kitchen.run("overrides: [train.seed=4]\nsteps: {a: {run: note}}") == []
    assert kitchen.run("steps: {a: {run: note}}", "train.seed=4") == []
