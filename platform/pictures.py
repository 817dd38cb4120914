"""Pictures that people bring to be edited, read with care: a picture's size is looked at before any pixel is."""

import io
import warnings
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from unlatent.platform.buckets import Sides
from unlatent.platform.generation import from_image
from unlatent.platform.image_decoding import turned_upright
from unlatent.platform.image_sizes import in_words, nearest

FORMATS = ("PNG", "JPEG", "WEBP")


class TooLargeError(ValueError):
    """A picture is wider or higher than any that will do."""


def read_picture(content: bytes, name: str, sizes: Sequence[Sides], channels: int) -> tuple[Tensor, Tensor | None]:
    """Its pixels, uint8 (C, H, W), and where it is transparent, bool (1, H, W), if it is anywhere.

    `name` is what it is called in what is refused. Raises ValueError for what is no picture of one of those sizes.
    """
    picture = decoded(content, name, sizes)
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"{name} has more than 8 bits for a channel, which would be lost; 8 would do")
    holes = transparent(picture)
    pixels = from_image(picture.convert("L" if channels == 1 else "RGB"))
    return pixels, holes if holes is not None and holes.any() else None


def read_mask(content: bytes, name: str, sides: Sides) -> Tensor:
    """Where a mask is transparent, bool (1, H, W), as OpenAI has it.

    Raises ValueError for what is no picture of that height and width, or is transparent nowhere.
    """
    holes = transparent(decoded(content, name, [sides]))
    if holes is None:
        raise ValueError(f"{name} has no transparency, which says where to edit; a PNG with alpha would do")
    if not holes.any():
        raise ValueError(f"{name} is transparent nowhere, so nothing could be edited")
    return holes


def transparent(picture: Image.Image) -> Tensor | None:
    if not picture.has_transparency_data:
        return None
    return from_image(picture.convert("RGBA"))[3:] == 0


def decoded(content: bytes, name: str, sizes: Sequence[Sides]) -> Image.Image:
    """The picture as it is seen, which is turned where its camera was. Its size is looked at before its pixels are."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        likely = in_words(sizes[len(sizes) // 2])
        raise TooLargeError(f"{name} has more pixels than can be looked at; {likely} would do") from None
    except Exception:  # Pillow says it in many ways
        raise ValueError(f"{name} is no image that can be read; a PNG, JPEG or WebP would do") from None
    if (picture.width, picture.height) not in sizes:  # as it would be if it lay on its side
        require_one_of(picture, name, sizes)
    try:
        picture.load()
        upright = turned_upright(picture)
    except Exception as error:  # as well
        raise ValueError(f"{name} is broken: {error}; a whole PNG, JPEG or WebP would do") from None
    require_one_of(upright, name, sizes)
    return upright


def require_one_of(picture: Image.Image, name: str, sizes: Sequence[Sides]) -> None:
    sides = picture.height, picture.width
    if sides in sizes:
        return
    highest, widest = (max(size[axis] for size in sizes) for axis in (0, 1))
    kind = TooLargeError if sides[0] > highest or sides[1] > widest else ValueError
    raise kind(
        f"{name} is {in_words(sides)}, and {in_words(nearest(sides, sizes))} would do; cut that out, or scale it"
    )
