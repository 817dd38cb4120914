"""Networks that LPIPS and the structure distance look at images with: small ones, or of random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlatent.platform.lpips import ALEXNET, HEADS
from unlatent.platform.pretrained import import_transformers
from unlatent.platform.structure import PREPARATION

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
ALEXNET_SHAPES = {
    0: (64, 3, 11, 11),
    3: (192, 64, 5, 5),
    6: (384, 192, 3, 3),
    8: (256, 384, 3, 3),
    10: (256, 256, 3, 3),
}
CHANNELS = (64, 192, 384, 256, 256)
AS_PUBLISHED = {  # of facebook/dino-vitb8, but for the size
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "size": 32,
}
AS_DINOV2 = {  # of facebook/dinov2-base, but for the sizes
    **{name: AS_PUBLISHED[name] for name in ("do_normalize", "do_resize", "image_mean", "image_std")},
    "image_processor_type": "BitImageProcessor",
    "do_center_crop": True,
    "crop_size": {"height": 56, "width": 56},
    "resample": 3,
    "size": {"shortest_edge": 64},
}


def random_lpips(seed: int = 0) -> dict[str, dict[str, Tensor]]:
    """The two files' weights: what LPIPS takes of AlexNet, and heads; these are never below 0, as the true ones."""
    generator = torch.Generator().manual_seed(seed)
    alexnet: dict[str, Tensor] = {}
    for number, shape in ALEXNET_SHAPES.items():
        spread = (2 / torch.Size(shape[1:]).numel()) ** 0.5  # keeps the size of what comes out
        alexnet[f"features.{number}.weight"] = spread * torch.randn(shape, generator=generator)
        alexnet[f"features.{number}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    heads = {
        f"lin{number}.model.1.weight": torch.rand(1, channels, 1, 1, generator=generator)
        for number, channels in enumerate(CHANNELS)
    }
    return {ALEXNET: alexnet, HEADS: heads}


def write_lpips(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for file, weights in random_lpips(seed).items():
        torch.save(weights, folder / file)
    return folder


def write_encoder(folder: Path, kind: str = "ViT", seed: int = 0, **changes: Any) -> Path:
    """A tiny DINO, with no pooling layer, as published; or another kind, of patches of 14 pixels."""
    transformers = import_transformers()
    sizes, without = {"patch_size": 8, "image_size": 32}, {"add_pooling_layer": False}
    if kind != "ViT":
        sizes, without = {"patch_size": 14, "image_size": 56}, {}
    torch.manual_seed(seed)
    config = getattr(transformers, f"{kind}Config")(**SIZES | sizes | {"initializer_range": 0.2} | changes)
    getattr(transformers, f"{kind}Model")(config, **without).save_pretrained(folder)
    prepared = AS_PUBLISHED if kind == "ViT" else AS_DINOV2
    (folder / PREPARATION).write_text(json.dumps(prepared))
    return folder
