"""DINO structure distance: how far apart the layouts of two images are, whatever their colours (arXiv 2201.00424).

An image's structure is how similar each of its patches is to each other, by the cosine of their keys in the deepest
attention layer of a vision transformer that learned without labels: a DINO, or a DINOv2. The distance is the mean of
the squares of what two such matrices differ by, as arXiv 2310.01506 measures editing, there by facebook/dino-vitb8.

B batch   T tokens: of the whole image, and of each patch   E width of a key
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.platform.pretrained import open_pretrained

SETTING = "edits.structure.encoder"
KINDS = {"vit": "ViTModel", "dinov2": "AutoModel", "dinov2_with_registers": "AutoModel"}
CONFIG, PREPARATION, WEIGHTS = "config.json", "preprocessor_config.json", "*.safetensors"
RESAMPLING = {2: "bilinear", 3: "bicubic"}  # by Pillow's numbers

Colour = tuple[float, float, float]  # red, green, blue


@dataclass(kw_only=True)
class StructureConfig:
    encoder: str | None = None  # the folder of a DINO or DINOv2, as transformers saves it; None: not measured

    def __post_init__(self) -> None:
        if self.encoder:
            self.encoder = str(Path(self.encoder).expanduser().absolute())


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What an encoder wants done to an image. None of it is cut off, and an image of any size is brought to `side`."""

    side: int  # pixels
    mode: str  # of the interpolation
    mean: Colour  # in 0 … 1
    std: Colour


class StructureEncoder(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        config: Any = network.config
        self.network = network.eval().requires_grad_(False)
        self.is_original = config.model_type == "vit"
        self.registers: int = getattr(config, "num_register_tokens", 0)
        self.side, self.mode = max(1, preparation.side // config.patch_size) * config.patch_size, preparation.mode
        self.deepest = [each for name, each in network.named_modules() if name.endswith(".k_proj")][-1]
        self.register_buffer("mean", torch.tensor(preparation.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(preparation.std)[:, None, None], persistent=False)

    @torch.inference_mode()
    def forward(self, images: Tensor, others: Tensor) -> Tensor:  # uint8 (B, 3, H, W) twice -> (B,)
        """The distance of each from its other one; 0 where two are the same."""
        return ((self.similarities(images) - self.similarities(others)) ** 2).mean(dim=(1, 2))

    def similarities(self, images: Tensor) -> Tensor:  # uint8 (B, 3, H, W) -> (B, T, T)
        """Cosines of the keys of an image with each other. Registers, which stand for no place, are left out."""
        keys = F.normalize(self.keys(self.prepared(images)), dim=-1)
        keys = torch.cat([keys[:, :1], keys[:, 1 + self.registers :]], dim=1)  # (B, T, E)
        return keys @ keys.transpose(1, 2)

    def prepared(self, images: Tensor) -> Tensor:  # uint8 (B, 3, H, W) -> (B, 3, side, side)
        colours = images.to(self.mean.device).float() / 255
        resized = F.interpolate(colours, (self.side, self.side), mode=self.mode, antialias=True)
        return (resized - self.mean) / self.std

    def keys(self, prepared: Tensor) -> Tensor:  # (B, 3, side, side) -> (B, 1 + registers + patches, E)
        """Of the deepest layer, all its heads side by side."""
        kept: list[Tensor] = []
        told = {"interpolate_pos_encoding": True} if self.is_original else {}  # the others do so untold
        hook = self.deepest.register_forward_hook(lambda module, given, found: kept.append(found))
        try:
            self.network(pixel_values=prepared, **told)
        finally:
            hook.remove()
        return kept[0]


def open_structure(config: StructureConfig) -> tuple[StructureEncoder, str]:
    """From a folder, with the hash of its files. Raises ValueError, in one line, where it cannot be loaded."""
    folder = Path(config.encoder or "")
    if not folder.is_dir():
        wanted = f"{CONFIG}, {PREPARATION} and model.safetensors"
        raise ValueError(f"{SETTING}={folder} is no folder; one with {wanted} would do")
    preparation = read_preparation(folder)
    network: Any = open_pretrained(SETTING, str(folder), KINDS, torch.float32)
    if network.config.num_channels != 3:
        raise ValueError(f"{SETTING}={folder} looks at {network.config.num_channels} channels; one of 3 would do")
    return StructureEncoder(network, preparation), hash_of(folder)


def hash_of(folder: Path) -> str:
    """Of all that a distance depends on."""
    hashes = []
    for file in (folder / CONFIG, folder / PREPARATION, *sorted(folder.glob(WEIGHTS))):
        with file.open("rb") as content:
            hashes.append(hashlib.file_digest(content, "sha256").hexdigest())
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def read_preparation(folder: Path) -> Preparation:
    """Raises ValueError where the file is not there, or says nothing of the size or the colours."""
    try:
        said = json.loads((folder / PREPARATION).read_text())
        size = said["crop_size"] if said.get("do_center_crop") else said["size"]  # what is left of it is what is seen
        return Preparation(
            side=size if isinstance(size, int) else int(size.get("shortest_edge") or size["height"]),
            mode=RESAMPLING[said["resample"]],
            mean=three(said["image_mean"]),
            std=three(said["image_std"]),
        )
    except OSError as error:
        raise ValueError(f"{SETTING}={folder}: {PREPARATION} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError, LookupError):
        raise ValueError(
            f"{SETTING}={folder}: {PREPARATION} lacks a size, image_mean, image_std, or a resample of 2 or 3"
        ) from None


def three(colour: list[float]) -> Colour:
    red, green, blue = map(float, colour)
    return red, green, blue
