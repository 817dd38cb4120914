"""Pictures small enough that a page can bear dozens of them."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

FINE = 400  # pixels; what is wider is shown smaller than it is


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URI, and whether its pixels are to be seen as squares."""

    uri: str
    is_coarse: bool


def thumbnail(png: bytes, widest: int, most_bytes: int) -> Thumbnail:
    """The PNG itself where it is small enough, else WebP, and narrower until it is."""
    picture = Image.open(io.BytesIO(png))
    if picture.width <= widest and len(png) <= most_bytes:
        return Thumbnail(data_uri(png), picture.width <= FINE)
    width = min(widest, picture.width)
    while len(webp := as_webp(picture, width)) > most_bytes and width > widest // 3:
        width = round(0.85 * width)
    return Thumbnail(data_uri(webp, "webp"), False)


def as_webp(picture: Image.Image, width: int) -> bytes:
    size = width, max(1, round(picture.height * width / picture.width))
    buffer = io.BytesIO()
    picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=82)
    return buffer.getvalue()


def data_uri(picture: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
