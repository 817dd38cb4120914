"""The arguments of the published networks' constructors, as a configuration of ours."""

from collections.abc import Mapping
from typing import Any

from unlatent.models.config import CompactionConfig, PixelTransformerConfig, TextConfig, listed
from unlatent.models.embeddings import ROPE_BASE

TEXT_TIME_SCALE = 1000.0  # published text networks are told 1000 times the time

CLASS_ARGUMENTS: dict[str, Any] = {  # of the published constructors, with their defaults
    "in_channels": 4,
    "num_groups": 12,
    "hidden_size": 1152,
    "pixel_hidden_size": 64,
    "patch_depth": 18,
    "pixel_depth": 4,
    "patch_size": 2,
    "num_classes": 1000,
    "use_pixel_abs_pos": True,
    "pit_adaln_post_modulation": False,
}
TEXT_ARGUMENTS: dict[str, Any] = {
    "in_channels": 3,
    "num_groups": 16,
    "hidden_size": 1152,
    "pixel_hidden_size": 64,
    "pixel_attn_hidden_size": None,
    "pixel_num_groups": None,
    "patch_depth": 26,
    "pixel_depth": 2,
    "num_text_blocks": 4,  # nothing reads it
    "patch_size": 16,
    "txt_embed_dim": 4096,
    "txt_max_length": 1024,
    "use_text_rope": True,
    "text_rope_theta": 10000.0,
    "repa_encoder_index": -1,  # training alone reads it
    "use_pixel_abs_pos": True,
    "pit_adaln_post_modulation": False,
}
FIXED = {"use_pixel_abs_pos": True, "use_text_rope": True, "text_rope_theta": ROPE_BASE}  # no other value is built here


def config_from_arguments(arguments: Mapping[str, Any], image_size: int) -> PixelTransformerConfig:
    """The configuration of a published network, from the arguments of its constructor.

    It is a text network if any of them is one that only text networks have. ValueError for one that neither has, or a
    value that is not built here.
    """
    of_text = bool(arguments.keys() & (TEXT_ARGUMENTS.keys() - CLASS_ARGUMENTS.keys()))
    known = TEXT_ARGUMENTS if of_text else CLASS_ARGUMENTS
    for name in arguments:
        if name not in known:
            kind = "text" if of_text else "class"
            raise ValueError(f"{name} is no argument of the published {kind} network; {listed(known)} would do")
    said = {**known, **arguments}
    for name, value in FIXED.items():
        if said.get(name, value) != value:
            raise ValueError(f"{name}={said[name]} is not built here; {value} would do")
    common = {
        "image_size": image_size,
        "channels": said["in_channels"],
        "patch_size": said["patch_size"],
        "width": said["hidden_size"],
        "heads": said["num_groups"],
        "patch_depth": said["patch_depth"],
        "pixel_width": said["pixel_hidden_size"],
        "pixel_depth": said["pixel_depth"],
        "modulation": "post" if said["pit_adaln_post_modulation"] else "pre",
    }
    if not of_text:
        return PixelTransformerConfig(**common, classes=said["num_classes"])
    return PixelTransformerConfig(
        **common,
        condition="text",
        time_scale=TEXT_TIME_SCALE,
        compaction=CompactionConfig(width=said["pixel_attn_hidden_size"], heads=said["pixel_num_groups"]),
        text=TextConfig(width=said["txt_embed_dim"], tokens=said["txt_max_length"], mask_padding=False),
    )
