"""What a client may ask for, and the order that the generator is given for it.

A field that is not here, of another type or out of range is refused by name. What only the deployed model can tell (its
classes, its size) is checked against its card.
"""

import dataclasses
import secrets
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from unlatent.models.samplers import SamplerConfig
from unlatent.platform.generation import class_index
from unlatent.platform.serving.errors import Refusal
from unlatent.platform.serving.generator import Order
from unlatent.platform.serving.model_card import ModelCard

MAX_SEED = 2**63 - 1
EASY_SEEDS = 2**32  # a seed of our own choice is short enough to read out, and exact in JavaScript


class GenerationRequest(BaseModel):
    """OpenAI's fields that can be honoured here, then ours. A null is a field left out."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: str = Field(max_length=1000, description="a class, by its name or its index")
    model: str | None = Field(None, description="id of the deployed model, if given")
    n: int = Field(1, ge=1, le=10, description="how many images")
    size: str = Field("auto", pattern=r"^(auto|\d{1,5}x\d{1,5})$", description="the model's own, or auto")
    quality: Literal["auto"] = Field("auto", description="what it costs is set by steps")
    background: Literal["auto", "opaque"] = Field("auto", description="images have no transparency")
    response_format: Literal["b64_json"] = Field("b64_json", description="images come in the answer itself")
    output_format: Literal["png", "jpeg", "webp"] = Field("png", description="png and webp lose nothing")
    stream: bool = Field(False, description="answer with server-sent events")
    partial_images: int = Field(0, ge=0, le=3, description="looks at each image before it is done; needs stream")
    user: str | None = Field(None, max_length=1000, description="for the client's own use")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="image i of a request takes seed + i")
    steps: int | None = Field(None, ge=1, description="denoising steps; the model's own number if left out")
    guidance: float | None = Field(None, ge=0, le=100, description="towards the class; 1 is none")
    guidance_interval: list[float] | None = Field(None, description="[low, high]: guided for low < t < high")
    sampler: Literal["ab2", "dpmpp_2m", "euler", "heun"] | None = Field(None, description="how the flow is integrated")

    @model_validator(mode="before")
    @classmethod
    def null_is_left_out(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None or name not in cls.model_fields}

    @field_validator("guidance_interval")
    @classmethod
    def rises_within_0_and_1(cls, interval: list[float]) -> list[float]:
        if len(interval) != 2 or not 0 <= interval[0] <= interval[1] <= 1:
            raise ValueError("should be [low, high] with 0 <= low <= high <= 1")
        return interval


def order_of(request: GenerationRequest, card: ModelCard, max_steps: int) -> Order:
    """Raises Refusal for what this model cannot do."""
    if request.model not in (None, card.id):
        raise Refusal(404, f"model={request.model!r} is not deployed here; {card.id} is", "model", "model_not_found")
    if request.size not in ("auto", card.size):
        raise Refusal(400, f"size={request.size} is not what the model makes; {card.size} or auto would do", "size")
    if request.partial_images and not request.stream:
        message = f"partial_images={request.partial_images} has no effect without stream=true"
        raise Refusal(400, message, "partial_images")
    settings = settings_of(request, card.sampler)
    if settings.steps > max_steps:
        raise Refusal(400, f"steps={settings.steps} is over the limit of {max_steps}", "steps")
    try:
        label = class_index(card.classes, request.prompt)
    except ValueError as error:
        raise Refusal(400, str(error), "prompt", "unknown_class") from None
    return Order(
        labels=[label] * request.n,
        seeds=seeds_of(request),
        settings=settings,
        partial_images=request.partial_images,
    )


def settings_of(request: GenerationRequest, defaults: SamplerConfig) -> SamplerConfig:
    """The sampler that the model's run was configured with, but for what the request says."""
    low, high = request.guidance_interval or (None, None)
    asked: dict[str, Any] = {
        "name": request.sampler,
        "steps": request.steps,
        "guidance": request.guidance,
        "guidance_low": low,
        "guidance_high": high,
    }
    return dataclasses.replace(defaults, **{name: value for name, value in asked.items() if value is not None})


def seeds_of(request: GenerationRequest) -> list[int]:
    """Image i takes seed + i, so each image of a request can be asked for again alone."""
    first = secrets.randbelow(EASY_SEEDS) if request.seed is None else request.seed
    return [(first + i) % (MAX_SEED + 1) for i in range(request.n)]
