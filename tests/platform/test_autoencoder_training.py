"""A very small autoencoder, trained for some steps on crops of photographs."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from unlatent.platform.autoencoder_training import (
    AutoencoderConfig,
    folder_of,
    learning_rate,
    new_network,
    train_autoencoder,
    training_gflops,
)
from unlatent.platform.autoencoders import WEIGHTS, open_autoencoder
from unlatent.platform.datasets import DataConfig, Dataset, open_dataset
from unlatent.platform.pretrained import prepare_import
from unlatent.platform.store import Store

CPU = torch.device("cpu")
SMALL = {"width": 8, "batch_size": 8, "warmup_images": 16, "checkpoint_images": 16, "learning_rate": 3e-3}


def photographs(store: Store) -> Dataset:
    return open_dataset(DataConfig(kind="photographs", image_size=32), store)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return photographs(Store(tmp_path_factory.mktemp("data")))


class StoppedError(Exception):
    """In the place of a kill."""


@pytest.mark.slow
def test_it_learns_to_give_images_back(dataset, store):
    settings = SMALL | {"batch_size": 4, "learning_rate": 2e-3, "total_images": 1280, "checkpoint_images": 1280}
    images = dataset.held_out.read(range(0, 1000, 40))

    path = train_autoencoder(AutoencoderConfig(**settings), dataset, store, CPU)
    trained = open_autoencoder(store.uri(path), CPU)

    pairs = torch.stack([images.flatten(), trained.reconstruct(images).flatten()]).double()
    assert torch.corrcoef(pairs)[0, 1] > 0.5


def test_it_is_a_folder_that_diffusers_reads_with_what_made_it_beside(dataset, store):
    prepare_import()
    from diffusers import AutoencoderKL

    config = AutoencoderConfig(**SMALL, total_images=16, latent_channels=6)

    path = train_autoencoder(config, dataset, store, CPU)

    network = AutoencoderKL.from_pretrained(store.uri(path), low_cpu_mem_usage=False)
    said = json.loads(store.read_bytes(f"{folder_of(config, dataset)}/vae/training.json"))
    assert network.config.latent_channels == 6
    assert said["config"]["latent_channels"] == 6 and said["data"]["hash"] == dataset.hash
    assert said["loss"] > 0 and said["training_gflops"] == pytest.approx(16 * training_gflops(config, 32))
    assert not store.list(f"{folder_of(config, dataset)}/checkpoints")


def test_one_cut_off_goes_on_to_the_same_weights(dataset, tmp_path):
    config = AutoencoderConfig(**SMALL, total_images=48)
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    expected = train_autoencoder(config, dataset, whole, CPU)
    seen = []

    def stop_at_40(images_seen, total):
        seen.append(images_seen)
        if len(seen) == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_autoencoder(config, dataset, cut, CPU, stop_at_40)
    found = train_autoencoder(config, dataset, cut, CPU, stop_at_40)

    assert seen == [8, 16, 24, 32, 40, 40, 48, 48]  # from the checkpoint at 32
    assert open_autoencoder(cut.uri(found), CPU).sha256 == open_autoencoder(whole.uri(expected), CPU).sha256


def test_a_damaged_checkpoint_is_passed_over(dataset, store):
    config, seen = AutoencoderConfig(**SMALL, total_images=48), []

    def stop_at_40(images_seen, total):
        seen.append(images_seen)
        if seen == [8, 16, 24, 32, 40]:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_autoencoder(config, dataset, store, CPU, stop_at_40)
    store.write_bytes(f"{folder_of(config, dataset)}/checkpoints/{32:012d}/model.safetensors", b"not this")
    train_autoencoder(config, dataset, store, CPU, stop_at_40)

    assert seen[5:] == [24, 32, 40, 48, 48]


def test_what_is_done_is_not_done_again(dataset, store):
    config, seen = AutoencoderConfig(**SMALL, total_images=16), []
    first = train_autoencoder(config, dataset, store, CPU)

    second = train_autoencoder(
        config, dataset, store, CPU, lambda images_seen, total: seen.append((images_seen, total))
    )

    assert first == second and seen == [(16, 16)]


def test_what_a_process_that_was_killed_at_the_end_has_left_is_cleared_away(dataset, store, monkeypatch):
    config, half_written = AutoencoderConfig(**SMALL, total_images=16), f".vae.{'0' * 32}"
    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete", lambda self, path: None)
        folder = train_autoencoder(config, dataset, store, CPU).removesuffix("/vae")
    store.write_bytes(f"{folder}/{half_written}/config.json", b"{}")
    assert store.list(f"{folder}/checkpoints")

    train_autoencoder(config, dataset, store, CPU)

    assert {each.name for each in store.local(folder).iterdir()} == {".lock", "vae"}


@pytest.mark.slow
def test_a_process_that_was_killed_goes_on_when_called_again(tmp_path):
    code = f"""
        import os, signal, torch
        from tests.platform.test_autoencoder_training import *
        store, config = Store({str(tmp_path)!r}), AutoencoderConfig(**SMALL, total_images=48)
        said = []
        def die(seen, total):
            print(seen, flush=True)
            if seen == 40 and os.environ.get("DIE"):
                os.kill(os.getpid(), signal.SIGKILL)
        print(store.uri(train_autoencoder(config, photographs(store), store, CPU, die)))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]

    killed = subprocess.run(command, env={**os.environ, "DIE": "1"}, capture_output=True, text=True)
    ended = subprocess.run(command, capture_output=True, text=True, check=True)

    assert killed.returncode == -signal.SIGKILL
    *seen, address = ended.stdout.split()
    assert seen == ["40", "48", "48"]
    assert open_autoencoder(address, CPU).factor == 8


