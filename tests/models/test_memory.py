"""What drawing and training need at once is known before a weight exists: held to what PyTorch's allocator reports."""

from typing import Any

import pytest
import torch

from benchmarks.contenders import visible
from benchmarks.memory import step_memory
from unlatent.models import PixelTransformer, Text
from unlatent.models.memory import drawing_bytes, training_bytes, weights_bytes
from unlatent.models.precision import PRECISIONS, autocast
from unlatent.models.presets import preset
from unlatent.models.recomputation import RECOMPUTATIONS

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {"image_size": 256, "width": 64, "heads": 2, "patch_depth": 2, "pixel_depth": 1}
TEXT: dict[str, Any] = {
    "condition": "text",
    "text": {"width": 24, "tokens": 40},
    "compaction": {"width": 32, "heads": 2},
}
KINDS: dict[str, dict[str, Any]] = {
    "class": {},
    "small patches": {"patch_size": 8},
    "post modulation": {"modulation": "post"},
    "modulation of patches": {"adaln": "patch"},
    "modulation of the image": {"adaln": "global"},
    "no attention of pixels": {"compaction": {"attention": False}},
    "text": TEXT,
    "plain DiT": {"width": 512, "pixel_depth": 0},
    "plain DiT of texts": {"condition": "text", "text": TEXT["text"], "width": 512, "pixel_depth": 0},
}


def make_inputs(config, rows: int, height: int, width: int):
    image, t = torch.randn(rows, config.channels, height, width), torch.rand(rows)
    labels, tokens = torch.zeros(rows, dtype=torch.long), torch.randn(rows, config.text.tokens, config.text.width)
    return image, t, Text(tokens) if config.condition == "text" else labels


def measured_bytes(config, rows: int, height: int, width: int, precision: str) -> int:
    network = PixelTransformer(config).requires_grad_(False)
    for weight in network.parameters():
        weight.data = weight.data.to(PRECISIONS[precision])
    given = make_inputs(config, rows, height, width)

    @torch.inference_mode()
    def call():
        with autocast(CPU, precision):
            network(*given)

    call()
    return step_memory(call, network.parameters(), CPU).step


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_what_a_call_needs_is_what_the_allocator_reports(changes, precision):
    config = preset("b", **{**SIZES, **changes})

    measured = measured_bytes(config, 2, 256, 256, precision)

    assert drawing_bytes(config, 2, precision=precision) == pytest.approx(
        measured, rel=0.01 if config.pixel_depth else 0.1
    )


def test_it_is_of_the_images_area():
    config = preset("b", **{**SIZES, **TEXT})

    measured = measured_bytes(config, 1, 192, 352, "bf16")

    assert drawing_bytes(config, 1, 192 * 352, "bf16") == pytest.approx(measured, rel=0.01)


def test_rows_need_as_much_each():
    assert drawing_bytes(preset("text"), 2) == 2 * drawing_bytes(preset("text"), 1)


def test_weights_take_half_in_bf16():
    assert weights_bytes(preset("text"), "fp32") == 2 * weights_bytes(preset("text"), "bf16") == 4 * 1_302_470_787


@pytest.mark.parametrize("recompute", RECOMPUTATIONS)
@pytest.mark.parametrize(("precision", "most_above"), [("fp32", 1.06), ("bf16", 1.3)])
@pytest.mark.parametrize("changes", [{}, TEXT], ids=["class", "text"])
def test_what_a_training_step_needs_is_what_the_allocator_reports(changes, precision, most_above, recompute):
    config = preset("b", **{**SIZES, "pixel_depth": 2, **changes})
    network = visible(PixelTransformer(config))
    network.set_recompute(recompute)
    given = make_inputs(config, 2, 192, 320)

    def step():
        with autocast(CPU, precision):
            loss = network(*given).square().mean()
        loss.backward()
        network.zero_grad(set_to_none=True)

    step()
    measured = step_memory(step, network.parameters(), CPU).step

    assert 1 / 1.06 < measured / training_bytes(config, 2, 192 * 320, precision, recompute) < most_above
