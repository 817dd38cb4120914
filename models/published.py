"""Published class-conditional PixelDiT weights, under our names. No tensor changes its layout."""

import re
from collections.abc import Mapping

from torch import Tensor

MODULES = {
    "s_embedder.proj": "embed_patch",
    "t_embedder.mlp.0": "embed_time.mlp.0",
    "t_embedder.mlp.2": "embed_time.mlp.2",
    "y_embedder.embedding_table": "embed_label",
    "pixel_embedder.proj": "decoder.embed",
    "final_layer.norm": "decoder.norm",
    "final_layer.linear": "decoder.head",
}
BLOCKS = {"patch_blocks": "patch_blocks", "pixel_blocks": "decoder.blocks"}
ATTENTION = {"qkv": "qkv", "q_norm": "norm_q", "k_norm": "norm_k", "proj": "out"}
EITHER_BLOCK = {"adaLN_modulation.0": "modulation", "norm1": "norm_attend", "norm2": "norm_mlp"}
IN_BLOCK = {
    "patch_blocks": {
        **EITHER_BLOCK,
        **{f"attn.{theirs}": f"attend.{ours}" for theirs, ours in ATTENTION.items()},
        "mlp.w1": "mlp.gate",
        "mlp.w3": "mlp.widen",
        "mlp.w2": "mlp.narrow",
    },
    "pixel_blocks": {
        **EITHER_BLOCK,
        **{f"attn.{theirs}": f"attend.attend.{ours}" for theirs, ours in ATTENTION.items()},
        "compress_to_attn": "attend.compress",
        "expand_from_attn": "attend.expand",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.2",
    },
}


def from_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `PixelTransformer`."""
    return {our_name(name): tensor for name, tensor in tensors.items()}


def our_name(published: str) -> str:
    module, _, tensor = published.rpartition(".")
    ours = MODULES.get(module)
    if block := re.fullmatch(r"(patch_blocks|pixel_blocks)\.(\d+)\.(.+)", module):
        level, number, part = block.groups()
        if part in IN_BLOCK[level]:
            ours = f"{BLOCKS[level]}.{number}.{IN_BLOCK[level][part]}"
    if ours is None:
        raise ValueError(f"{published!r} is no tensor of the published class-conditional network")
    return f"{ours}.{tensor}"
