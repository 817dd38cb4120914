"""Small networks of every kind."""

from typing import Any

import pytest
import torch

from unlatent.models import CompactionConfig, Condition, PixelTransformer, PixelTransformerConfig, Text, TextConfig

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "window 2": {"compaction": {"window": 2}},
    "window 1": {"compaction": {"window": 1}},
    "narrow attention": {"compaction": {"width": 32, "heads": 2}},
    "no attention": {"compaction": {"attention": False}},
    "adaln patch": {"adaln": "patch"},
    "adaln global": {"adaln": "global"},
    "post modulation": {"modulation": "post"},
    "post modulation, no attention": {"modulation": "post", "compaction": {"attention": False}},
    "plain DiT": {"pixel_depth": 0},
    "layer norm": {"norm": "layer"},
    "sincos": {"position": "sincos"},
    "vanilla DiT": {"pixel_depth": 0, "norm": "layer", "position": "sincos"},
    "data prediction": {"prediction": "data"},
    "text": {"condition": "text", "text": TextConfig(width=12, tokens=7)},
    "text, layer norm, narrow attention": {
        "condition": "text",
        "text": TextConfig(width=12, tokens=7),
        "norm": "layer",
        "compaction": {"width": 32, "heads": 2},
    },
    "text as bytes": {"condition": "text", "text": TextConfig(encoder="bytes", width=16, tokens=7)},
    "long": {"image_size": 32, "patch_size": 2, "patch_depth": 1, "pixel_depth": 1},
    "long text": {"image_size": 32, "patch_size": 4, "condition": "text", "text": TextConfig(width=12, tokens=80)},
    "grey": {"channels": 1, "image_size": 8, "patch_size": 2, "pixel_width": 4, "patch_depth": 1},
}


def small_config(compaction: dict[str, Any] | None = None, **changes: Any) -> PixelTransformerConfig:
    sizes = {"image_size": 16, "patch_size": 4, "width": 64, "heads": 4, "patch_depth": 2, "pixel_depth": 2}
    settings = {**sizes, "pixel_width": 8, "classes": 10, **changes}
    return PixelTransformerConfig(**settings, compaction=CompactionConfig(**(compaction or {})))


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    """Nothing is zero any more, so that nothing is hidden."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.fixture(autouse=True)
def repeatable():
    """Same numbers every time, and no more threads than networks this small can use."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def config(request: pytest.FixtureRequest) -> PixelTransformerConfig:
    """Every variant in turn."""
    return small_config(**request.param)


@pytest.fixture
def make_config():
    return small_config


@pytest.fixture
def make_network():
    """A network, or a part of one, with random weights throughout."""

    def make(config: PixelTransformerConfig, part: type[torch.nn.Module] = PixelTransformer) -> torch.nn.Module:
        return randomised(part(config))

    return make


@pytest.fixture
def make_inputs():
    """Images, times and conditions."""

    def make(config: PixelTransformerConfig, count: int) -> tuple[torch.Tensor, torch.Tensor, Condition]:
        image = torch.randn(count, config.channels, config.image_size, config.image_size)
        return image, torch.rand(count), random_condition(config, count)

    return make


def random_condition(config: PixelTransformerConfig, count: int) -> Condition:
    if config.condition == "class":
        return torch.randint(config.classes + 1, (count,))
    length, width = config.text.tokens, config.text.width
    mask = torch.arange(length) < torch.randint(1, length + 1, (count, 1))
    if config.text.learned:
        return Text(torch.randint(1, 256, (count, length, 8), dtype=torch.uint8) * mask[:, :, None], mask)
    return Text(torch.randn(count, length, width), mask)
