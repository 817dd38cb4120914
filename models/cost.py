"""What a network costs, counted from its configuration before a weight exists.

FLOPs are those of the matrix products, two per multiply-add; norms and activation functions are left out.
What a training step keeps for its backward pass is counted operation by operation, as PyTorch keeps it on a CPU in
float32: no recomputation, no compiler. A GPU's fused RMSNorm keeps less, and mixed precision about half.
"""

from dataclasses import dataclass

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.embeddings import TIME_FREQUENCIES
from unlatent.models.pixel_block import VECTORS
from unlatent.models.patch_block import swiglu_hidden

TRAINING_OVER_FORWARD = 3  # the backward pass multiplies every matrix twice
BYTES_PER_VALUE = 4


@dataclass(frozen=True)
class Cost:
    """Of one image."""

    parameters: int = 0
    flops: int = 0  # of the forward pass
    kept: int = 0  # values, for the backward pass

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.flops + other.flops, self.kept + other.kept)

    def __rmul__(self, times: int) -> "Cost":
        return Cost(times * self.parameters, times * self.flops, times * self.kept)


def parameters(config: PixelTransformerConfig) -> int:
    return network(config).parameters


def forward_gflops(config: PixelTransformerConfig) -> float:
    """Per image."""
    return network(config).flops / 1e9


def training_gflops(config: PixelTransformerConfig) -> float:
    """Per image, forward and backward."""
    return TRAINING_OVER_FORWARD * forward_gflops(config)


def activation_bytes(config: PixelTransformerConfig) -> int:
    """Per image: what one forward pass keeps for the backward pass."""
    return BYTES_PER_VALUE * network(config).kept


def network(config: PixelTransformerConfig) -> Cost:
    decoder = pixel_decoder(config) if config.pixel_depth else patch_decoder(config)
    return embeddings(config) + config.patch_depth * patch_block(config) + decoder


def linear(rows: int, inputs: int, outputs: int, bias: bool = True) -> Cost:
    """Its input, which it keeps, is counted where it is made: several layers may share one."""
    return Cost(parameters=(inputs + bias) * outputs, flops=2 * rows * inputs * outputs)


def keep(values: int) -> Cost:
    return Cost(kept=values)


def norm(config: PixelTransformerConfig, rows: int, width: int) -> Cost:
    if config.norm == "layer":
        return Cost(parameters=2 * width, kept=rows * (width + 2))  # input, mean and deviation
    return Cost(parameters=width, kept=rows * (2 * width + 1))  # input, normalised input, and the norm


def attention(config: PixelTransformerConfig, tokens: int, width: int, heads: int) -> Cost:
    per_head = norm(config, tokens * heads, width // heads)
    return (
        linear(tokens, width, 3 * width, bias=False)
        + keep(tokens * width)  # the input of all three
        + 2 * per_head  # queries and keys
        + keep(3 * tokens * width)  # queries and keys as attention takes them, and values
        + Cost(flops=4 * tokens * tokens * width)
        + keep(tokens * heads)  # the sum of each token's weights
        + linear(tokens, width, width)
        + keep(tokens * width)  # the outcome of attention
    )


def residual(config: PixelTransformerConfig, modulation: str, rows: int, width: int) -> Cost:
    """A branch's norm, and what modulating the branch keeps beside the vectors of modulation."""
    factors = {"pre": 2, "post": 1}[modulation]  # what is scaled, and what is gated
    return norm(config, rows, width) + keep(factors * rows * width)


def embeddings(config: PixelTransformerConfig) -> Cost:
    width, values = config.width, config.channels * config.image_size**2
    return (
        linear(config.grid**2, values // config.grid**2, width)
        + keep(values)
        + linear(1, 2 * TIME_FREQUENCIES, width)
        + linear(1, width, width)
        + keep(2 * TIME_FREQUENCIES + 2 * width)
        + Cost(parameters=(config.classes + 1) * width)
        + keep(2 * width)  # the condition, before and after its SiLU
    )


def patch_block(config: PixelTransformerConfig) -> Cost:
    tokens, width = config.grid**2, config.width
    hidden = swiglu_hidden(width)
    mlp = (
        linear(tokens, width, 2 * hidden, bias=False)
        + keep(tokens * width)
        + keep(4 * tokens * hidden)  # the gate before and after its SiLU, what it gates, and their product
        + linear(tokens, hidden, width, bias=False)
    )
    return (
        linear(1, width, 6 * width)
        + keep(6 * width)
        + 2 * residual(config, "pre", tokens, width)
        + attention(config, tokens, width, config.heads)
        + mlp
    )


def patch_decoder(config: PixelTransformerConfig) -> Cost:
    tokens, width = config.grid**2, config.width
    head = linear(tokens, width, config.channels * config.patch_size**2)
    return norm(config, tokens, width) + keep(tokens * width) + head


def pixel_decoder(config: PixelTransformerConfig) -> Cost:
    pixels, width = config.image_size**2, config.pixel_width
    directions = 1 if config.adaln == "global" else config.grid**2
    return (
        linear(pixels, config.channels, width)
        + keep(pixels * config.channels)
        + keep(2 * directions * config.width)  # the condition, before and after its SiLU
        + config.pixel_depth * pixel_block(config, directions)
        + norm(config, pixels, width)
        + keep(pixels * width)
        + linear(pixels, width, config.channels)
    )


def pixel_block(config: PixelTransformerConfig, directions: int) -> Cost:
    pixels, width = config.image_size**2, config.pixel_width
    sets = config.patch_size**2 if config.adaln == "pixel" else 1
    modulation = sets * VECTORS[config.modulation] * width
    mlp = (
        linear(pixels, width, 4 * width)
        + keep(pixels * width)
        + keep(2 * pixels * 4 * width)  # before and after the GELU
        + linear(pixels, 4 * width, width)
    )
    branches = [mlp, compact_attention(config)] if config.compaction.attention else [mlp]
    return sum(
        (residual(config, config.modulation, pixels, width) + branch for branch in branches),
        start=linear(directions, config.width, modulation) + keep(directions * modulation),
    )


def compact_attention(config: PixelTransformerConfig) -> Cost:
    tokens = (config.image_size // config.window) ** 2
    values, width = config.window**2 * config.pixel_width, config.attention_width
    return (
        linear(tokens, values, width)
        + keep(tokens * values)
        + attention(config, tokens, width, config.attention_heads)
        + keep(tokens * width)
        + linear(tokens, width, values)
    )
