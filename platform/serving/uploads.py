"""Images that clients send, as pixels."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fastapi import UploadFile
from torch import Tensor

from unlatent.platform import pictures
from unlatent.platform.buckets import Sides
from unlatent.platform.serving.errors import Refusal
from unlatent.platform.serving.model_card import ModelCard

Read = TypeVar("Read")


async def read_image(file: UploadFile, card: ModelCard) -> tuple[Tensor, Tensor | None]:
    """Its pixels, uint8 (C, H, W), and where it is transparent, bool (1, H, W), if it is anywhere. Raises Refusal."""
    sizes, channels = card.sizes, card.colours
    return await read(file, "image", lambda content: pictures.read_picture(content, "image", sizes, channels))


async def read_mask(file: UploadFile, sides: Sides) -> Tensor:
    """Where the mask of an image of those sides is transparent, bool (1, H, W). Raises Refusal."""
    return await read(file, "mask", lambda content: pictures.read_mask(content, "mask", sides))


async def read(file: UploadFile, field: str, decode: Callable[[bytes], Read]) -> Read:
    content = await file.read()
    try:
        return await asyncio.to_thread(decode, content)
    except pictures.TooLargeError as error:
        raise Refusal(413, str(error), field, "image_too_large") from None
    except ValueError as error:
        raise Refusal(400, str(error), field, "invalid_image") from None