def test_images_of_one_channel_are_taken_as_grey(store):
    digits = open_dataset(DataConfig(), store)

    trained = open_autoencoder(
        store.uri(train_autoencoder(AutoencoderConfig(**SMALL, total_images=16), digits, store, CPU)), CPU
    )

    assert trained.reconstruct(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape == (1, 3, 8, 8)


def test_images_that_do_not_fit_are_refused(store):
    photographs = open_dataset(DataConfig(kind="photographs", image_size=36), store)

    with pytest.raises(ValueError, match="36x36 pixels do not fit an autoencoder that shrinks them by 8"):
        train_autoencoder(AutoencoderConfig(**SMALL), photographs, store, CPU)


def test_it_may_lie_in_an_object_store(dataset, remote_store):
    config = AutoencoderConfig(**SMALL, total_images=16)

    address = remote_store.uri(train_autoencoder(config, dataset, remote_store, CPU))

    assert address.startswith("s3://") and open_autoencoder(address, CPU).factor == 8
    assert WEIGHTS in remote_store.list(f"{folder_of(config, dataset)}/vae")


def test_the_seed_alone_decides_the_first_weights():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()

    first, again, other = (new_network(AutoencoderConfig(width=8, seed=seed)).state_dict() for seed in (0, 0, 1))

    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["quant_conv.weight"], other["quant_conv.weight"])


def test_the_rate_rises_then_falls_to_nothing():
    config = AutoencoderConfig(total_images=16_000, warmup_images=1_600, learning_rate=1.0)

    rates = [learning_rate(config, seen) for seen in (0, 784, 1_600, 8_000, 15_984)]

    assert rates[0] == pytest.approx(0.005) and rates[1] == pytest.approx(0.5, abs=0.01)
    assert rates[2] > 0.97 and rates[3] == pytest.approx(0.5) and rates[4] < 1e-4


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"width": 18}, "autoencoder.width=18 is not a multiple of 4"),
        ({"batch_size": 0}, "autoencoder.batch_size=0 is below 1"),
        ({"total_images": 100}, "autoencoder.total_images=100 is not a multiple of autoencoder.batch_size=8"),
        ({"learning_rate": 0.0}, "learning_rate has to be above 0"),
    ],
)
def test_settings_that_do_not_work_are_refused(setting, said):
    with pytest.raises(ValueError, match=said):
        AutoencoderConfig(**setting)
