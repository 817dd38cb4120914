"""diffusers' own `AutoencoderKL`, small and of random weights, saved as diffusers saves it."""

import builtins
import hashlib
import json
import shutil

import pytest
import torch

from unlatent.platform.autoencoder_training import AutoencoderConfig, new_network
from unlatent.platform.autoencoders import CONFIG, WEIGHTS, open_autoencoder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("vae")
    new_network(AutoencoderConfig(width=8)).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(saved, tmp_path / "vae")


@pytest.fixture
def images():
    return torch.randint(256, (3, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_it_gives_what_diffusers_itself_gives(saved, images):
    from diffusers import AutoencoderKL

    network = AutoencoderKL.from_pretrained(saved, low_cpu_mem_usage=False).eval()
    with torch.no_grad():
        decoded = network.decode(network.encode(images / 127.5 - 1).latent_dist.mean).sample
    expected = ((decoded + 1) * 127.5 + 0.5).clamp(0, 255).byte()

    found = open_autoencoder(str(saved), CPU).reconstruct(images)

    assert found.dtype == torch.uint8 and found.shape == images.shape
    assert (found.int() - expected.int()).abs().max() <= 1


def test_the_same_images_come_back_the_same_whatever_was_drawn_before(saved, images):
    autoencoder = open_autoencoder(str(saved), CPU)

    first = autoencoder.reconstruct(images)
    torch.randn(7)

    assert torch.equal(autoencoder.reconstruct(images), first)


def test_it_tells_its_factor_latent_and_weights(saved):
    autoencoder = open_autoencoder(str(saved), CPU)

    assert (autoencoder.factor, autoencoder.latent_channels) == (8, 4)
    assert autoencoder.sha256 == hashlib.sha256((saved / WEIGHTS).read_bytes()).hexdigest()


def test_of_a_whole_pipeline_its_autoencoder_is_taken(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "pipeline" / "vae")

    assert open_autoencoder(str(tmp_path / "pipeline"), CPU).factor == 8


def test_one_in_an_object_store_is_read_from_there(saved, remote_store):
    for file in (CONFIG, WEIGHTS):
        remote_store.write_bytes(f"models/vae/{file}", (saved / file).read_bytes())

    assert open_autoencoder(remote_store.uri("models/vae"), CPU).factor == 8


def test_image_sizes_that_do_not_fit_are_refused_with_those_that_would(saved):
    autoencoder = open_autoencoder(str(saved), CPU)

    autoencoder.require_size(256)
    with pytest.raises(ValueError, match=r"image_size=250 is not a multiple of 8.*248 or 256 would do"):
        autoencoder.require_size(250)


def test_pickled_weights_are_not_read(folder):
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")

    with pytest.raises(ValueError, match=r"has no diffusion_pytorch_model\.safetensors; pickled weights are not read"):
        open_autoencoder(str(folder), CPU)


def test_another_network_is_refused_by_its_name(folder):
    settings = json.loads((folder / CONFIG).read_text()) | {"_class_name": "UNet2DModel"}
    (folder / CONFIG).write_text(json.dumps(settings))

    with pytest.raises(ValueError, match=r"is no AutoencoderKL: its config\.json is of UNet2DModel"):
        open_autoencoder(str(folder), CPU)


@pytest.mark.parametrize("damage", ["shape", "missing", "cut"])
def test_weights_that_do_not_fit_are_one_line(folder, damage):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS)
    if damage == "missing":
        save_file({name: each for name, each in weights.items() if "quant_conv" not in name}, folder / WEIGHTS)
    elif damage == "shape":
        save_file(weights | {"quant_conv.bias": torch.zeros(3)}, folder / WEIGHTS)
    else:
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])

    with pytest.raises(ValueError, match=f"^vae={folder}") as refused:
        open_autoencoder(str(folder), CPU)

    assert "\n" not in str(refused.value)


def test_what_is_not_there_is_said_with_what_would_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ValueError, match=r"is no folder; one with config\.json"):
        open_autoencoder("/nowhere/to/be/found", CPU)
    with pytest.raises(ValueError, match="neither a folder nor in the hub's cache; --download would fetch it"):
        open_autoencoder("nobody/nothing", CPU)
    with pytest.raises(ValueError, match=r"has no config\.json"):
        open_autoencoder(str(tmp_path), CPU)


def test_without_diffusers_the_package_to_install_is_named(saved, monkeypatch):
    found = builtins.__import__

    def without_diffusers(name, *rest):
        if name.split(".")[0] == "diffusers":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_diffusers)

    with pytest.raises(ValueError, match=r"pip install 'unlatent\[autoencoders\]' would do"):
        open_autoencoder(str(saved), CPU)
