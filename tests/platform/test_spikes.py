"""Runs whose gradients go wrong at a chosen step: by a network whose output is multiplied there."""

import math

import pytest
import torch
from torch import nn

from unlatent.platform import checkpoints, runs, tables
from unlatent.platform.spikes import NormGauge, SpikeConfig
from unlatent.platform.training import Worker, train

SETTLED = ("train.total_images=2048", "train.warmup_images=0")  # 64 steps: enough for a norm to be typical


CONSTANT = ("train.schedule=constant", "train.warmup_images=0")


class Killed(BaseException):
    """Stands for the death of the process."""


class Faulty(nn.Module):
    """A network that goes wrong in some steps, counted from 1; in which, others are told through a set they share."""

    def __init__(self, network: nn.Module, steps: set[int], factor: float, once: bool) -> None:
        super().__init__()
        self.network, self.steps, self.factor, self.once = network, steps, factor, once
        self.step = 0

    def forward(self, *inputs):
        self.step += 1
        if self.step not in self.steps:
            return self.network(*inputs)
        if self.once:
            self.steps.remove(self.step)
        return self.network(*inputs) * self.factor


def worker(steps: set[int], factor: float = math.nan, once: bool = False, **others) -> Worker:
    return Worker(wrap=lambda network: Faulty(network, steps, factor, once), **others)


def events(store):
    return tables.read(store, "events").sort_values(["run_id", "images_seen"])


def weights(store, run_id):
    return checkpoints.load_weights(store, runs.last_checkpoint(store, run_id), "raw")


def test_a_step_on_a_gradient_that_is_not_finite_is_not_taken_and_is_a_row(store, make_run):
    train(make_run("train.run=mine"), store, worker({3}))

    [event] = events(store).to_dict("records")
    assert (event["event"], event["reason"], event["images_seen"], event["step"]) == (
        "step_skipped", "non_finite", 96, 3,
    )  # fmt: skip
    assert math.isnan(event["grad_norm"])
    steps = tables.read(store, "steps").sort_values("images_seen")
    assert steps["skipped"].to_list() == [0, 1, 0, 0] and steps["loss"].notna().all()
    assert all(tensor.isfinite().all() for tensor in weights(store, "mine").values())
    assert tables.row(store, "runs", "mine")["status"] == "succeeded"


def test_an_interval_in_which_no_step_was_taken_has_no_loss(store, make_run):
    train(make_run(), store, worker({3, 4}))

    assert tables.read(store, "steps").sort_values("images_seen")["loss"].isna().to_list() == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("factor", "skipped"), [("train.spikes.factor=10", 1), ("train.spikes.factor=null", 0)])
def test_a_spike_is_what_is_far_above_the_typical_norm_where_a_factor_says_so(store, make_run, factor, skipped):
    train(make_run(*SETTLED, factor), store, worker({60}, 1000.0))

    assert events(store)["reason"].to_list() == ["spike"] * skipped


def test_a_run_goes_on_from_its_last_checkpoint_at_a_lower_rate(store, make_run):
    run = make_run("train.run=mine", "train.spikes.action=rollback", *CONSTANT)

    train(run, store, worker({6}, once=True))

    [event] = events(store).to_dict("records")
    assert (event["event"], event["images_seen"]) == ("rolled_back", 192)
    steps = tables.read(store, "steps").sort_values("images_seen")
    rate = run.config.train.learning_rate
    assert steps["images_seen"].to_list() == [64, 128, 192, 256]
    assert steps["learning_rate"].to_list() == [rate, rate, rate / 2, rate / 2]
    assert tables.row(store, "runs", "mine")["status"] == "succeeded"


def test_a_run_killed_after_a_rollback_goes_on_at_the_lower_rate(store, make_run):
    settings = ("train.spikes.action=rollback", "train.checkpoint_images=64")
    train(make_run("train.run=undisturbed", *settings), store, worker({3}, once=True))
    seen = []

    def report(checkpoint):
        seen.append(checkpoint)
        if len(seen) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(make_run("train.run=resumed", *settings), store, worker({3}, once=True, report=report))
    train(make_run("train.run=resumed", *settings), store, Worker())

    ours, theirs = weights(store, "resumed"), weights(store, "undisturbed")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert events(store).groupby("run_id").size().to_dict() == {"resumed": 1, "undisturbed": 1}


def test_a_resumed_run_skips_what_the_undisturbed_one_skips_and_says_so_once(store, make_run):
    settings = (*SETTLED, "train.spikes.factor=10", "train.checkpoint_images=512", "train.log_images=128")
    train(make_run("train.run=undisturbed", *settings), store, worker({62}, 1000.0))
    seen = []

    def report(checkpoint):
        seen.append(checkpoint)
        if len(seen) == 3:
            raise Killed

    with pytest.raises(Killed):
        train(make_run("train.run=resumed", *settings), store, Worker(report=report))
    train(make_run("train.run=resumed", *settings), store, worker({62 - 3 * 512 // 32}, 1000.0))

    found = events(store).drop(columns=["run_id", "logged_at"])
    assert len(found) == 2 and found.iloc[0].equals(found.iloc[1])
    ours, theirs = weights(store, "resumed"), weights(store, "undisturbed")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("settings", "faulty", "message"),
    [
        (["train.spikes.action=stop"], {3}, "the gradient norm was nan at 96 images; train.spikes.action=skip"),
        (["train.spikes.limit=1"], {3, 5}, "at 160 images; 2 steps skipped and 0 rollbacks, of train.spikes.limit=1"),
        (["train.spikes.action=rollback", "train.spikes.limit=2"], {6}, "2 rollbacks, of train.spikes.limit=2"),
        ([], {8}, "at 256 images, in the last step of all"),
    ],
)
def test_a_run_that_is_not_to_go_on_fails_with_why_and_its_rows(store, make_run, settings, faulty, message):
    run = make_run("train.checkpoint_images=256", *settings)

    with pytest.raises(FloatingPointError, match=message):
        train(run, store, worker(faulty))

    row = tables.row(store, "runs", run.run_id)
    assert row["status"] == "failed" and message in row["error"] and "learning_rate" in row["error"]
    assert (events(store)["event"] == "step_skipped").any()


def test_what_is_done_about_spikes_may_change_from_one_go_to_the_next(make_run):
    assert make_run().run_id == make_run("train.spikes.action=stop", "train.spikes.factor=5").run_id


def test_the_typical_norm_is_learned_from_steps_taken_alone():
    gauge = NormGauge(10.0, torch.device("cpu"))
    for norm in [2.0] * 60:
        assert gauge.refuse(torch.tensor(norm)) == 0

    assert [gauge.refuse(torch.tensor(norm)).item() for norm in (19.0, math.inf, math.nan)] == [0, 1, 1]
    assert [gauge.refuse(torch.tensor(norm)).item() for norm in (50.0, 50.0)] == [1, 1]
    assert gauge.log_norm.exp().item() == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"action": "ignore"}, "train.spikes.action='ignore' is not one of skip, rollback, stop"),
        ({"factor": 1.0}, "train.spikes.factor=1.0 is not above 1; 10 would do"),
        ({"limit": -1}, "train.spikes.limit=-1 is below 0"),
        ({"lowered": 0.0}, "train.spikes.lowered=0.0 is not above 0 and at most 1; 0.5 would do"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(settings, message):
    with pytest.raises(ValueError) as refusal:
        SpikeConfig(**settings)

    assert str(refusal.value) == message
