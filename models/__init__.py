"""The network, the flow that it learns, samplers, and what they cost: plain PyTorch."""

from unlatent.models.config import CompactionConfig, PixelTransformerConfig
from unlatent.models.network import PixelTransformer
from unlatent.models.samplers import SamplerConfig, sample

__all__ = ["CompactionConfig", "PixelTransformer", "PixelTransformerConfig", "SamplerConfig", "sample"]
