import pytest
import torch

from unlatent.platform import checkpoints, runs, tables
from unlatent.platform.starting import find_start, require_beginning
from unlatent.platform.training import Worker, train

RUNS = ("first", "second")


@pytest.fixture
def first(store, make_run):
    """A trained run's last checkpoint."""
    run = make_run("train.run=first")
    train(run, store, Worker())
    return runs.last_checkpoint(store, "first")


def test_a_run_begins_with_the_weights_of_another(store, make_run, first, capsys):
    still = ("train.learning_rate=1e-12", "train.ema_decays=[0.9999999]")
    train(make_run("train.run=second", f"train.start={first.path}", *still), store, Worker())

    assert f"second: fresh, with the weights of {first.path}" in capsys.readouterr().out
    second = runs.last_checkpoint(store, "second")
    assert second.images_seen == 256, "counted from its own beginning"
    for kind in ("raw", "ema"):
        before, after = (checkpoints.load_weights(store, each, kind) for each in (first, second))
        assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_an_average_that_is_not_there_begins_as_the_one_that_is(store, make_run, first):
    settings = ("train.ema_decays=[0.99, 0.5]", "train.learning_rate=1e-12")
    train(make_run("train.run=second", f"train.start={first.path}", *settings), store, Worker())

    ema = checkpoints.load_weights(store, first, "ema")
    other = checkpoints.load_weights(store, runs.last_checkpoint(store, "second"), "ema-0.5")
    raw = checkpoints.load_weights(store, first, "raw")
    nearer = [(other[name] - raw[name]).norm() <= (other[name] - ema[name]).norm() + 1e-6 for name in raw]
    assert all(nearer), "after eight steps at a decay of a half it is where the network is"


def test_a_run_that_has_begun_goes_on_without_its_start(store, make_run, first):
    settings = ("train.run=second", f"train.start={first.path}")
    train(make_run(*settings), store, Worker())
    store.delete(first.path)

    train(make_run(*settings, "train.total_images=320"), store, Worker())

    assert tables.row(store, "runs", "second")["images_seen"] == 320


def test_images_may_be_of_another_size(store, make_run, first):
    run = make_run(f"train.start={first.path}")
    run.config.model.image_size = 16

    assert find_start(store, run) == first


def test_another_start_is_another_run(make_run):
    assert make_run("train.start=checkpoints/a/1").run_id != make_run("train.start=checkpoints/b/1").run_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.width=32", "is of another network: model.width=16 there, 32 here"),
        ("model.patch_size=2", "model.patch_size=4 there, 2 here"),
    ],
)
def test_another_network_is_refused_by_name(store, make_run, first, change, message):
    for begins in ("train.start", "train.fork"):
        with pytest.raises(ValueError, match=message):
            require_beginning(store, make_run(f"{begins}={first.path}", change, "train.total_images=512"))


def test_what_is_no_checkpoint_is_an_error_and_no_fresh_start(store, make_run):
    run = make_run("train.start=checkpoints/nowhere/7")

    with pytest.raises(ValueError, match=r"train.start=checkpoints/nowhere/7: .* is no checkpoint"):
        train(run, store, Worker())

    assert tables.row(store, "runs", run.run_id)["status"] == "failed"
    assert tables.read(store, "steps").empty


def test_a_path_out_of_the_store_is_an_error_that_says_so(store, make_run, first):
    with pytest.raises(ValueError, match=r"train.start=/.*leaves the store; give one relative to its root"):
        require_beginning(store, make_run(f"train.start={store.uri(first.path)}"))


def test_a_damaged_start_is_an_error(store, make_run, first):
    store.write_bytes(f"{first.path}/model.safetensors", b"cut off")

    with pytest.raises(ValueError, match=r"train.start=.*model.safetensors"):
        train(make_run("train.run=second", f"train.start={first.path}"), store, Worker())


def test_a_fork_under_the_same_settings_ends_with_the_weights_of_the_run_that_it_left(store, make_run, capsys):
    train(make_run("train.run=first"), store, Worker())
    fork = "train.fork=checkpoints/first/000000000128"

    train(make_run("train.run=second", fork), store, Worker())

    assert "second: forked from checkpoints/first/000000000128" in capsys.readouterr().out
    for kind in ("raw", "ema"):
        one, other = (checkpoints.load_weights(store, runs.last_checkpoint(store, run), kind) for run in RUNS)
        assert all(torch.equal(one[name], other[name]) for name in one)
    states = [checkpoints.load_state(store, runs.last_checkpoint(store, run)) for run in RUNS]
    assert states[0]["step"] == states[1]["step"] == 8


def test_a_fork_is_a_run_of_its_own_with_its_own_steps(store, make_run):
    train(make_run("train.run=first"), store, Worker())

    train(make_run("train.run=second", "train.fork=checkpoints/first/000000000128"), store, Worker())

    row, parent = (tables.row(store, "runs", run) for run in ("second", "first"))
    assert (row["forked_from"], parent["forked_from"]) == ("checkpoints/first/000000000128", None)
    assert row["images_seen"] == 256 and row["status"] == "succeeded"
    assert tables.read(store, "steps", run="second")["images_seen"].tolist() == [192, 256]


def test_a_fork_that_was_cut_off_goes_on_without_what_it_was_forked_from(store, make_run):
    train(make_run("train.run=first"), store, Worker())
    settings = ("train.run=second", "train.fork=checkpoints/first/000000000128", "train.learning_rate=0.001")
    train(make_run(*settings), store, Worker())
    store.delete("checkpoints/first/000000000128")

    train(make_run(*settings, "train.total_images=384"), store, Worker())

    row, steps = tables.row(store, "runs", "second"), tables.read(store, "steps", run="second")
    assert row["images_seen"] == 384
    assert row["duration_s"] == pytest.approx((64 / steps["images_per_s"]).sum(), rel=0.2), "of its own images alone"


def test_a_run_keeps_its_name_though_it_could_now_be_a_fork(make_run):
    assert "train.fork" not in make_run().identity
    assert make_run("train.fork=checkpoints/a/1").run_id != make_run().run_id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.total_images=128"], "has seen 128 images, and train.total_images=128 is no more than that"),
        (["train.start=checkpoints/first/000000000128"], "a run begins in one way; null for one"),
        (["train.ema_decays=[0.9999, 0.5]"], "keeps no average ema-0.5; train.ema_decays as there would do"),
        (
            ["train.alignment.teacher=somewhere", "train.alignment.block=1"],
            "train.alignment is of a whole run; as there would do",
        ),
        (["train.ema_power_widths=[0.1]"], r"averages for train.ema_power_widths=\[0.1\] are of one run's whole way"),
    ],
)
def test_a_fork_that_cannot_be_is_refused(store, make_run, settings, message):
    train(make_run("train.run=first"), store, Worker())

    with pytest.raises(ValueError, match=message):
        require_beginning(store, make_run("train.fork=checkpoints/first/000000000128", *settings))
