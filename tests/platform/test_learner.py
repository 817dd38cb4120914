"""Training steps with a teacher, compiled, and with recomputation: in whole runs."""

import pytest
import torch

from unlatent.platform import checkpoints, runs, tables
from unlatent.platform.training import Worker, train

TOLD = ("model.patch_depth=2", "train.alignment.block=1", "train.alignment.teacher_patch=2", "train.total_images=1024")


class Killed(BaseException):
    """Stands for the death of the process."""


def weights(store, run_id, kind="raw"):
    return checkpoints.load_weights(store, runs.last_checkpoint(store, run_id), kind)


def test_a_teacher_draws_the_features_nearer_step_by_step(store, make_run, teacher):
    train(make_run("train.run=aligned", *TOLD, teacher), store, Worker())

    steps = tables.read(store, "steps").sort_values("images_seen")
    assert steps["alignment_loss"].iloc[-1] < 0.9 * steps["alignment_loss"].iloc[0]


def test_without_a_teacher_nothing_is_logged_of_one(store, make_run):
    train(make_run(), store, Worker())

    assert tables.read(store, "steps")["alignment_loss"].isna().all()


def test_an_aligned_run_is_resumed_bit_for_bit(store, make_run, teacher):
    train(make_run("train.run=undisturbed", *TOLD, teacher), store, Worker())
    seen = []

    def report(checkpoint):
        seen.append(checkpoint)
        if len(seen) == 3:
            raise Killed

    with pytest.raises(Killed):
        train(make_run("train.run=resumed", *TOLD, teacher), store, Worker(report=report))
    train(make_run("train.run=resumed", *TOLD, teacher), store, Worker())

    ours, theirs = weights(store, "resumed"), weights(store, "undisturbed")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_block_that_the_network_does_not_have_is_refused_before_anything_starts(make_run, teacher):
    with pytest.raises(ValueError, match=r"alignment\.block=8 is above patch_depth=1"):
        make_run(teacher)


@pytest.mark.parametrize("what", ["modulation", "blocks"])
def test_recomputation_changes_no_result(store, make_run, what):
    plain, sparing = make_run("train.run=plain"), make_run("train.run=sparing", f"train.recompute={what}")
    train(plain, store, Worker())

    train(sparing, store, Worker())

    ours, theirs = weights(store, "sparing"), weights(store, "plain")
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name])


@pytest.mark.slow
def test_a_compiled_run_learns_what_a_plain_one_learns(store, make_run):
    plain, compiled = make_run("train.run=plain"), make_run("train.run=compiled", "train.compile=true")
    train(plain, store, Worker())

    train(compiled, store, Worker())

    losses = tables.read(store, "steps").sort_values("images_seen").groupby("run_id")["loss"].apply(list)
    assert losses["compiled"] == pytest.approx(losses["plain"], rel=1e-3)


def test_how_it_is_computed_does_not_change_what_a_run_is(make_run):
    assert make_run().run_id == make_run("train.compile=true", "train.recompute=blocks").run_id


def test_a_text_network_is_not_trained_on_classes(make_run):
    with pytest.raises(ValueError, match=r"model\.condition=text needs captions, and these images have none"):
        make_run("model.condition=text", "model.text.encoder=bytes")
    with pytest.raises(ValueError, match=r"google/gemma-2-2b-it needs captions that it has embedded"):
        make_run("model.condition=text")
