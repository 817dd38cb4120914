import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psutil
import pytest
import torch

from tests.picture_files import make_pictures, write_parquet
from unlatent.platform import checkpoints, lost_runs, progress, runs, tables
from unlatent.platform.learner import mirrored
from unlatent.platform.training import Worker, train


class Killed(BaseException):
    """Stands for the death of the process: nothing that the code catches."""


def kill_at(checkpoint_number: int):
    seen = []

    def report(checkpoint):
        seen.append(checkpoint)
        if len(seen) == checkpoint_number:
            raise Killed

    return report


def weights(store, run_id, kind):
    return checkpoints.load_weights(store, runs.last_checkpoint(store, run_id), kind)


def test_a_run_ends_with_a_row_steps_checkpoints_and_a_grid(store, make_run):
    run = make_run()

    train(run, store, Worker())

    row = tables.row(store, "runs", run.run_id)
    assert (row["status"], row["images_seen"], row["patch_size"], row["window"]) == ("succeeded", 256, 4, 4)
    assert row["training_gflops"] > row["forward_gflops"] * 256
    assert row["error"] is None and row["ended_at"] >= row["started_at"] and row["code_version"]
    assert list(tables.read(store, "steps")["images_seen"]) == [64, 128, 192, 256]
    assert [found.images_seen for found in checkpoints.all_of(store, run.run_id)] == [128, 256]
    assert store.list(f"artifacts/{run.run_id}/samples") == ["000000000128.png", "000000000256.png"]


def test_same_seed_same_losses_and_weights(store, make_run):
    losses = []
    for name in ("one", "two"):
        run = make_run(f"train.run={name}")
        train(run, store, Worker())
        losses.append(list(tables.read(store, "steps").query("run_id == @name")["loss"]))

    assert losses[0] == losses[1]
    one, two = weights(store, "one", "ema"), weights(store, "two", "ema")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_another_seed_gives_another_run(make_run):
    assert make_run().run_id != make_run("train.seed=1").run_id


def test_how_a_run_is_watched_does_not_change_what_it_is(make_run):
    assert make_run().run_id == make_run("train.log_images=32", "train.keep_checkpoints=9", "serve.port=9000").run_id


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_resumed_run_is_bit_for_bit_the_undisturbed_one(store, make_run, cut):
    undisturbed = make_run("train.run=undisturbed", "train.checkpoint_images=64")
    train(undisturbed, store, Worker())
    resumed = make_run("train.run=resumed", "train.checkpoint_images=64")
    with pytest.raises(Killed):
        train(resumed, store, Worker(report=kill_at(cut)))
    assert tables.row(store, "runs", "resumed")["status"] == "running"

    train(resumed, store, Worker())

    steps = tables.read(store, "steps").sort_values("images_seen")
    by_run = {name: rows["loss"].to_list() for name, rows in steps.groupby("run_id")}
    assert by_run["resumed"] == by_run["undisturbed"]
    for kind in ("raw", "ema"):
        ours, theirs = weights(store, "resumed", kind), weights(store, "undisturbed", kind)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert tables.row(store, "runs", "resumed")["status"] == "succeeded"


def test_a_run_cut_off_after_its_last_checkpoint_still_reports_it_and_has_its_outcome(store, make_run):
    run = make_run()
    with pytest.raises(Killed):
        train(run, store, Worker(report=kill_at(2)))
    whole = tables.row(store, "runs", run.run_id)
    for column in ("loss", "duration_s", "images_per_s", "peak_memory_bytes"):
        tables.replace(store, "runs", tables.row(store, "runs", run.run_id) | {column: None})
    reported = []

    train(run, store, Worker(report=reported.append))

    assert [checkpoint.images_seen for checkpoint in reported] == [256]
    row = tables.row(store, "runs", run.run_id)
    assert row["loss"] == whole["loss"] and row["peak_memory_bytes"] == whole["peak_memory_bytes"]
    assert row["duration_s"] == pytest.approx(whole["duration_s"])


def test_steps_are_not_doubled_when_a_compacted_run_is_trained_again(store, make_run):
    run = make_run()
    train(run, store, Worker())
    tables.compact(store, "steps", runs.finished_files(store, "steps"))
    store.delete(f"checkpoints/{run.run_id}/000000000256")

    train(run, store, Worker())

    assert sorted(tables.read(store, "steps")["images_seen"]) == [64, 128, 192, 256]


