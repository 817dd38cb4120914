"""What a plan says, and that it says it and does nothing."""

import json
import sys

import pytest
import torch

from benchmarks.memory import optimizer_tensors, step_memory
from tests.kitchen import DIAMOND
from unlatent.models import cost
from unlatent.pipelines.__main__ import run_command
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.planning import as_json, plan_pipeline
from unlatent.pipelines.room import run_bytes, training_room
from unlatent.pipelines.work import training
from unlatent.platform import checkpoints, rates, tables
from unlatent.platform.config import compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.learner import make_learner, train_step
from unlatent.platform.provenance import now
from unlatent.platform.runs import plan_run
from unlatent.platform.training import Worker, train


def said(planned) -> dict[str, str]:
    return {each.step: f"{each.would}: {each.why}" for each in planned}


def everything(folder) -> dict[str, tuple[int, bytes]]:
    """Every file, hidden ones too, with when it was written."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_plan_says_what_would_happen_and_runs_nothing(kitchen):
    assert said(kitchen.plan(DIAMOND)) == {
        "first": "run: it has not succeeded before",
        "left": "run: first would run before it",
        "right": "run: first would run before it",
        "last": "run: left, right would run before it",
    }
    assert kitchen.calls == [] and not kitchen.store.exists("")
    kitchen.run(DIAMOND)
    assert {each.split(",")[0] for each in said(kitchen.plan(DIAMOND)).values()} == {"skip: done before"}
    assert said(kitchen.plan(DIAMOND, "train.seed=4"))["first"] == "run: train.seed=4, was 0"
    assert said(kitchen.plan(DIAMOND, forced=("last",)))["last"] == "run: --force asks for it"


def test_a_plan_tells_what_a_run_then_does_and_says(kitchen):
    kitchen.run(DIAMOND)
    kitchen.store.delete(kitchen.file("right"))
    foreseen = said(kitchen.plan(DIAMOND))

    assert kitchen.run(DIAMOND) == ["right"]
    reasons = kitchen.reasons("ran") | kitchen.reasons("skipped")
    for step in ("first", "left", "right"):
        assert foreseen[step].partition(": ")[2] == reasons[step]
    assert foreseen["last"] == "depends: right would run before it, and it only if that hands on something else"


def test_a_plan_knows_that_a_step_with_other_settings_runs_whatever_comes_before(kitchen):
    kitchen.run("steps: {a: {run: draw}, b: {run: note, needs: [a]}}")

    planned = kitchen.plan("steps: {a: {run: draw}, b: {run: note, needs: [a]}}", "sampler.steps=3", "train.seed=1")

    assert said(planned) == {"a": "run: sampler.steps=3, was 12", "b": "run: train.seed=1, was 0"}


def test_a_plan_says_of_a_passing_step_that_it_depends_on_those_that_need_it(kitchen):
    text = "steps: {a: {run: draw}, open: {run: hold, needs: [a]}, ask: {run: note, needs: [open]}}"
    assert said(kitchen.plan(text))["open"] == "run: a would run before it"
    kitchen.run(text)
    kitchen.store.delete(kitchen.file("a"))

    planned = said(kitchen.plan(text))

    assert planned["open"] == "depends: a would run before it, and it only for a step that needs it and runs"
    assert planned["ask"] == "depends: open would run before it, and it only if that hands on something else"
    assert kitchen.run(text) == ["a"]


def test_a_plan_leaves_the_store_as_it_is(kitchen):
    kitchen.run(DIAMOND)
    before = everything(kitchen.folder / "store")

    kitchen.plan(DIAMOND)
    kitchen.plan(DIAMOND, "train.seed=4")

    assert everything(kitchen.folder / "store") == before


def plan(monkeypatch, capsys, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["unlatent", "plan", *arguments])
    assert run_command() == 0
    return capsys.readouterr().out


def test_the_plan_of_a_shipped_pipeline_names_what_each_step_needs_and_computes(tmp_path, monkeypatch, capsys):
    given = ("quickstart", f"store={tmp_path}/store", "cluster.gpus_per_trial=0.5")

    out = plan(monkeypatch, capsys, *given)
    steps = {row["step"]: row for row in map(json.loads, plan(monkeypatch, capsys, *given, "--json").splitlines())}

    assert "a trial: 1 CPU, 0.5 GPU" in out and "sweep: training of 7 trials, 112,000 images = " in out
    assert "train: training, 48,000 images" in out and "the winner of the sweep may be another network" in out
    sweep, train = out.index("sweep: training"), out.index("train: training")
    assert "no rate of training on a GPU is known yet" in out[sweep:train], "which trials are to have, and the run not"
    assert "no rate of training on a CPU is known yet" in out[train:]
    assert list(steps) == load_pipeline("quickstart").order()
    assert (steps["sweep"]["trials"], steps["sweep"]["images"], steps["train"]["trials"]) == (7, 112_000, None)
    assert steps["train"]["needs"] == ["sweep"] and steps["data"]["gflops"] is None
    assert steps["sweep"]["gflops"] > 0 and steps["sweep"]["duration_s"] is None, "no rate is known, so none is made up"
    assert steps["sweep"]["disk_bytes"] > steps["train"]["disk_bytes"] > 0
    assert not (tmp_path / "store").exists()


def test_trials_of_several_workers_are_planned_with_what_their_workers_hold(tmp_path, monkeypatch, capsys):
    crews = ("cluster.workers=2", "cluster.gpus_per_worker=1")

    out = plan(monkeypatch, capsys, "quickstart", f"store={tmp_path}/store", *crews)

    assert "each of a trial's 2 workers: 1 CPU, 1 GPU" in out


def test_a_measured_rate_gives_hours(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "MEASURED_FOR_S", 0)
    execution = Execution(load_pipeline("quickstart"), (f"store={tmp_path}/store", "train.batch_size=8"))
    rows = rates.measure(execution.configs["train"])
    tables.append(execution.store, "rates", rows)

    known = rates.known_rates(execution.store)
    planned = {each.step: json.loads(as_json(each, known)) for each in plan_pipeline(execution)}

    trained = planned["train"]
    assert trained["duration_s"] == pytest.approx(trained["gflops"] / rows[0]["gflops_per_s"])
    assert planned["evaluate"]["duration_s"] > 0 and planned["data"]["duration_s"] is None


def test_each_proportion_of_images_has_its_own_cost(tmp_path):
    execution = Execution(load_pipeline("text_to_image1024"), (f"store={tmp_path}/store",))
    [training] = [each for each in plan_pipeline(execution) if each.step == "train"]
    model = training.works[0].config.model
    rate = rates.Rate(
        work="training", gflops_per_s=1e5, forward_gflops=1.0, device="a GPU", precision="bf16", measured_at=now()
    )

    unknown = json.loads(as_json(training, []))["sizes"]
    found = {(size["width"], size["height"]): size for size in json.loads(as_json(training, [rate]))["sizes"]}

    assert len(found) == 33 and {size["seconds_each"] for size in unknown} == {None}
    assert found[1280, 832]["gflops_each"] == cost.training_gflops(model, 1280 * 832)
    assert found[1280, 832]["seconds_each"] == pytest.approx(found[1280, 832]["gflops_each"] / 1e5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_is_what_a_training_step_comes_to_hold(tmp_path, precision):
    """The allocator's word on weights, gradients, optimizer, average and the rest of one step."""
    told = [
        "model=b",
        "model.width=64",
        "model.heads=2",
        "model.patch_depth=2",
        "data=photographs",
        "data.image_size=64",
    ]
    told += [
        "train=paper",
        "train.grid_samples=1",
        "train.batch_size=8",
        f"train.precision={precision}",
        f"store={tmp_path}/store",
    ]
    config = compose_config(told)
    learner = make_learner(config.model, config.train, torch.device("cpu"))
    images, labels = torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8), torch.zeros(8, dtype=torch.long)

    def step():
        train_step(config.train, learner, images, labels, 0, 1e-4)

    step()
    kept = [*learner.network.parameters(), *learner.averages.networks["ema"].parameters()]
    measured = step_memory(step, [*kept, *optimizer_tensors(learner.optimizer)], torch.device("cpu"))

    room = training_room(training(config, on_gpu=False))
    assert measured.state == pytest.approx(room.weights + room.averages + room.moments, rel=0.01)
    assert 0.75 < measured.peak / room.total < 1.25


def test_disk_is_what_the_checkpoints_of_a_run_come_to_take(tmp_path):
    small = ["model.width=64", "model.heads=2", "train.total_images=96", "train.checkpoint_images=32"]
    small += ["train.grid_samples=1", "sampler.steps=1"]
    text = f"steps: {{a: {{run: train, overrides: [{', '.join(small)}]}}}}"
    (tmp_path / "one.yaml").write_text(text)
    execution = Execution(load_pipeline(str(tmp_path / "one.yaml")), (f"store={tmp_path}/store",))
    config, store = execution.configs["a"], execution.store
    [foreseen] = plan_pipeline(execution)
    run = plan_run(config, open_dataset(config.data, store))

    train(run, store, Worker())

    folder = checkpoints.folder(run.run_id)
    assert sum(each.size_bytes for each in store.walk(folder)) == pytest.approx(foreseen.disk_bytes, rel=0.1)
    assert foreseen.disk_bytes == run_bytes(config) and len(store.list(folder)) == 3
    assert foreseen.memory_bytes > 5 * 4 * cost.parameters(config.model)
