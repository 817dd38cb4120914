import pytest
import torch

from unlatent.platform import checkpoints, runs, tables
from unlatent.platform.starting import find_start
from unlatent.platform.training import Worker, train


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
    larger = make_run().config.model
    larger.image_size = 16

    assert find_start(store, first.path, larger) == first


def test_another_start_is_another_run(make_run):
    assert make_run("train.start=checkpoints/a/1").run_id != make_run("train.start=checkpoints/b/1").run_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.width=32", "is of another network: model.width=16 there, 32 here"),
        ("model.patch_size=2", "model.patch_size=4 there, 2 here"),
    ],
)
def test_the_weights_of_another_network_are_refused_by_name(store, make_run, first, change, message):
    with pytest.raises(ValueError, match=message):
        find_start(store, first.path, make_run(change).config.model)


def test_what_is_no_checkpoint_is_an_error_and_no_fresh_start(store, make_run):
    run = make_run("train.start=checkpoints/nowhere/7")

    with pytest.raises(ValueError, match=r"train.start=checkpoints/nowhere/7: .* is no checkpoint"):
        train(run, store, Worker())

    assert tables.row(store, "runs", run.run_id)["status"] == "failed"
    assert tables.read(store, "steps").empty


def test_a_path_out_of_the_store_is_an_error_that_says_so(store, make_run, first):
    with pytest.raises(ValueError, match=r"train.start=/.*leaves the store; give one relative to its root"):
        find_start(store, store.uri(first.path), make_run().config.model)


def test_a_damaged_start_is_an_error(store, make_run, first):
    store.write_bytes(f"{first.path}/model.safetensors", b"cut off")

    with pytest.raises(ValueError, match=r"train.start=.*model.safetensors"):
        train(make_run("train.run=second", f"train.start={first.path}"), store, Worker())
