"""A tiny model of texts, with random weights."""

import pytest
import torch

from unlatent.models.config import PixelTransformerConfig, TextConfig
from unlatent.models.network import PixelTransformer
from unlatent.models.samplers import SamplerConfig
from unlatent.platform.generation import LoadedModel


def make_model(condition: str, tokens: int = 24) -> LoadedModel:
    torch.manual_seed(0)
    text = TextConfig(encoder="bytes", width=16, tokens=tokens)
    sizes = {"image_size": 16, "patch_size": 8, "width": 16, "heads": 2, "patch_depth": 2, "pixel_width": 4}
    network = PixelTransformer(PixelTransformerConfig(condition=condition, text=text, pixel_depth=1, **sizes))
    network.eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # a new network says 0
    return LoadedModel(
        network=network,
        sampler=SamplerConfig(steps=2, guidance=2.0, guidance_low=0.0),
        classes=["all"],
        run_id="drawn",
        checkpoint="checkpoints/drawn/000000000256",
        checkpoint_hash="0123456789abcdef",
        images_seen=256,
        weights="ema",
    )


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    return make_model("text")


@pytest.fixture(scope="session")
def forgetful_model() -> LoadedModel:
    """It reads four tokens."""
    return make_model("text", tokens=4)


@pytest.fixture(scope="session")
def class_model() -> LoadedModel:
    return make_model("class")
