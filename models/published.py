"""Published PixelDiT weights, and ours, each turned into the other.

What differs beside the names: the two values that RoPE turns together lie side by side there and half a head apart
here; two matrices of the MLP are one here; the vectors of modulation are ordered pixel by pixel there and kind by kind
here. Text networks were trained with time running from noise at 1000 to data at 0 and with the velocity noise - data:
both are turned in the weights, so that nothing inside the network knows of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.embeddings import time_frequencies
from unlatent.models.network import PixelTransformer
from unlatent.models.pixel_block import VECTORS

Turn = Callable[..., tuple[Tensor, ...]]


def as_they_are(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tensors


@dataclass(frozen=True)
class Part:
    """Some of our tensors, and the published ones that hold the same numbers."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    turn: Turn = as_they_are  # theirs into ours
    turn_back: Turn = as_they_are


def from_published(tensors: Mapping[str, Tensor], config: PixelTransformerConfig) -> dict[str, Tensor]:
    """A state dict of `PixelTransformer(config)`. Raises KeyError where a tensor is missing: `misfits` tells first."""
    state: dict[str, Tensor] = {}
    for part in parts(config):
        state.update(zip(part.ours, part.turn(*(tensors[name] for name in part.theirs)), strict=True))
    return state


def to_published(state: Mapping[str, Tensor], config: PixelTransformerConfig) -> dict[str, Tensor]:
    """The other way round."""
    tensors: dict[str, Tensor] = {}
    for part in parts(config):
        tensors.update(zip(part.theirs, part.turn_back(*(state[name] for name in part.ours)), strict=True))
    return tensors


def parts(config: PixelTransformerConfig) -> Iterator[Part]:
    """All there is of a published network of this shape."""
    yield from linear("embed_patch", "s_embedder.proj")
    yield from time_embedding(config)
    yield from linear("decoder.embed", "pixel_embedder.proj")
    yield same("decoder.norm.weight", "final_layer.norm.weight")
    yield from head(config)
    if config.condition == "class":
        yield same("embed_label.weight", "y_embedder.embedding_table.weight")
    else:
        yield from linear("embed_text.project", "y_embedder.proj")
        yield same("embed_text.norm.weight", "y_embedder.norm.weight")
        first, unsqueezed = (lambda p: (p[0],)), (lambda p: (p[None],))
        yield Part(("embed_text.position",), ("y_pos_embedding",), first, unsqueezed)
    for block in range(config.patch_depth):
        ours, theirs = f"patch_blocks.{block}", f"patch_blocks.{block}"
        if config.condition == "class":
            yield from stream(config, ours, theirs, ("", "1", "2", "adaLN_modulation.0"))
        else:
            yield from stream(config, f"{ours}.image", theirs, ("_x", "_x1", "_x2", "adaLN_modulation_img.0"))
            yield from stream(config, f"{ours}.text", theirs, ("_y", "_y1", "_y2", "adaLN_modulation_txt.0"))
    for block in range(config.pixel_depth):
        yield from pixel_block(config, f"decoder.blocks.{block}", f"pixel_blocks.{block}")


def same(ours: str, theirs: str) -> Part:
    return Part((ours,), (theirs,))


def linear(ours: str, theirs: str) -> Iterator[Part]:
    for kind in ("weight", "bias"):
        yield same(f"{ours}.{kind}", f"{theirs}.{kind}")


def time_embedding(config: PixelTransformerConfig) -> Iterator[Part]:
    ours, theirs = "embed_time.mlp.0", "t_embedder.mlp.0"
    reverse = partial(time_reversed, scale=config.time_scale) if config.condition == "text" else as_they_are
    yield Part((f"{ours}.weight",), (f"{theirs}.weight",), reverse, reverse)
    yield same(f"{ours}.bias", f"{theirs}.bias")
    yield from linear("embed_time.mlp.2", "t_embedder.mlp.2")


def head(config: PixelTransformerConfig) -> Iterator[Part]:
    sign = negated if config.condition == "text" else as_they_are
    for kind in ("weight", "bias"):
        yield Part((f"decoder.head.{kind}",), (f"final_layer.linear.{kind}",), sign, sign)


def stream(config: PixelTransformerConfig, ours: str, theirs: str, marks: tuple[str, str, str, str]) -> Iterator[Part]:
    """A patch block, or the half of one that text or image goes through."""
    which, first_norm, second_norm, modulation = marks
    yield from linear(f"{ours}.modulation", f"{theirs}.{modulation}")
    yield same(f"{ours}.norm_attend.weight", f"{theirs}.norm{first_norm}.weight")
    yield same(f"{ours}.norm_mlp.weight", f"{theirs}.norm{second_norm}.weight")
    yield from attention(f"{ours}.attend", f"{theirs}.attn", which, config.heads)
    mlp = f"{theirs}.mlp{which}"
    both = (f"{mlp}.w1.weight", f"{mlp}.w3.weight")
    yield Part((f"{ours}.mlp.gate_and_widen.weight",), both, stacked, unstacked)
    yield same(f"{ours}.mlp.narrow.weight", f"{mlp}.w2.weight")


