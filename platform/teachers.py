"""Frozen networks whose view of an image a network in training is aligned with (`models.alignment`)."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from unlatent.models.config import listed
from unlatent.platform.torchvision_shim import declare_missing_operators

KINDS = ("dinov2", "dinov2_with_registers")  # as a model's config.json calls them
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue, in [0, 1]


class Dinov2Teacher(nn.Module):
    """DINOv2's patch tokens, after its last norm, of images of any sides.

    The image is resized, bicubic, so that `patch` of its pixels on a side become one patch of the teacher's, of 14:
    with 16, 256 x 256 become 224 x 224 and 16 x 16 tokens, as in the paper. A side that `patch` does not divide has as
    many tokens as is nearest. Positions are interpolated for the grid, as transformers does it; the reference code of
    DINOv2 adds 0.1 to the sides of the grid first, which moves them by a tenth of a token at most.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, patch: int) -> None:
        super().__init__()
        config: Any = network.config
        self.network = network.eval().requires_grad_(False)
        self.width: int = config.hidden_size
        self.patch, self.own_patch = patch, int(config.patch_size)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:  # (B, 1 or 3, H, W) in [-1, 1] -> (B, rows, columns, E)
        """Computes in the type of its weights, or under the autocast that the caller is in."""
        rows, columns = (max(1, round(side / self.patch)) for side in images.shape[2:])
        colours = ((images.float() + 1) / 2 - self.mean) / self.std  # (B, 3, H, W)
        resized = F.interpolate(colours, (rows * self.own_patch, columns * self.own_patch), mode="bicubic")
        tokens = self.network(pixel_values=resized).last_hidden_state  # (B, 1 + registers + patches, E)
        return tokens[:, -rows * columns :].unflatten(1, (rows, columns))


def open_teacher(name: str, patch: int, dtype: torch.dtype = torch.float32) -> Dinov2Teacher:
    """A DINOv2 from a folder as `save_pretrained` writes it, or, if there is no such folder, by its name on the hub.

    A name on the hub is two words with a slash between, such as facebook/dinov2-base; it is downloaded unless the
    cache has it. Weights must be safetensors, and all there. Raises ValueError, in one line, where that fails.
    """
    here = Path(name).expanduser().is_dir()
    if not here and not names_a_hub_model(name):
        raise ValueError(f"alignment.teacher={name} is no folder; one with config.json and model.safetensors would do")
    try:
        network = load(str(Path(name).expanduser()) if here else name, here, dtype)
    except ImportError:
        raise ValueError(
            f"alignment.teacher={name} needs the package transformers; pip install 'unlatent[alignment]' would do"
        ) from None
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"alignment.teacher={name} cannot be loaded: {reason}") from None
    return Dinov2Teacher(network, patch)


def names_a_hub_model(name: str) -> bool:
    return name.count("/") == 1 and all(name.split("/")) and name[0] not in ".~"


def load(source: str, here: bool, dtype: torch.dtype) -> nn.Module:
    declare_missing_operators()  # transformers imports torchvision
    with torch.device("meta"):  # has PyTorch list its constructors before transformers, as it loads, replaces some:
        torch.empty(0)  # it lists them once, and tensors of those missing would never again be on a given device
    from transformers import AutoConfig, AutoModel

    safe = {"local_files_only": here, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(source, **safe)
    if config.model_type not in KINDS:
        raise ValueError(f"its model_type is {config.model_type}; {listed(KINDS)} would do")
    told = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # what does not fit, instead of a report
    network, loaded = AutoModel.from_pretrained(
        source, config=config, dtype=dtype, use_safetensors=True, **told, **safe
    )
    unfit = sorted({*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])})
    if unfit:  # they are random now
        raise ValueError(f"of its weights {len(unfit)} are missing or of another shape, such as {unfit[0]}")
    return network
