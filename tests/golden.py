"""The vectors in `tests/data`: published networks on random weights, and what they say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlatent.models import PixelTransformerConfig
from unlatent.models.published_arguments import config_from_arguments

DATA = Path(__file__).parent / "data"
TOLERANCE = 1e-4  # largest difference, in float32
NETWORKS = ("class_pre_modulation", "class_post_modulation", "text")


def read(name: str) -> dict[str, Tensor]:
    with np.load(DATA / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(np.atleast_1d(arrays[key])) for key in arrays.files}


@dataclass
class Golden:
    """One network: its published arguments and tensors, and one input with its output, in our conventions."""

    arguments: dict[str, Any]
    tensors: dict[str, Tensor]
    config: PixelTransformerConfig
    x: Tensor
    t: Tensor  # 0 noise, 1 data
    condition: Tensor
    velocity: Tensor  # data - noise


def golden(name: str) -> Golden:
    arrays = read(name)
    arguments = {key.removeprefix("config/"): value.item() for key, value in arrays.items() if "config/" in key}
    tensors = {key.removeprefix("param/"): value for key, value in arrays.items() if "param/" in key}
    t, velocity = arrays["input/t"], arrays["output"]
    if name == "text":  # published: 1000 is noise, and the velocity is noise - data
        t, velocity = 1 - t / 1000, -velocity
    config = config_from_arguments(arguments, image_size=16)
    return Golden(arguments, tensors, config, arrays["input/x"], t, arrays["input/y"], velocity)
