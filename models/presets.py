"""Networks with a name: what each says beyond the defaults, which are XL's."""

from typing import Any

from unlatent.models.config import PixelTransformerConfig, config_from, listed

PRESETS: dict[str, dict[str, Any]] = {
    # Trains in minutes on a CPU.
    "tiny": {"patch_size": 4, "width": 64, "heads": 4, "patch_depth": 3, "pixel_depth": 2},
    # The same for captions, which it reads by itself, of 64² images.
    "text_tiny": {
        "image_size": 64,
        "condition": "text",
        "text": {"encoder": "bytes", "width": 128, "tokens": 32},
        "patch_size": 8,
        "width": 128,
        "heads": 4,
        "patch_depth": 4,
        "pixel_depth": 2,
    },
    # PixelDiT-B: 184.7M parameters, 75.4 GFLOPs at 256² with patch 16.
    "b": {"width": 768, "heads": 12, "patch_depth": 12, "pixel_depth": 2},
    # PixelDiT-L: 569.6M parameters, 227.8 GFLOPs at 256² with patch 16.
    "l": {"width": 1024, "patch_depth": 22},
    # PixelDiT-XL: 797.4M parameters, 311.2 GFLOPs at 256² with patch 16.
    "xl": {},
    # PixelDiT-T2I: 1,302.5M parameters, 1.42 TFLOPs at 512² with 300 tokens of Gemma-2-2b.
    "text": {
        "image_size": 512,
        "condition": "text",
        "time_scale": 1000.0,
        "width": 1536,
        "heads": 24,
        "patch_depth": 14,
        "pixel_depth": 2,
        "compaction": {"width": 1152, "heads": 16},
    },
}


def preset(name: str, **changes: Any) -> PixelTransformerConfig:
    """The configuration of a named network, with fields of one's own. ValueError for a name that is none."""
    if name not in PRESETS:
        raise ValueError(f"preset={name!r} is not known; {listed(PRESETS)} would do")
    return config_from({**PRESETS[name], **changes})
