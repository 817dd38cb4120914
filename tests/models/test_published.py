"""Our network, given published weights, says what the published network says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from unlatent.models import PixelTransformer, PixelTransformerConfig, SamplerConfig, sample
from unlatent.models.published import from_published

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 1e-4
SETTINGS = {
    "plain": {},
    "guided": {"guidance": 3.25, "guidance_low": 0.1, "guidance_high": 0.9},
    "shifted": {"guidance": 2.0, "guidance_low": 0.1, "guidance_high": 1.0, "shift": 3.0},
}


def read(name: str) -> dict[str, torch.Tensor]:
    with np.load(DATA / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(np.atleast_1d(arrays[key])) for key in arrays.files}


def published_network(arrays: dict[str, torch.Tensor]) -> PixelTransformer:
    said = {key.removeprefix("config/"): value.item() for key, value in arrays.items() if key.startswith("config/")}
    config = PixelTransformerConfig(
        image_size=arrays["input/x"].shape[-1],
        channels=said["in_channels"],
        classes=said["num_classes"],
        patch_size=said["patch_size"],
        width=said["hidden_size"],
        heads=said["num_groups"],
        patch_depth=said["patch_depth"],
        pixel_width=said["pixel_hidden_size"],
        pixel_depth=said["pixel_depth"],
        modulation="post" if said["pit_adaln_post_modulation"] else "pre",
    )
    network = PixelTransformer(config)
    weights = {key.removeprefix("param/"): value for key, value in arrays.items() if key.startswith("param/")}
    network.load_state_dict(from_published(weights))
    return network


@pytest.mark.parametrize("name", ["class_pre_modulation", "class_post_modulation"])
def test_the_same_weights_give_the_same_velocity(name):
    arrays = read(name)

    with torch.no_grad():
        velocity = published_network(arrays)(arrays["input/x"], arrays["input/t"], arrays["input/y"])

    assert (velocity - arrays["output"]).abs().max() < TOLERANCE


@pytest.mark.parametrize("name", ["ab2", "euler"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_same_noise_ends_at_the_same_image(name, setting):
    network, ends = published_network(read("class_pre_modulation")), read("samplers")
    settings = SamplerConfig(name=name, steps=8, **SETTINGS[setting])

    image = sample(network, ends["noise"], ends["labels"], settings, network.unconditional(ends["labels"]))

    assert (image - ends[f"{name}/{setting}"]).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    "name",
    ["patch_blocks.0.attn.surprise.weight", "optimizer.lr", "pixel_blocks.0.mlp.w1.weight", "weight", ""],
)
def test_a_tensor_that_we_have_no_place_for_is_named(name):
    with pytest.raises(ValueError) as refusal:
        from_published({name: torch.zeros(1)})

    assert str(refusal.value) == f"{name!r} is no tensor of the published class-conditional network"
