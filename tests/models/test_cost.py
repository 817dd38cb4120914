"""The cost of a network is right before it is built: held to the network itself, and to published counts."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unlatent.models import CompactionConfig, PixelTransformer, PixelTransformerConfig, TextConfig
from unlatent.models.cost import (
    activation_bytes,
    forward_gflops,
    parameters,
    recomputed_gflops,
    training_gflops,
)
from unlatent.models.presets import preset
from unlatent.models.recomputation import RECOMPUTATIONS

B = {"width": 768, "heads": 12, "patch_depth": 12, "pixel_depth": 2}
L = {"width": 1024, "heads": 16, "patch_depth": 22, "pixel_depth": 4}
XL = {}

BY_PATCH_SIZE = [  # size, patch size, million parameters, GFLOPs
    *((B, 4, 137.0, 1482.7), (B, 8, 146.5, 255.4), (B, 16, 184.7, 75.4), (B, 32, 337.7, 38.4)),
    *((L, 4, 443.0, 4262.0), (L, 8, 468.3, 783.4), (L, 16, 569.6, 227.8), (L, 32, 975.0, 108.5)),
    *((XL, 4, 654.9, 5964.4), (XL, 8, 683.4, 1115.7), (XL, 16, 797.4, 311.2), (XL, 32, 1253.4, 135.5)),
]
BY_CHOICE = [  # changes to XL, million parameters, GFLOPs
    ({"pixel_depth": 1}, 668.1, 243.3),
    ({"pixel_depth": 2}, 711.2, 266.0),
    ({"pixel_depth": 6}, 883.6, 356.4),
    ({"pixel_depth": 8}, 969.7, 401.7),
    ({"pixel_depth": 2, "patch_depth": 28}, 759.0, 282.9),
    ({"pixel_depth": 6, "patch_depth": 24}, 835.8, 339.5),
    ({"pixel_depth": 8, "patch_depth": 22}, 874.2, 367.8),
    ({"pixel_depth": 0}, 625.9, 221.2),
    ({"pixel_depth": 0, "patch_depth": 30}, 721.5, 255.1),
    ({"pixel_width": 4}, 684.0, 252.2),
    ({"pixel_width": 8}, 721.8, 271.7),
    ({"pixel_width": 32}, 948.5, 391.7),
    ({"pixel_width": 64}, 1250.8, 559.3),
    ({"modulation": "post"}, 759.6, 291.9),
]


def counted_gflops(config: PixelTransformerConfig, make_inputs, recompute: str | None = None) -> float:
    """By PyTorch, for one image: of a forward pass on shapes alone, or of a whole training step."""
    if recompute is None:
        with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            PixelTransformer(config)(*make_inputs(config, 1))
        return counter.get_total_flops() / 1e9
    network = PixelTransformer(config)
    network.set_recompute(recompute)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(*make_inputs(config, 1)).sum().backward()
    return counter.get_total_flops() / 1e9


def kept_bytes(config: PixelTransformerConfig, make_inputs, recompute: str, count: int) -> float:
    """Per image: the memory behind the tensors that autograd saves, without weights and tables."""
    network, kept = PixelTransformer(config), {}
    network.set_recompute(recompute)
    own = {t.untyped_storage().data_ptr() for t in [*network.parameters(), *network.buffers()]}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held on to, so that no address is used twice
        return tensor

    inputs = make_inputs(config, count)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        output = network(*inputs)
    assert output.requires_grad
    return sum(storage.nbytes() for storage in kept.values()) / count


def test_parameters_are_those_of_the_network(config):
    with torch.device("meta"):
        network = PixelTransformer(config)

    assert parameters(config) == sum(p.numel() for p in network.parameters())


def test_flops_are_those_that_pytorch_counts(config, make_inputs):
    assert forward_gflops(config) == pytest.approx(counted_gflops(config, make_inputs), rel=0.02)


@pytest.mark.parametrize("recompute", RECOMPUTATIONS)
def test_training_flops_are_those_that_pytorch_counts(config, make_inputs, recompute):
    counted = counted_gflops(config, make_inputs, recompute)

    assert training_gflops(config) + recomputed_gflops(config, recompute) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("recompute", RECOMPUTATIONS)
def test_activation_bytes_are_those_that_autograd_keeps(config, make_inputs, recompute):
    kept = kept_bytes(config, make_inputs, recompute, count=4)

    assert activation_bytes(config, recompute) == pytest.approx(kept, rel=0.02)


@pytest.mark.parametrize("changes", [{}, {"condition": "text", "text": TextConfig(width=12, tokens=7)}], ids=str)
def test_an_image_of_another_proportion_costs_what_pytorch_counts(make_config, make_inputs, changes):
    config, pixels = make_config(**changes), 24 * 40

    def make_long(config, count):
        _, t, condition = make_inputs(config, count)
        return torch.randn(count, 3, 24, 40), t, condition

    assert forward_gflops(config, pixels) == pytest.approx(counted_gflops(config, make_long), rel=0.02)
    assert training_gflops(config, pixels) == pytest.approx(counted_gflops(config, make_long, "none"), rel=0.02)
    kept = kept_bytes(config, make_long, "none", count=4)
    assert activation_bytes(config, pixels=pixels) == pytest.approx(kept, rel=0.02)


@pytest.mark.parametrize("size", [B, L, XL], ids=["B", "L", "XL"])
def test_published_sizes_are_built_as_counted(size, make_inputs):
    config = PixelTransformerConfig(**size)
    with torch.device("meta"):
        network = PixelTransformer(config)

    assert parameters(config) == sum(p.numel() for p in network.parameters())
    assert forward_gflops(config) == pytest.approx(counted_gflops(config, make_inputs), rel=0.02)


def test_xl_has_the_published_number_of_parameters():
    assert parameters(PixelTransformerConfig()) == 797_383_203


@pytest.mark.parametrize(
    ("compaction", "gflops"),
    [
        ({}, 311.2),
        ({"attention": False}, 279.8),
        ({"window": 1}, 82_247.1),
    ],
)
def test_compaction_costs_what_was_published(compaction, gflops, make_inputs):
    config = PixelTransformerConfig(compaction=CompactionConfig(**compaction))

    assert round(forward_gflops(config), 1) == gflops
    assert forward_gflops(config) == pytest.approx(counted_gflops(config, make_inputs), rel=0.02)


@pytest.mark.parametrize(("size", "patch_size", "millions", "gflops"), BY_PATCH_SIZE)
def test_patch_sizes_cost_what_is_known(size, patch_size, millions, gflops):
    config = PixelTransformerConfig(**size, patch_size=patch_size)

    assert round(parameters(config) / 1e6, 1) == millions
    assert round(forward_gflops(config), 1) == gflops


@pytest.mark.parametrize(("changes", "millions", "gflops"), BY_CHOICE, ids=str)
def test_choices_cost_what_is_known(changes, millions, gflops):
    config = PixelTransformerConfig(**changes)

    assert round(parameters(config) / 1e6, 1) == millions
    assert round(forward_gflops(config), 1) == gflops


@pytest.mark.parametrize(("adaln", "gflops"), [("global", 253.2), ("patch", 253.4), ("pixel", 311.2)])
def test_the_grain_of_modulation_costs_what_is_known(adaln, gflops):
    assert round(forward_gflops(PixelTransformerConfig(adaln=adaln)), 1) == gflops


@pytest.mark.parametrize(("patch_size", "gflops"), [(16, 1352.2), (32, 547.7)])
def test_512_pixels_cost_what_is_known(patch_size, gflops):
    assert round(forward_gflops(PixelTransformerConfig(image_size=512, patch_size=patch_size)), 1) == gflops


@pytest.mark.parametrize(("image_size", "published"), [(512, 1432.6), (1024, 6183.1)])
def test_the_text_network_costs_the_published_less_what_nothing_reads(image_size, published, make_inputs):
    config = preset("text", image_size=image_size)
    tokens, width = 300, 1536
    unread = 2 * tokens * (width**2 + 3 * width * 4096) / 1e9  # the text's way out of the last block

    assert forward_gflops(config) == pytest.approx(published - unread, abs=0.1)
    assert forward_gflops(config) == pytest.approx(counted_gflops(config, make_inputs), rel=0.02)
