"""What a network needs at once, counted from its configuration before a weight exists.

Of the moments that are worst, as PyTorch runs the network operation by operation: in drawing the MLP of a patch block
or that of a pixel block, in training the beginning of the backward pass, when all is kept. Compiled, it needs less:
what MLPs widen never is written down.

In float32 this is what a CPU's allocator reports, within some per cent. In bfloat16 a training step takes up to
30 % more on a CPU, whose norms keep float32; a GPU's do not.
"""

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.cost import network, parameters
from unlatent.models.patch_block import swiglu_hidden
from unlatent.models.pixel_block import VECTORS
from unlatent.models.precision import PRECISIONS

REPEATED, GRADIENTS = 17, 3  # values a pixel and channel, of a pixel block whose backward pass is under way


def training_bytes(
    config: PixelTransformerConfig,
    images: int,
    pixels: int | None = None,
    precision: str = "fp32",
    recompute: str = "none",
) -> int:
    """Of a step on so many images at once, of the configured size or of so many pixels; without weights and gradients.

    What autograd keeps of the forward pass and, when the backward pass begins with the last pixel block, what of that
    is computed again, and gradients; in bfloat16 also the weights' copies.
    """
    pixels = config.image_size**2 if pixels is None else pixels
    values = network(config, recompute, pixels).kept
    if config.pixel_depth:
        values += (GRADIENTS + REPEATED * (recompute != "none")) * config.pixel_width * pixels
    copies = 0 if precision == "fp32" else weights_bytes(config, precision)
    return images * values * PRECISIONS[precision].itemsize + copies


def drawing_bytes(config: PixelTransformerConfig, rows: int, pixels: int | None = None, precision: str = "fp32") -> int:
    """Of one call with so many rows, each an image of the configured size or of so many pixels; without weights."""
    pixels = config.image_size**2 if pixels is None else pixels
    values = max(patch_values(config, pixels), pixel_values(config, pixels))
    return rows * values * PRECISIONS[precision].itemsize


def weights_bytes(config: PixelTransformerConfig, precision: str = "fp32") -> int:
    return parameters(config) * PRECISIONS[precision].itemsize


def patch_values(config: PixelTransformerConfig, pixels: int) -> int:
    """While a patch block's MLP multiplies its gate with what is gated."""
    patches, width, hidden = pixels // config.patch_size**2, config.width, swiglu_hidden(config.width)
    mlp = 4 * patches * hidden  # the gate before and after its SiLU, what it gates, and their product
    if config.condition == "class":
        return 4 * patches * width + mlp  # tokens before and after attention, what that mixed, what the MLP is given
    both = patches + config.text.tokens
    heads = 8 * both * width  # queries and keys, all three as projected, and the three of image and text together
    return heads + 2 * both * width + 2 * patches * width + mlp  # tokens, and the same as above


def pixel_values(config: PixelTransformerConfig, pixels: int) -> int:
    """While a pixel block's MLP goes through its GELU."""
    if not config.pixel_depth:
        return 0
    patches, late = pixels // config.patch_size**2, VECTORS[config.modulation]
    if config.modulation == "pre" and config.compaction.attention:
        late -= 2  # those that are needed before attention, and no longer
    tokens = 1 if config.adaln == "global" else patches
    sets = pixels if config.adaln == "pixel" else tokens
    around = 4 if config.compaction.attention else 2  # pixels before and after attention, what that gave, the MLP's
    return config.pixel_width * ((around + 8) * pixels + late * sets) + 2 * patches * config.width
