"""Several averages of one run, and those put together afterwards."""

import pytest
import torch
from typer.testing import CliRunner

import unlatent
from unlatent.platform import checkpoints, runs
from unlatent.platform.averages import save_average
from unlatent.platform.commands import app
from unlatent.platform.training import Worker, train

SEVERAL = ("train.ema_decays=[0.9,0.5]", "train.ema_power_widths=[0.05,0.1]")
LONGER = ("train.total_images=2048", "train.checkpoint_images=128", "train.keep_checkpoints=1")


@pytest.fixture
def trained(store, make_run):
    run = make_run("train.run=mine", *SEVERAL, *LONGER)
    train(run, store, Worker())
    return run


def weights(store, run_id, kind):
    return checkpoints.load_weights(store, runs.last_checkpoint(store, run_id), kind)


def vector(state):
    return torch.cat([tensor.double().flatten() for _, tensor in sorted(state.items())])


def test_a_checkpoint_holds_every_average_by_name(store, trained):
    [checkpoint] = checkpoints.all_of(store, "mine")

    assert set(checkpoint.kinds) == {"raw", "ema", "ema-0.5", "power-0.05", "power-0.1"}
    networks = [vector(weights(store, "mine", kind)) for kind in checkpoint.kinds]
    assert all(not torch.equal(one, other) for n, one in enumerate(networks) for other in networks[:n])


def test_each_of_several_averages_is_what_it_is_alone(store, make_run, trained):
    alone = make_run("train.run=alone", "train.ema_decays=[0.5]", *LONGER)

    train(alone, store, Worker())

    assert torch.equal(vector(weights(store, "alone", "ema")), vector(weights(store, "mine", "ema-0.5")))


def test_snapshots_outlive_the_checkpoints_that_are_pruned(store, trained):
    assert len(checkpoints.all_of(store, "mine")) == 1
    assert [each.images_seen for each in checkpoints.snapshots_of(store, "mine")] == list(range(128, 2049, 128))


@pytest.mark.parametrize("width", [0.07, 0.15])
def test_a_width_that_was_not_kept_is_put_together_as_if_it_had_been(store, make_run, trained, width):
    kept = make_run("train.run=kept", f"train.ema_power_widths=[{width}]", *LONGER)
    train(kept, store, Worker())
    raw, truth = vector(weights(store, "kept", "raw")), vector(weights(store, "kept", f"power-{width:g}"))

    made, error = save_average(store, "mine", width, None)

    rebuilt = vector(checkpoints.load_weights(store, made, "ema"))
    assert error < 0.05
    assert (rebuilt - truth).norm() < 0.2 * (raw - truth).norm()  # most of it is the snapshots' half precision


def test_an_average_can_be_had_at_an_earlier_position(store, trained):
    made, _ = save_average(store, "mine", 0.07, 1024)

    assert made.images_seen == 1024
    assert made.path == "checkpoints/mine.averages/000000001024-power-0.07"


def test_the_command_makes_a_checkpoint_that_draws_images(store, trained):
    result = CliRunner().invoke(app, ["average", "mine", "--width", "0.07", f"store={store.root}"])

    assert result.exception is None
    path = "checkpoints/mine.averages/000000002048-power-0.07"
    assert f"next: unlatent evaluate {path}" in result.stdout
    assert unlatent.load(store.local(path)).generate(["3"], seeds=[0])[0].size == (8, 8)
    assert [each.images_seen for each in checkpoints.all_of(store, "mine")] == [2048]  # it is none of the run's own


def test_a_run_without_snapshots_is_told_how_to_keep_them(store, make_run):
    train(make_run("train.run=plain"), store, Worker())

    with pytest.raises(ValueError, match=r"has kept no snapshots; a run with train.ema_power_widths=\[0.05,0.1\] does"):
        save_average(store, "plain", 0.07, None)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("train.ema_decays=[]", r"train.ema_decays=\[\] is not a list of one or more"),
        ("train.ema_decays=[1.0]", r"train.ema_decays=\[1.0\] is not a list of one or more in 0 … 1"),
        ("train.ema_decays=[0.9,0.9]", r"train.ema_decays=\[0.9, 0.9\] has a value twice"),
        ("train.ema_power_widths=[0.4]", "sigma_rel=0.4 is not between 0 and 0.2887"),
    ],
)
def test_averages_that_cannot_be_are_refused(make_config, override, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_config(override)