def test_a_run_whose_last_checkpoint_is_damaged_is_not_done(store, make_run):
    run = make_run()
    train(run, store, Worker())
    assert runs.is_done(store, run)

    store.write_bytes(f"checkpoints/{run.run_id}/000000000256/meta.json", b"{")

    assert not runs.is_done(store, run)


def test_what_a_killed_writer_left_is_cleared_away(store, make_run):
    run = make_run()
    store.write_bytes(f"checkpoints/{run.run_id}/.000000000128.{'0f' * 16}/model.safetensors", b"half")

    train(run, store, Worker())

    assert not [path for path in store.local(f"checkpoints/{run.run_id}").iterdir() if path.name.startswith(".")]


def test_steps_beyond_the_last_checkpoint_are_not_doubled(store, make_run):
    """The steps are written, then the process dies before the checkpoint is."""
    run = make_run()
    with pytest.raises(Killed):
        train(run, store, Worker(report=kill_at(2)))
    store.delete(runs.last_checkpoint(store, run.run_id).path)

    train(run, store, Worker())

    assert sorted(tables.read(store, "steps")["images_seen"]) == [64, 128, 192, 256]


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("file", ["state.pt", "model.safetensors", "meta.json"])
def test_a_last_checkpoint_that_is_cut_off_is_passed_over_in_words_and_the_end_is_the_same(
    store, make_run, capsys, file
):
    run = make_run()
    train(run, store, Worker())
    before = checkpoints.find(store, runs.last_checkpoint(store, run.run_id).path)
    cut_in_half(store.local(f"{before.path}/{file}"))

    train(run, store, Worker())

    printed = capsys.readouterr().out
    assert f"{before.path} is damaged: {file} is not what was saved" in printed
    assert "resumed at 128 images" in printed
    assert checkpoints.find(store, before.path).hash == before.hash
    assert tables.row(store, "runs", run.run_id)["status"] == "succeeded"
    assert sorted(tables.read(store, "steps")["images_seen"]) == [64, 128, 192, 256]


def test_a_named_run_may_be_made_longer(store, make_run):
    train(make_run("train.run=mine"), store, Worker())

    train(make_run("train.run=mine", "train.total_images=384"), store, Worker())

    assert tables.row(store, "runs", "mine")["images_seen"] == 384
    assert sorted(tables.read(store, "steps")["images_seen"]) == [64, 128, 192, 256, 320, 384]


@pytest.mark.parametrize("parts", [2, 8])
def test_a_batch_taken_in_parts_teaches_the_same(store, make_run, parts):
    whole, in_parts = make_run("train.run=whole"), make_run("train.run=parts", f"train.accumulate={parts}")

    for run in (whole, in_parts):
        train(run, store, Worker())

    ours, theirs = weights(store, "parts", "raw"), weights(store, "whole", "raw")
    assert all(torch.allclose(ours[name], theirs[name], rtol=0, atol=2e-4) for name in ours)
    assert whole.identity == in_parts.identity


@pytest.mark.parametrize("change", ["model.width=32", "train.seed=3", "train.batch_size=64"])
def test_a_named_run_with_another_identity_is_refused_by_name(store, make_run, change):
    train(make_run("train.run=mine"), store, Worker())

    with pytest.raises(ValueError, match=change.split("=")[0]):
        train(make_run("train.run=mine", change), store, Worker())
    assert tables.row(store, "runs", "mine")["status"] == "succeeded"


def test_a_run_that_diverges_ends_and_says_so(store, make_run):
    run = make_run("train.learning_rate=1e30", "train.warmup_images=0", "train.clip_norm=1e30")

    with pytest.raises(FloatingPointError, match="learning_rate"):
        train(run, store, Worker())

    row = tables.row(store, "runs", run.run_id)
    assert row["status"] == "failed" and "the gradient norm was" in row["error"]


def test_a_run_that_its_scheduler_stops_says_so(store, make_run):
    def stop(checkpoint):
        raise SystemExit

    run = make_run()
    with pytest.raises(SystemExit):
        train(run, store, Worker(report=stop))

    assert tables.row(store, "runs", run.run_id)["status"] == "stopped_early"


def test_a_run_that_is_ended_at_its_last_image_has_succeeded(store, make_run):
    def stop_at_the_end(checkpoint):
        if checkpoint.images_seen == 256:
            raise SystemExit

    run = make_run()
    with pytest.raises(SystemExit):
        train(run, store, Worker(report=stop_at_the_end))

    assert tables.row(store, "runs", run.run_id)["status"] == "succeeded"


