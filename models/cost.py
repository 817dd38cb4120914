"""What a network costs, counted from its configuration before a weight exists.

FLOPs are those of the matrix products, two per multiply-add; norms and activation functions are left out. A training
step multiplies every matrix twice more in its backward pass, but for inputs that need no gradient; what it computes a
second time to save memory is counted apart, for it is no part of what the model needs. PyTorch's counter gives a flash
attention's backward pass half as much again, which recomputes its weights.

What a training step keeps for its backward pass is counted operation by operation, as PyTorch keeps it on a CPU in
float32, without the compiler. A GPU's fused RMSNorm keeps less, and mixed precision about half.
"""

from dataclasses import dataclass

from unlatent.models.attention import SHORT
from unlatent.models.condition import TOKEN_BYTES
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.embeddings import TIME_FREQUENCIES
from unlatent.models.patch_block import swiglu_hidden
from unlatent.models.pixel_block import VECTORS
from unlatent.models.recomputation import RECOMPUTATIONS

BYTES_PER_VALUE = 4


@dataclass(frozen=True)
class Cost:
    """Of one image."""

    parameters: int = 0
    flops: int = 0  # of the forward pass
    unasked: int = 0  # flops of a backward pass that are not needed: nothing asks for the gradient of an image
    again: int = 0  # flops of the forward pass that the backward pass repeats
    kept: int = 0  # values, for the backward pass

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.parameters + other.parameters,
            self.flops + other.flops,
            self.unasked + other.unasked,
            self.again + other.again,
            self.kept + other.kept,
        )

    def __rmul__(self, times: int) -> "Cost":
        return Cost(*(times * part for part in (self.parameters, self.flops, self.unasked, self.again, self.kept)))


def parameters(config: PixelTransformerConfig) -> int:
    return network(config).parameters


def forward_gflops(config: PixelTransformerConfig, pixels: int | None = None) -> float:
    """Per image, of the configured size or of so many pixels; of a text network with texts of full length."""
    return network(config, pixels=pixels).flops / 1e9


def training_gflops(config: PixelTransformerConfig, pixels: int | None = None) -> float:
    """Per image, forward and backward: what the model needs, whatever is computed again."""
    counted = network(config, pixels=pixels)
    return (3 * counted.flops - counted.unasked) / 1e9


def recomputed_gflops(config: PixelTransformerConfig, recompute: str) -> float:
    """Per image: what a training step computes beyond that (see `recomputation`)."""
    return network(config, recompute).again / 1e9


def activation_bytes(config: PixelTransformerConfig, recompute: str = "none", pixels: int | None = None) -> int:
    """Per image: what one forward pass keeps for the backward pass."""
    return BYTES_PER_VALUE * network(config, recompute, pixels).kept


def network(config: PixelTransformerConfig, recompute: str = "none", pixels: int | None = None) -> Cost:
    """Of an image of the configured size, or of so many pixels, whatever its proportion."""
    assert recompute in RECOMPUTATIONS, recompute
    pixels = config.image_size**2 if pixels is None else pixels
    again = recompute != "none"
    decoder = pixel_decoder(config, pixels, again) if config.pixel_depth else patch_decoder(config, pixels)
    return embeddings(config, pixels) + patch_level(config, pixels, recompute == "blocks") + decoder


def linear(rows: int, inputs: int, outputs: int, bias: bool = True, asked: bool = True) -> Cost:
    """Its input, which it keeps, is counted where it is made: several layers may share one."""
    flops = 2 * rows * inputs * outputs
    return Cost(parameters=(inputs + bias) * outputs, flops=flops, unasked=0 if asked else flops)


def keep(values: int) -> Cost:
    return Cost(kept=values)


def repeated(cost: Cost, inputs: int) -> Cost:
    """The same, of which only so many values are kept, and all is computed again."""
    return Cost(cost.parameters, cost.flops, cost.unasked, again=cost.flops, kept=inputs)


def norm(config: PixelTransformerConfig, rows: int, width: int) -> Cost:
    if config.norm == "layer":
        return Cost(parameters=2 * width, kept=rows * (width + 2))  # input, mean and deviation
    return rms_norm(rows, width)


def rms_norm(rows: int, width: int) -> Cost:
    return Cost(parameters=width, kept=rows * (2 * width + 1))  # input, normalised input, and the norm


