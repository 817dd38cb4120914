"""Rows of the images to train on: `unlatent train data=parquet` reads image, label and caption, and leaves the rest."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from unlatent.platform.generation import to_png
from unlatent.platform.scenes.painting import Mask, Pixels, paint
from unlatent.platform.scenes.scene import Scene, scene_at
from unlatent.platform.scenes.signs import Sign
from unlatent.platform.shard_folder import IMAGE

WHOLE_NUMBERS = pa.list_(pa.int32())
SIGN = [
    ("sign_text", pa.string()),
    ("sign_pixels", pa.int32()),  # that a capital is high
    ("sign_box", WHOLE_NUMBERS),  # of the plate: left, top, right, bottom, in pixels
    ("sign_letters_at", WHOLE_NUMBERS),  # left and top of the first capital
    ("sign_ink", WHOLE_NUMBERS),  # red, green, blue
    ("sign_paper", WHOLE_NUMBERS),
]
ATTRIBUTES = [(name, pa.string()) for name in ("shape", "colour", "place", "size", "texture")]
IMAGES = pa.schema(
    [
        ("image", IMAGE),
        ("label", pa.int64()),
        ("caption", pa.string()),
        ("object_mask", pa.binary()),  # PNG of one bit a pixel, as every mask
        ("sign_mask", pa.binary()),
        *SIGN,
        *ATTRIBUTES,
    ]
)


def image_row(seed: int, index: int, image_size: int) -> dict[str, Any]:
    scene = scene_at(seed, "images", index, image_size)
    painting = paint(scene)
    return {
        "image": image_file(painting.image),
        "label": scene.label,
        "caption": scene.caption,
        "object_mask": mask_file(painting.object_mask),
        "sign_mask": mask_file(painting.sign_mask),
        **sign_columns(scene.sign),
        **attribute_columns(scene),
    }


def sign_columns(sign: Sign) -> dict[str, Any]:
    return {
        "sign_text": sign.line.text,
        "sign_pixels": sign.line.letter_pixels,
        "sign_box": sign.plate,
        "sign_letters_at": (sign.line.left, sign.line.top),
        "sign_ink": sign.ink,
        "sign_paper": sign.paper,
    }


def attribute_columns(scene: Scene) -> dict[str, Any]:
    return {name: getattr(scene, name) for name, _ in ATTRIBUTES}


def image_file(pixels: Pixels) -> dict[str, Any]:  # (3, H, W)
    return {"bytes": to_png(Image.fromarray(pixels.transpose(1, 2, 0))), "path": None}


def mask_file(mask: Mask) -> bytes:
    return to_png(Image.fromarray(mask))


def read_mask(content: bytes) -> Mask:
    return np.asarray(Image.open(io.BytesIO(content)))
