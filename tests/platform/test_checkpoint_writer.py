import time

import pytest
import torch

from unlatent.platform import checkpoints, progress, runs, tables
from unlatent.platform.checkpoint_writer import CheckpointWriter, copied, moment_of
from unlatent.platform.conditions import examples
from unlatent.platform.devices import local_device
from unlatent.platform.learner import make_learner, train_step
from unlatent.platform.step_log import StepLog
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train

LONG = ("train.total_images=512", "train.checkpoint_images=128", "train.keep_checkpoints=9")


class SlowStore(Store):
    """Takes the checkpoint at 128 images once the loop has got further than that, and notes how far."""

    reached = 0

    def new_folder(self, path):
        deadline = time.monotonic() + 20
        while path.endswith("/000000000128") and self.reached <= 128 and time.monotonic() < deadline:
            now = progress.latest(self, path.split("/")[1])
            self.reached = now.images_seen if now else 0
            time.sleep(0.01)
        return super().new_folder(path)


def state_at(store, run_id, images_seen):
    checkpoint = checkpoints.find(store, f"checkpoints/{run_id}/{images_seen:012d}")
    return {"hash": checkpoint.hash, "state": checkpoints.load_state(store, checkpoint)}


def flat(tree):
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree, key=str) for leaf in flat(tree[key])]
    return [leaf for value in tree for leaf in flat(value)] if isinstance(tree, list | tuple) else [tree]


def same(ours, theirs):
    pairs = zip(flat(ours), flat(theirs), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_training_goes_on_while_a_checkpoint_is_written_and_the_checkpoint_is_of_its_own_moment(store, make_run):
    train(make_run("train.run=one", *LONG), store, Worker())
    slow = SlowStore(store.root + "-slow")

    train(make_run("train.run=one", *LONG), slow, Worker())

    assert slow.reached > 128
    for images_seen in (128, 256, 384, 512):
        ours, theirs = (state_at(each, "one", images_seen) for each in (slow, store))
        assert same(ours, theirs)


def test_one_that_decides_on_a_checkpoint_is_asked_before_the_next_step(store, make_run):
    run, at = make_run("train.run=one", "train.log_images=32", *LONG), []

    def report(checkpoint):
        at.append((checkpoint.images_seen, progress.latest(store, "one").images_seen))

    train(run, store, Worker(report=report, reports_at_once=True))

    assert at == [(seen, seen) for seen in (128, 256, 384, 512)]


def test_what_is_reported_is_whole_and_in_the_table(store, make_run):
    run, reported = make_run("train.run=one", *LONG), []

    def report(checkpoint):
        checkpoints.verify(store, checkpoint)
        row = tables.row(store, "runs", "one")
        assert (row["images_seen"], row["checkpoint_hash"]) == (checkpoint.images_seen, checkpoint.hash)
        steps = tables.read(store, "steps")["images_seen"]
        reported.append((checkpoint.images_seen, steps.max()))

    train(run, store, Worker(report=report))

    assert reported == [(seen, seen) for seen in (128, 256, 384, 512)]


def test_what_was_copied_stays_when_training_goes_on(make_run):
    run = make_run()
    learner = make_learner(run.config.model, run.config.train, local_device())
    images, labels = (torch.as_tensor(part) for part in (run.dataset.train.read(range(32)), torch.arange(32) % 10))
    train_step(run.config.train, learner, images, labels, 0, 0.1)
    learner.images_seen += 32
    shown = examples(run.dataset, run.config.model, run.config.train.grid_samples)
    moment = moment_of(run, learner, StepLog(run.run_id, 0, local_device(), 1.0), shown)
    before = copied({"weights": moment.weights, "state": moment.state})

    train_step(run.config.train, learner, images, labels, 0, 0.1)

    assert same({"weights": moment.weights, "state": moment.state}, before)
    assert not same(before["weights"]["raw"], learner.network.state_dict())
    assert not same(before["weights"]["ema"], learner.averages.main.state_dict())
    assert not same(before["state"]["optimizer"], learner.optimizer.state_dict())


def test_an_error_of_writing_is_the_loops_at_the_next_checkpoint(store, make_run):
    """The folder of samples is a file: a grid cannot be written into it."""
    run = make_run("train.run=one", *LONG)
    store.write_bytes("artifacts/one/samples", b"in the way")

    with pytest.raises(FileExistsError):
        train(run, store, Worker())

    row = tables.row(store, "runs", "one")
    assert row["status"] == "failed" and "FileExistsError" in row["error"]
    assert progress.latest(store, "one").images_seen <= 256, "no other was begun"

    store.delete("artifacts/one/samples")
    train(run, store, Worker())

    assert runs.find(store, "one")["status"] == "succeeded"


def test_a_stop_stays_a_stop_and_waits_for_what_is_being_written():
    ended = []

    def write():
        time.sleep(0.2)
        ended.append(True)
        raise OSError("no room")

    with pytest.raises(KeyboardInterrupt), CheckpointWriter(print) as writer:
        writer.start(write)
        raise KeyboardInterrupt

    assert ended == [True]


def test_an_error_of_writing_is_not_lost_where_the_loop_fails_too():
    def write():
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"), CheckpointWriter(print) as writer:
        writer.start(write)
        raise RuntimeError("the loop")


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ([], [64, 256]),
        (["train.keep_best=2"], [64, 128, 256]),
        (["train.keep_best_by=recall"], [192, 256]),
        (["train.keep_best=0"], [256]),
    ],
)
def test_the_best_measured_checkpoints_are_kept_beside_the_last(store, make_run, row_of, settings, kept):
    """They are measured as they come, each worse than the one before by FID and better by recall."""
    run = make_run("train.run=one", "train.checkpoint_images=64", "train.keep_checkpoints=1", *settings)

    def measure(checkpoint):
        shared = {"run_id": "one", "checkpoint": checkpoint.path, "samples": 100}
        values = {"fid": float(checkpoint.images_seen), "recall": float(checkpoint.images_seen)}
        rows = [row_of("evaluations", metric=metric, value=value, **shared) for metric, value in values.items()]
        tables.append(store, "evaluations", rows)

    train(run, store, Worker(report=measure, reports_at_once=True))

    assert [found.images_seen for found in checkpoints.all_of(store, "one")] == kept


def test_each_way_of_measuring_has_a_best_that_is_kept(store, make_run, row_of):
    def measure(checkpoint):
        values = {50: checkpoint.images_seen, 100: -checkpoint.images_seen if checkpoint.images_seen < 192 else 0}
        shared = {"run_id": "one", "checkpoint": checkpoint.path, "metric": "fid"}
        rows = [row_of("evaluations", samples=samples, value=float(fid), **shared) for samples, fid in values.items()]
        tables.append(store, "evaluations", rows)

    run = make_run("train.run=one", "train.checkpoint_images=64", "train.keep_checkpoints=1")
    train(run, store, Worker(report=measure, reports_at_once=True))

    assert [found.images_seen for found in checkpoints.all_of(store, "one")] == [64, 128, 256]
