"""The network, the flow that it learns, samplers, and what they cost: plain PyTorch."""

from unlatent.models.condition import Condition, Text
from unlatent.models.config import CompactionConfig, PixelTransformerConfig, TextConfig
from unlatent.models.network import PixelTransformer
from unlatent.models.samplers import SamplerConfig, sample

__all__ = [
    "CompactionConfig",
    "Condition",
    "PixelTransformer",
    "PixelTransformerConfig",
    "SamplerConfig",
    "Text",
    "TextConfig",
    "sample",
]
