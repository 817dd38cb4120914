"""The shipped actions: which settings each reads, and whose settings win."""

import json

import pytest

from unlatent.pipelines.basis import Basis, share
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.records import Record
from unlatent.pipelines.steps import ACTIONS, with_winner
from unlatent.platform.config import compose_config, keys

NOTHING_BEFORE = Basis("", {}, {}, None, {}, "")


@pytest.mark.parametrize(
    ("setting", "steps"),
    [
        ("model.width=32", {"sweep", "train"}),
        ("train.learning_rate=0.5", {"sweep", "train"}),
        ("sampler.steps=3", {"sweep", "evaluate", "select"}),
        ("evaluation.samples=77", {"sweep", "evaluate", "select"}),
        ("evaluation.minimum_accuracy=0.5", {"data", "sweep", "evaluate", "select"}),
        ("serve.metric=kid", {"select"}),
        ("serve.port=9001", set()),
        ("cluster.workers=2", set()),
        ("data.workers=0", set()),
        ("sweep.metric=kid", {"sweep"}),
    ],
)
def test_an_override_changes_the_keys_of_the_steps_that_it_concerns(tmp_path, setting, steps):
    """Of the steps as such: what they hand on is taken to be the same."""
    given = (f"store={tmp_path}/store",)

    def keys_under(*overrides: str) -> dict[str, str]:
        execution = Execution(load_pipeline("quickstart"), (*given, *overrides))
        basis = {name: execution.basis(step, NOTHING_BEFORE) for name, step in execution.pipeline.steps.items()}
        return {name: each.key for name, each in basis.items()}

    before, now = keys_under(), keys_under(setting)

    assert {name for name in now if now[name] != before[name]} == steps


def test_what_an_action_reads_are_parts_of_the_config():
    known = {*keys(), "about"}

    for name, action in ACTIONS.items():
        assert set(action.reads) <= known, name


def test_a_share_of_a_config_is_what_is_named_and_all_below_it():
    config = {"serve": {"metric": "fid", "metrics": 1}, "data": {"kind": "digits"}, "database": 2}

    assert share(config, ("serve.metric", "data")) == {"serve.metric": "fid", "data.kind": "digits"}


def test_a_steps_own_settings_win_over_what_the_trials_shared_and_the_knobs_over_both(tmp_path):
    winner = {"shared": ["train.total_images=16000", "train.seed=3"], "knobs": ["model.patch_size=4"]}
    settings = ["train.total_images=48000", "model.patch_size=2", f"store={tmp_path}"]

    config = compose_config(with_winner(settings, {"sweep": {"winner": json.dumps(winner)}}))

    assert (config.train.total_images, config.train.seed, config.model.patch_size) == (48000, 3, 4)
    assert with_winner(settings, {"data": {}}) == settings


def test_another_winner_is_another_config_of_what_is_trained(tmp_path):
    execution = Execution(load_pipeline("quickstart"), (f"store={tmp_path}/store",))
    step, sweep = (execution.pipeline.steps[name] for name in ("train", "sweep"))

    def patch_size_after(knob: str) -> tuple[int, object]:
        winner = json.dumps({"shared": [], "knobs": [knob]})
        execution.done = {"sweep": Record(execution.basis(sweep, NOTHING_BEFORE), "", {"winner": winner})}
        return execution.config_of(step).model.patch_size, execution.basis(step).config["model.patch_size"]

    assert patch_size_after("model.patch_size=2") == (2, 2)
    assert patch_size_after("model.patch_size=4") == (4, 4)
