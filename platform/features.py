"""What images are compared by: features of a network, and their spectrum."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlatent.platform.torchvision_shim import declare_missing_operators

Arrays = dict[str, Any]  # of numpy arrays


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A network that turns images into features."""

    name: str  # as it stands in the results
    hash: str  # of the weights
    accuracy: float | None  # on held-out images; None for a network that was trained on something else
    network: nn.Module  # uint8 (N, C, H, W) -> features (N, D), class scores (N, K) or None


@dataclass(kw_only=True)
class ImageStatistics:
    """What is kept of a set of images. Every metric can be computed from two of these."""

    features: NDArray[np.float32]  # (N, D)
    predicted: NDArray[np.int64]  # (N,) most likely classes; empty if the extractor knows none
    power: NDArray[np.float64]  # (H, W) squared magnitudes of the Fourier transform, mean over images and channels


def measure(extractor: Extractor, batches: Iterable[Tensor], device: torch.device) -> ImageStatistics:
    """Statistics of uint8 images (B, C, H, W), batch by batch."""
    network = extractor.network.to(device).eval()
    features: list[NDArray[np.float32]] = []
    predicted: list[NDArray[np.int64]] = []
    power: list[NDArray[np.float64]] = []
    for images in batches:
        with torch.inference_mode():
            values, scores = network(images.to(device))
        features.append(values.float().cpu().numpy())
        if scores is not None:
            predicted.append(scores.argmax(dim=1).cpu().numpy())
        power.append(total_power(images))
    return ImageStatistics(
        features=np.concatenate(features),
        predicted=np.concatenate(predicted) if predicted else np.empty(0, np.int64),
        power=np.sum(power, axis=0) / sum(map(len, features)),
    )


def total_power(images: Tensor) -> NDArray[np.float64]:  # (N, C, H, W) -> (H, W)
    """Squared magnitudes of the Fourier transform, mean over channels, summed over images."""
    return torch.fft.fft2(images.double()).abs().square().mean(dim=1).sum(dim=0).numpy()


def resize(images: Tensor, size: int) -> Tensor:  # (N, C, H, W) -> float (N, C, size, size), in 0..255
    """clean-fid's resize: bicubic, its kernel widened where it shrinks, nothing rounded (arXiv:2104.11222)."""
    if images.shape[-1] == size:
        return images.float()
    declare_missing_operators()
    from cleanfid.resize import make_resizer

    resizer = make_resizer("PIL", False, "bicubic", (size, size))
    channels = images.shape[1]
    colour = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()  # it knows three channels only
    resized = torch.from_numpy(np.stack([resizer(image) for image in colour])).permute(0, 3, 1, 2)
    return resized[:, :channels].to(images.device)


def pack(arrays: Arrays) -> bytes:
    """Arrays as the content of an `.npz` file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpack(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)