def projection(config: PixelTransformerConfig, tokens: int, width: int, heads: int) -> Cost:
    """Queries, keys and values, normalised; before they are rotated and mixed."""
    return (
        linear(tokens, width, 3 * width, bias=False)
        + keep(tokens * width)  # the input of all three
        + 2 * norm(config, tokens * heads, width // heads)  # queries and keys
        + keep(tokens * width)  # values, which lie beside them
    )


def mixing(tokens: int, width: int, heads: int, copied: bool) -> Cost:
    """Attention itself; `copied` if its values do not lie where they were projected."""
    rotated, outcome = 2 * tokens * width, tokens * width
    if tokens <= SHORT:
        kept = rotated + tokens * width + heads * tokens**2 + outcome  # copies of all three, and the weights
    else:
        kept = rotated + copied * tokens * width + tokens * heads + outcome  # the sum of each token's weights
    return Cost(flops=4 * tokens * tokens * width, kept=kept)


def residual(config: PixelTransformerConfig, modulation: str, rows: int, width: int) -> Cost:
    """A branch's norm, and what modulating the branch keeps beside the vectors of modulation."""
    factors = {"pre": 2, "post": 1}[modulation]  # what is scaled, and what is gated
    return norm(config, rows, width) + keep(factors * rows * width)


def embeddings(config: PixelTransformerConfig, pixels: int) -> Cost:
    width, patch_values = config.width, config.channels * config.patch_size**2
    time = (
        linear(1, 2 * TIME_FREQUENCIES, width, asked=False)
        + linear(1, width, width)
        + keep(2 * TIME_FREQUENCIES + 2 * width)
    )
    image = linear(pixels // config.patch_size**2, patch_values, width, asked=False) + keep(config.channels * pixels)
    if config.condition == "class":
        return image + time + Cost(parameters=(config.classes + 1) * width) + keep(2 * width)  # before, after its SiLU
    tokens, encoder_width = config.text.tokens, config.text.width
    learned = config.text.learned
    text = (
        Cost(parameters=256 * encoder_width // TOKEN_BYTES if learned else 0)
        + linear(tokens, encoder_width, width, asked=learned)
        + keep(tokens * encoder_width)
        + rms_norm(tokens, width)
        + Cost(parameters=tokens * width)  # positions
    )
    return image + time + text + keep(width)  # the condition, after its SiLU


def patch_level(config: PixelTransformerConfig, pixels: int, again: bool) -> Cost:
    patches, texts = pixels // config.patch_size**2, config.text.tokens
    if config.condition == "class":
        block = patch_block(config, patches)
        return config.patch_depth * (repeated(block, patches * config.width) if again else block)
    blocks = [
        joint_block(config, patches, last=number == config.patch_depth) for number in range(1, config.patch_depth + 1)
    ]
    inputs = (patches + texts) * config.width
    return sum((repeated(block, inputs) if again else block for block in blocks), start=Cost())


def patch_block(config: PixelTransformerConfig, patches: int) -> Cost:
    mixed = mixing(patches, config.width, config.heads, copied=False)
    return before_mixing(config, patches) + mixed + after_mixing(config, patches)


def joint_block(config: PixelTransformerConfig, patches: int, last: bool) -> Cost:
    """Image and text, mixed together. In the last block nothing is made of the mixed text."""
    texts, width = config.text.tokens, config.width
    of_text = after_mixing(config, texts)
    return (
        before_mixing(config, patches)
        + before_mixing(config, texts)
        + mixing(patches + texts, width, config.heads, copied=True)
        + after_mixing(config, patches)
        + (Cost(parameters=of_text.parameters) if last else of_text)
    )


def before_mixing(config: PixelTransformerConfig, tokens: int) -> Cost:
    """The modulation of a whole block, the norm before attention, and the projections."""
    width = config.width
    return (
        linear(1, width, 6 * width)
        + keep(6 * width)
        + norm(config, tokens, width)
        + keep(tokens * width)  # what is scaled
        + projection(config, tokens, width, config.heads)
    )


def after_mixing(config: PixelTransformerConfig, tokens: int) -> Cost:
    width, hidden = config.width, swiglu_hidden(config.width)
    return (
        linear(tokens, width, width)
        + keep(tokens * width)  # what is gated
        + residual(config, "pre", tokens, width)
        + linear(tokens, width, 2 * hidden, bias=False)
        + keep(tokens * width)
        + keep(4 * tokens * hidden)  # the gate before and after its SiLU, what it gates, and their product
        + linear(tokens, hidden, width, bias=False)
    )


def patch_decoder(config: PixelTransformerConfig, pixels: int) -> Cost:
    tokens, width = pixels // config.patch_size**2, config.width
    head = linear(tokens, width, config.channels * config.patch_size**2)
    return norm(config, tokens, width) + keep(tokens * width) + head


def pixel_decoder(config: PixelTransformerConfig, pixels: int, again: bool) -> Cost:
    width = config.pixel_width
    directions = 1 if config.adaln == "global" else pixels // config.patch_size**2
    return (
        linear(pixels, config.channels, width, asked=False)
        + keep(pixels * config.channels)
        + keep(2 * directions * config.width)  # the condition, before and after its SiLU
        + config.pixel_depth * pixel_block(config, pixels, directions, again)
        + norm(config, pixels, width)
        + keep(pixels * width)
        + linear(pixels, width, config.channels)
    )


def pixel_block(config: PixelTransformerConfig, pixels: int, directions: int, again: bool) -> Cost:
    """What attention gets, attention, and the rest; the first and the last can be computed again."""
    width = config.pixel_width
    sets = config.patch_size**2 if config.adaln == "pixel" else 1
    pre, attention = config.modulation == "pre", config.compaction.attention
    early = 2 if pre and attention else 0  # vectors that are needed before attention
    late = VECTORS[config.modulation] - early

    before = modulation(config, directions, sets * early) + norm(config, pixels, width) + keep(pre * pixels * width)
    after = (
        modulation(config, directions, sets * late)
        + keep(attention * pixels * width)  # what attention gives, scaled or gated
        + residual(config, config.modulation, pixels, width)
        + linear(pixels, width, 4 * width)
        + keep(pixels * width)
        + keep(2 * pixels * 4 * width)  # before and after the GELU
        + linear(pixels, 4 * width, width)
    )
    if again:
        before, after = repeated(before, 0), repeated(after, (1 + attention) * pixels * width)
    return before + compact_attention(config, pixels) + after if attention else after


def modulation(config: PixelTransformerConfig, directions: int, vectors: int) -> Cost:
    values = vectors * config.pixel_width
    return linear(directions, config.width, values) + keep(directions * values) if vectors else Cost()


def compact_attention(config: PixelTransformerConfig, pixels: int) -> Cost:
    tokens = pixels // config.window**2
    values, width, heads = config.window**2 * config.pixel_width, config.attention_width, config.attention_heads
    return (
        linear(tokens, values, width)
        + keep(tokens * values)
        + projection(config, tokens, width, heads)
        + mixing(tokens, width, heads, copied=False)
        + linear(tokens, width, width)
        + keep(tokens * width)
        + linear(tokens, width, values)
    )
