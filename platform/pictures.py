"""Pictures that people bring to be edited, read with care: a picture's size is looked at before any pixel is."""

import io
import warnings

from PIL import Image
from torch import Tensor

from unlatent.platform.generation import from_image

FORMATS = ("PNG", "JPEG", "WEBP")


class TooLargeError(ValueError):
    """A picture has more pixels than the model's images."""


def read_picture(content: bytes, name: str, side: int, channels: int) -> tuple[Tensor, Tensor | None]:
    """Its pixels, uint8 (C, H, W), and where it is transparent, bool (1, H, W), if it is anywhere.

    `name` is what it is called in what is refused. Raises ValueError for what is no picture of so many pixels a side.
    """
    picture = decoded(content, name, side)
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"{name} has more than 8 bits for a channel, which would be lost; 8 would do")
    holes = transparent(picture)
    pixels = from_image(picture.convert("L" if channels == 1 else "RGB"))
    return pixels, holes if holes is not None and holes.any() else None


def read_mask(content: bytes, name: str, side: int) -> Tensor:
    """Where a mask is transparent, bool (1, H, W), as OpenAI has it.

    Raises ValueError for what is no picture of so many pixels a side, or is transparent nowhere.
    """
    holes = transparent(decoded(content, name, side))
    if holes is None:
        raise ValueError(f"{name} has no transparency, which says where to edit; a PNG with alpha would do")
    if not holes.any():
        raise ValueError(f"{name} is transparent nowhere, so nothing could be edited")
    return holes


def transparent(picture: Image.Image) -> Tensor | None:
    if not picture.has_transparency_data:
        return None
    return from_image(picture.convert("RGBA"))[3:] == 0


def decoded(content: bytes, name: str, side: int) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLargeError(f"{name} has more pixels than can be looked at; the model edits {side}x{side}") from None
    except Exception:  # Pillow says it in many ways
        raise ValueError(f"{name} is no image that can be read; a PNG, JPEG or WebP would do") from None
    if picture.size != (side, side):
        kind = TooLargeError if max(picture.size) > side else ValueError
        size = f"{picture.width}x{picture.height}"
        raise kind(f"{name} is {size}, and the model edits {side}x{side}; cut that out of it, or scale it")
    try:
        picture.load()
    except Exception as error:  # as well
        raise ValueError(f"{name} is broken: {error}; a whole PNG, JPEG or WebP would do") from None
    return picture
