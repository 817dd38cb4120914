"""The plain formulation is the published network: same names, same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.contenders import doubled_ab2
from benchmarks.plain import PlainPixelTransformer
from unlatent.models import CompactionConfig, PixelTransformerConfig, SamplerConfig

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 1e-4


def read(name: str) -> dict[str, torch.Tensor]:
    with np.load(DATA / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(np.atleast_1d(arrays[key])) for key in arrays.files}


def plain_network(arrays: dict[str, torch.Tensor]) -> PlainPixelTransformer:
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
    network = PlainPixelTransformer(config)
    network.load_state_dict(
        {key.removeprefix("param/"): value for key, value in arrays.items() if key.startswith("param/")}
    )
    return network


@pytest.mark.parametrize("name", ["class_pre_modulation", "class_post_modulation"])
def test_published_weights_give_the_published_velocity(name):
    arrays = read(name)

    with torch.no_grad():
        velocity = plain_network(arrays)(arrays["input/x"], arrays["input/t"], arrays["input/y"])

    assert (velocity - arrays["output"]).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("guided", {"guidance": 3.25, "guidance_high": 0.9}),
        ("shifted", {"guidance": 2.0, "shift": 3.0}),
    ],
)
@torch.no_grad()
def test_its_sampler_ends_where_the_published_one_does(setting, changes):
    network, ends = plain_network(read("class_pre_modulation")), read("samplers")
    null = torch.full_like(ends["labels"], network.config.classes)

    images = doubled_ab2(network, ends["noise"], ends["labels"], null, SamplerConfig(steps=8, **changes))

    assert (images - ends[f"ab2/{setting}"]).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "layer"},
        {"adaln": "patch"},
        {"prediction": "data"},
        {"pixel_depth": 0},
        {"compaction": CompactionConfig(window=2)},
        {"compaction": CompactionConfig(attention=False)},
    ],
    ids=str,
)
def test_a_network_that_is_not_the_papers_is_refused(changes):
    with pytest.raises(ValueError, match=r"is not written out here|needs pixel blocks"):
        PlainPixelTransformer(PixelTransformerConfig(image_size=16, patch_size=4, width=32, heads=2, **changes))
