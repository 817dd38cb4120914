"""Pixels as images keep them, and as networks take them."""

import torch
from torch import Tensor


def to_bytes(images: Tensor) -> Tensor:
    """Float images in [-1, 1] as uint8."""
    return ((images + 1) * 127.5 + 0.5).clamp(0, 255).to(torch.uint8)


def to_floats(pixels: Tensor) -> Tensor:
    """uint8 images as floats in [-1, 1], which `to_bytes` turns back into the same."""
    return pixels.to(torch.float32) / 127.5 - 1