def test_a_run_on_shards_is_resumed_bit_for_bit_in_the_middle_of_an_epoch(store, make_run, tmp_path):
    write_parquet(tmp_path / "shards", make_pictures())  # 150 images; a checkpoint is made at 128
    shards = ("data=parquet", f"data.root={tmp_path / 'shards'}", "data.image_size=8")
    data = (*shards, "data.workers=0", "train.flip=true")
    train(make_run("train.run=undisturbed", *data), store, Worker())

    with pytest.raises(Killed):
        train(make_run("train.run=cut", *data), store, Worker(report=kill_at(1)))
    train(make_run("train.run=cut", *data), store, Worker())

    for kind in ("raw", "ema"):
        ours, theirs = (weights(store, each, kind) for each in ("cut", "undisturbed"))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_flips_mirror_about_half_of_the_images_and_nothing_else_changes():
    data = torch.rand(200, 1, 4, 4)

    mirrored_data = mirrored(data, torch.Generator().manual_seed(1))

    flipped = [torch.equal(after, before.flip(2)) for after, before in zip(mirrored_data, data, strict=True)]
    kept = [torch.equal(after, before) for after, before in zip(mirrored_data, data, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True)) and 70 < sum(flipped) < 130


@pytest.mark.parametrize("spoil", ["format", "content"])
def test_a_run_none_of_whose_checkpoints_can_be_used_is_an_error_and_no_fresh_start(store, make_run, spoil):
    settings = ("train.run=one", "train.keep_checkpoints=1")
    train(make_run(*settings), store, Worker())
    path = runs.last_checkpoint(store, "one").path
    if spoil == "format":
        meta = store.read_bytes(f"{path}/meta.json")
        store.write_bytes(f"{path}/meta.json", meta.replace(b'"format_version": 2', b'"format_version": 1'))
    else:
        store.write_bytes(f"{path}/state.pt", b"cut off")

    with pytest.raises(ValueError, match=r"run 'one' has no checkpoint to go on from: .*; train\.run=NAME would start"):
        train(make_run(*settings, "train.total_images=512"), store, Worker())
    assert store.list("checkpoints/one") == ["000000000256"]


def test_a_damaged_checkpoint_beyond_the_newest_whole_one_does_not_push_that_out(store, make_run):
    settings = ("train.run=one", "train.keep_checkpoints=2", "train.checkpoint_images=64")
    train(make_run(*settings), store, Worker())
    store.write_bytes("checkpoints/one/000000000256/state.pt", b"cut off")
    kept = []

    train(make_run(*settings), store, Worker(report=lambda checkpoint: kept.append(store.list("checkpoints/one"))))

    assert kept == [["000000000192", "000000000256"]]
    checkpoints.verify(store, runs.last_checkpoint(store, "one"))


def test_a_run_on_another_host_that_has_been_silent_for_long_is_lost(store, make_run):
    train(make_run("train.run=one"), store, Worker())
    row = tables.row(store, "runs", "one") | {"status": "running", "host": "elsewhere"}

    tables.replace(store, "runs", row)
    assert lost_runs.mark_lost(store) == []
    tables.replace(store, "runs", row | {"updated_at": row["updated_at"] - timedelta(hours=2)})
    assert lost_runs.mark_lost(store) == [], "it has told how far it is"
    store.delete(progress.path("one"))
    assert lost_runs.mark_lost(store) == ["one"]


def test_a_process_that_is_gone_leaves_a_lost_run(store, make_run):
    run = make_run()
    with pytest.raises(Killed):
        train(run, store, Worker(report=kill_at(1)))
    row = tables.row(store, "runs", run.run_id)
    assert lost_runs.mark_lost(store) == [], "this process is alive"
    tables.replace(store, "runs", row | {"pid": 4_000_000})

    assert lost_runs.mark_lost(store) == [run.run_id]
    assert tables.row(store, "runs", run.run_id)["status"] == "lost"


def test_two_processes_do_not_train_one_run(store, make_run):
    run = make_run()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    row = runs.begin(store, run, "cpu")
    started = datetime.fromtimestamp(psutil.Process(other.pid).create_time(), UTC)
    tables.replace(store, "runs", row | {"pid": other.pid, "process_started_at": started})

    with pytest.raises(ValueError, match=f"is being trained by process {other.pid}"):
        runs.wait_for_other_process(store, run.run_id, patience_s=0.5)
    other.kill()
    other.wait()
    train(run, store, Worker())

    assert tables.row(store, "runs", run.run_id)["status"] == "succeeded"