def attention(ours: str, theirs: str, which: str, heads: int) -> Iterator[Part]:
    halves, pairs = partial(qkv_halves, heads=heads), partial(qkv_pairs, heads=heads)
    yield Part((f"{ours}.qkv.weight",), (f"{theirs}.qkv{which}.weight",), halves, pairs)
    for letter in "qk":
        names = (f"{ours}.norm_{letter}.weight",), (f"{theirs}.{letter}_norm{which}.weight",)
        yield Part(*names, lambda w: (in_halves(w),), lambda w: (in_pairs(w),))
    yield from linear(f"{ours}.out", f"{theirs}.proj{which}")


def pixel_block(config: PixelTransformerConfig, ours: str, theirs: str) -> Iterator[Part]:
    kinds = VECTORS[config.modulation]
    layers = ("modulate_before", "modulate_after") if config.modulation == "pre" else ("modulate_after",)
    split, joined = partial(by_kind, config=config, kinds=kinds), partial(by_pixel, config=config, kinds=kinds)
    for kind in ("weight", "bias"):
        names = tuple(f"{ours}.{layer}.{kind}" for layer in layers)
        yield Part(names, (f"{theirs}.adaLN_modulation.0.{kind}",), split, joined)
    yield same(f"{ours}.norm_attend.weight", f"{theirs}.norm1.weight")
    yield same(f"{ours}.norm_mlp.weight", f"{theirs}.norm2.weight")
    yield from linear(f"{ours}.attend.compress", f"{theirs}.compress_to_attn")
    yield from attention(f"{ours}.attend.attend", f"{theirs}.attn", "", config.attention_heads)
    yield from linear(f"{ours}.attend.expand", f"{theirs}.expand_from_attn")
    yield from linear(f"{ours}.mlp.0", f"{theirs}.mlp.fc1")
    yield from linear(f"{ours}.mlp.2", f"{theirs}.mlp.fc2")


def in_halves(values: Tensor) -> Tensor:  # (..., 2n) -> (..., 2n): first of every pair, then second
    return values.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)


def in_pairs(values: Tensor) -> Tensor:
    return values.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)


def qkv_halves(weight: Tensor, heads: int) -> tuple[Tensor]:  # (3A, A) -> (3A, A)
    return (reorder_heads(weight, heads, in_halves),)


def qkv_pairs(weight: Tensor, heads: int) -> tuple[Tensor]:
    return (reorder_heads(weight, heads, in_pairs),)


def reorder_heads(weight: Tensor, heads: int, order: Callable[[Tensor], Tensor]) -> Tensor:
    """The outputs of each head in another order, in queries and keys alike; values stay."""
    per_head = weight.unflatten(0, (3, heads, -1)).transpose(-1, -2)  # (3, heads, A, A / heads)
    turned = torch.cat([order(per_head[:2]), per_head[2:]])
    return turned.transpose(-1, -2).flatten(0, 2)


def stacked(*weights: Tensor) -> tuple[Tensor]:
    return (torch.cat(weights),)


def unstacked(weight: Tensor) -> tuple[Tensor, ...]:
    return weight.chunk(2)


def by_kind(values: Tensor, config: PixelTransformerConfig, kinds: int) -> tuple[Tensor, ...]:
    """Modulation ordered (pixel, kind, value), as (kind, pixel, value); before and after attention apart."""
    turned = values.unflatten(0, (-1, kinds, config.pixel_width)).transpose(0, 1)
    apart = (turned[:2], turned[2:]) if config.modulation == "pre" else (turned,)
    return tuple(each.flatten(0, 2) for each in apart)


def by_pixel(*values: Tensor, config: PixelTransformerConfig, kinds: int) -> tuple[Tensor]:
    return (torch.cat(values).unflatten(0, (kinds, -1, config.pixel_width)).transpose(0, 1).flatten(0, 2),)


def negated(tensor: Tensor) -> tuple[Tensor]:
    return (-tensor,)


def time_reversed(weight: Tensor, scale: float) -> tuple[Tensor]:  # (D, 256) -> (D, 256)
    """For cos and sin of scale * t * f, a layer made for those of scale * (1 - t) * f; and the other way round.

    cos(a - b) = cos a cos b + sin a sin b and sin(a - b) = sin a cos b - cos a sin b, where b = scale * t * f.
    """
    whole = (scale * time_frequencies()).to(weight.device)
    cos, sin = whole.cos(), whole.sin()
    of_cos, of_sin = weight.double().chunk(2, dim=1)
    turned = torch.cat([of_cos * cos + of_sin * sin, of_cos * sin - of_sin * cos], dim=1)
    return (turned.to(weight.dtype),)


def misfits(tensors: Mapping[str, Tensor], config: PixelTransformerConfig) -> list[str]:
    """What keeps published tensors from being those of a network of this shape: a line for each, by their names."""
    wanted = published_shapes(config)
    lines = [f"{name} is missing, {tuple(shape)}" for name, shape in wanted.items() if name not in tensors]
    for name, tensor in tensors.items():
        if name not in wanted:
            lines.append(f"{name} is not of this network, {tuple(tensor.shape)}")
        elif tensor.shape != wanted[name]:
            lines.append(f"{name} is {tuple(tensor.shape)}, not {tuple(wanted[name])}")
    return lines


def published_shapes(config: PixelTransformerConfig) -> dict[str, torch.Size]:
    """By published name."""
    with torch.device("meta"):
        state = PixelTransformer(config).state_dict()
        return {name: tensor.shape for name, tensor in to_published(state, config).items()}
