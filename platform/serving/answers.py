"""What the endpoint sends back: OpenAI's answers and stream events, and with each image what makes it again."""

import asyncio
import base64
import dataclasses
import io
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from PIL.PngImagePlugin import PngInfo

from unlatent.platform.generation import to_image
from unlatent.platform.image_sizes import in_words
from unlatent.platform.orders import Edit, Generation, Order
from unlatent.platform.prompts import Prompt
from unlatent.platform.serving.errors import FAILED, Refusal
from unlatent.platform.serving.model_card import ModelCard
from unlatent.platform.serving.requests import ImageRequest
from unlatent.platform.serving.served_model import Picture

logger = logging.getLogger(__name__)

Answer = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """Words the answers to one request."""

    request: ImageRequest
    order: Order
    card: ModelCard
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, images: list[Answer]) -> Answer:
        """The answer of a request that does not stream."""
        return {
            "created": self.created,
            "background": "opaque",
            "output_format": self.request.output_format,
            "size": in_words(self.order.sides),
            "usage": self.usage(len(images)),
            "data": images,
        }

    async def event(self, picture: Picture) -> str:
        """One picture as a server-sent event."""
        kind = "completed" if picture.partial is None else "partial_image"
        content = {
            "type": f"{'image_edit' if isinstance(self.order, Edit) else 'image_generation'}.{kind}",
            "created_at": self.created,
            "size": in_words(self.order.sides),
            "quality": "auto",
            "background": "opaque",
            "output_format": self.request.output_format,
            "image_index": picture.index,
            "steps_done": picture.steps_done,
            **await self.image(picture),
        }
        if picture.partial is None:
            content["usage"] = self.usage(1)
        else:
            content["partial_image_index"] = picture.partial
        return server_sent(content["type"], content)

    async def image(self, picture: Picture) -> Answer:
        """An image with what makes it again: its settings are fields of a request."""
        origin = {
            "seed": self.order.seeds[picture.index],
            "model": self.card.id,
            "checkpoint_hash": self.card.checkpoint_hash,
            "settings": settings_of(self.order, self.card.prompts.name),
        }
        content = await asyncio.to_thread(encode, picture, self.request.output_format, origin)
        return {"b64_json": base64.b64encode(content).decode(), **origin}

    def usage(self, images: int) -> Answer:
        """In OpenAI's terms. A token of an image is a patch; a class is no text."""
        tokens = self.card.patches(self.order.sides)
        seen = tokens if isinstance(self.order, Edit) else 0
        read = sum(self.card.prompts.text_tokens(prompt) for prompt in self.order.prompts)
        return {
            "input_tokens": seen + read,
            "input_tokens_details": {"image_tokens": seen, "text_tokens": read},
            "output_tokens": images * tokens,
            "total_tokens": seen + read + images * tokens,
        }


@singledispatch
def settings_of(order: Order, name: Callable[[Prompt], str]) -> Answer:
    """The fields of a request that asks for the same, its seed and files aside."""
    raise NotImplementedError


@settings_of.register
def _(order: Generation, name: Callable[[Prompt], str]) -> Answer:
    used = order.settings
    avoided = {} if order.avoided is None else {"negative_prompt": name(order.avoided)}
    return {
        "prompt": name(order.prompt),
        **avoided,
        "size": in_words(order.sides),
        "steps": used.steps,
        "guidance": used.guidance,
        "guidance_interval": [used.guidance_low, used.guidance_high],
        "sampler": used.name,
    }


@settings_of.register
def _(order: Edit, name: Callable[[Prompt], str]) -> Answer:
    source = {} if order.source is None else {"source_prompt": name(order.source)}
    return {
        "prompt": name(order.target),
        **source,
        **dataclasses.asdict(order.config),
        "keep_background": order.keep_background,
    }


def encode(picture: Picture, output_format: str, origin: Answer) -> bytes:
    """The image as a file; a PNG carries its origin as text chunks."""
    file, chunks = io.BytesIO(), PngInfo()
    for name, value in origin.items():
        chunks.add_text(name, value if isinstance(value, str) else json.dumps(value))
    options: dict[str, Any] = {"png": {"pnginfo": chunks}, "jpeg": {"quality": 95}, "webp": {"lossless": True}}
    to_image(picture.pixels).save(file, output_format, **options[output_format])
    return file.getvalue()


def server_sent(event: str, content: Answer) -> str:
    return f"event: {event}\ndata: {json.dumps(content)}\n\n"


async def event_stream(first: Picture, rest: AsyncGenerator[Picture], answers: Answers) -> AsyncIterator[str]:
    """The events of a whole order. A refusal once the stream has begun is an event too: its status can't be."""
    async with aclosing(rest):
        try:
            yield await answers.event(first)
            async for picture in rest:
                yield await answers.event(picture)
        except Refusal as refusal:
            yield server_sent("error", refusal.body())
        except Exception:
            logger.exception("a stream has failed")
            yield server_sent("error", FAILED.body())
