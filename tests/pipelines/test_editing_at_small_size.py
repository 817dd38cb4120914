"""The pipeline `editing` from nothing to its report, on a network that a CPU trains in seconds."""

import json
import sys

import pandas as pd
import pytest

from unlatent.models import cost
from unlatent.pipelines.__main__ import run_command
from unlatent.pipelines.definition import load_pipeline
from unlatent.pipelines.runner import run_pipeline
from unlatent.pipelines.steps import on_latents
from unlatent.platform import cluster, spaces, tables
from unlatent.platform.autoencoder_training import AutoencoderConfig, train_autoencoder
from unlatent.platform.config import compose_config
from unlatent.platform.datasets import open_dataset
from unlatent.platform.devices import local_device
from unlatent.platform.store import Store

SCENES = ["data=scenes", "data.scenes.images=60", "data.scenes.pairs=4", "model=text_tiny"]
SMALL = [
    *SCENES[1:3],
    "model.width=32",
    "model.heads=2",
    "model.patch_depth=2",
    "model.pixel_depth=1",
    "train.batch_size=8",
    "train.total_images=64",
    "train.warmup_images=8",
    "train.log_images=32",
    "train.checkpoint_images=64",
    "train.grid_samples=2",
    "autoencoder.width=4",
    "autoencoder.total_images=16",
    "autoencoder.checkpoint_images=16",
    "autoencoder.warmup_images=8",
    "edit.steps=4",
    "edit.n_max=3",
    "edits.n_max=[2,3]",
    "edits.target_guidance=[2.0]",
    "cluster.cpus=2",
]


@pytest.fixture(autouse=True)
def ray_ends():
    yield
    cluster.disconnect()


def test_latents_are_trained_for_as_much_computation_as_pixels_were(tmp_path):
    store = Store(tmp_path)
    config = compose_config([*SCENES, f"store={store.root}"])
    small = AutoencoderConfig(width=4, total_images=8, checkpoint_images=8)
    path = train_autoencoder(small, open_dataset(config.data, store), store, local_device())
    inputs = {"pixels": {"training_gflops": "5000"}, "autoencoder": {"autoencoder": store.uri(path)}}

    settings = on_latents([*SCENES, f"store={store.root}", "model.patch_size=1"], inputs)

    trained = compose_config(settings)
    network = spaces.fitted(trained.model, 3, 64)
    assert (network.image_size, network.channels) == (8, 4)
    spent = trained.train.total_images * cost.training_gflops(network)
    assert spent == pytest.approx(5000, abs=trained.train.batch_size * cost.training_gflops(network) / 2)


def test_before_there_is_an_autoencoder_the_settings_are_the_steps_own():
    assert on_latents(SCENES, {}) == SCENES


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("override", ["edits.lpips.weights=nowhere", "edits.structure.encoder=nowhere"])
def test_weights_to_measure_by_that_are_not_there_are_refused_before_any_step(
    tmp_path, monkeypatch, capsys, command, override
):
    monkeypatch.setattr(sys, "argv", ["unlatent", command, "editing", f"store={tmp_path}/store", override])

    status = run_command()

    error = capsys.readouterr().err
    assert status == 2 and error.count("\n") == 1 and "nowhere" in error and "would do" in error
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_it_trains_both_networks_edits_by_both_and_reports_once(tmp_path):
    store = Store(tmp_path / "store")
    given = (*SMALL, f"store={store.root}")

    run_pipeline(load_pipeline("editing"), given)
    run_pipeline(load_pipeline("editing"), given)

    runs = tables.read(store, "runs").set_index("run_id")
    assert list(runs.loc[["scenes-pixels", "scenes-latents"], "status"]) == ["succeeded"] * 2
    pixels, latents = runs.loc["scenes-pixels"], runs.loc["scenes-latents"]
    assert pd.isna(pixels["autoencoder"]) and (latents["image_size"], latents["patch_size"]) == (8, 1)
    assert latents["training_gflops"] == pytest.approx(pixels["training_gflops"], rel=0.1)
    edits = tables.read(store, "edits")
    assert sorted(zip(edits["space"], edits["way"], strict=True)) == [
        *[("latents", way) for way in (*["derived"] * 2, *["free"] * 2, *["masked"] * 2, "reconstructed")],
        *[("pixels", way) for way in (*["derived"] * 2, *["free"] * 2, *["masked"] * 2)],
    ]
    masked = edits[(edits["space"] == "pixels") & (edits["way"] == "masked")]
    assert (masked["background_mse"] == 0).all()
    report = store.read_bytes("artifacts/pipelines/editing/edits/report.html").decode()
    assert "through pixels" in report and "through latents" in report
    steps = tables.read(store, "pipeline_steps").sort_values("started_at")
    assert list(steps["action"].iloc[:5]) == ["ran"] * 5 and list(steps["action"].iloc[5:]) == ["skipped"] * 5
    assert json.loads(store.read_bytes("artifacts/pipelines/editing/edits/results.json"))
