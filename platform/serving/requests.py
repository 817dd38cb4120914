"""What a client may ask for, and the order that the engine is given for it.

A field that is not here, of another type or out of range is refused by name. What only the deployed model can tell (its
classes, its sizes) is checked against its card.
"""

import dataclasses
import secrets
from typing import Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from unlatent.models.editing import EditConfig
from unlatent.models.samplers import SamplerConfig
from unlatent.platform.buckets import Sides
from unlatent.platform.image_sizes import in_words, nearest, read_size
from unlatent.platform.orders import Edit, Generation, Order
from unlatent.platform.prompts import Prompt, require_guided
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.errors import Refusal, shown
from unlatent.platform.serving.model_card import ModelCard
from unlatent.platform.serving.uploads import read_image, read_mask

ON_LATENTS = "; of a model on latents, all of it goes through the autoencoder, which changes every pixel a little"
MAX_SEED = 2**63 - 1
EASY_SEEDS = 2**32  # a seed of our own choice is short enough to read out, and exact in JavaScript


class ImageRequest(BaseModel):
    """What drawing and editing have in common: OpenAI's fields that can be honoured here, then ours."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = Field(max_length=1000, description="a class, by its name or its index; of a text model, a text")
    model: str | None = Field(None, description="id of the deployed model, if given")
    n: int = Field(1, ge=1, le=10, description="how many images")
    size: str = Field(
        "auto", pattern=r"^(auto|[1-9]\d{0,4}x[1-9]\d{0,4})$", description="width x height, one of the model's, or auto"
    )
    quality: Literal["auto"] = Field("auto", description="what it costs is set by steps")
    background: Literal["auto", "opaque"] = Field("auto", description="images have no transparency")
    response_format: Literal["b64_json"] = Field("b64_json", description="images come in the answer itself")
    output_format: Literal["png", "jpeg", "webp"] = Field("png", description="png and webp lose nothing")
    stream: bool = Field(False, description="answer with server-sent events")
    partial_images: int = Field(0, ge=0, le=3, description="looks at each image before it is done; needs stream")
    user: str | None = Field(None, max_length=1000, description="for the client's own use")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="image i of a request takes seed + i")
    steps: int | None = Field(None, ge=1, description="denoising steps; the model's own number if left out")

    @property
    def sides(self) -> Sides | None:
        """Height and width that are asked for, if any are."""
        return None if self.size == "auto" else read_size(self.size)

    def require_fit(self, card: ModelCard, max_steps: int) -> None:
        """Raises Refusal for what the deployed model is not, or cannot do."""
        if self.steps and self.steps > max_steps:
            raise Refusal(400, f"steps={shown(self.steps)} is over the limit of {max_steps}", "steps")
        if self.model not in (None, card.id):
            message = f"model={self.model!r} is not deployed here; {card.id} is"
            raise Refusal(404, message, "model", "model_not_found")
        if self.sides and self.sides not in card.sizes:
            near = in_words(nearest(self.sides, card.sizes))
            raise Refusal(400, f"size={self.size} is not what the model makes; {near} or auto would do", "size")
        if self.partial_images and not self.stream:
            message = f"partial_images={self.partial_images} has no effect without stream=true"
            raise Refusal(400, message, "partial_images")

    @property
    def seeds(self) -> list[int]:
        """Image i takes seed + i, so each image of a request can be asked for again alone."""
        first = secrets.randbelow(EASY_SEEDS) if self.seed is None else self.seed
        return [(first + i) % (MAX_SEED + 1) for i in range(self.n)]


class GenerationRequest(ImageRequest, strict=True):
    """A null is a field left out."""

    negative_prompt: str | None = Field(None, max_length=1000, description="what to guide away from")
    guidance: float | None = Field(None, ge=0, le=100, description="towards the prompt; 1 is none")
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


class EditRequest(ImageRequest):
    """A form, whose values are texts, an empty one being left out; the image and the mask are files."""

    image: UploadFile = Field(description="png, jpeg or webp, of a size that the model makes")
    mask: UploadFile | None = Field(
        None, description=f"png; only where it is transparent may the image change{ON_LATENTS}"
    )
    source_prompt: str | None = Field(None, max_length=1000, description="what the image shows, if known")
    n_max: int | None = Field(None, ge=0, description="steps from the end that edit: fewer keep more of the image")
    n_min: int | None = Field(None, ge=0, description="last steps that draw freely")
    n_avg: int | None = Field(None, ge=1, le=8, description="noises that a step averages over")
    source_guidance: float | None = Field(None, ge=0, le=100, description="of the source; 1 is none")
    target_guidance: float | None = Field(None, ge=0, le=100, description="of the prompt; 1 is none")
    keep_background: bool = Field(
        False, description=f"find where the image changed; keep the rest as it was{ON_LATENTS}"
    )


def generation_of(request: GenerationRequest, card: ModelCard, config: ServeConfig) -> Generation:
    """Raises Refusal for what this model cannot do."""
    request.require_fit(card, config.max_steps)
    settings = sampler_of(request, card.sampler)
    avoided = request.negative_prompt
    order = Generation(
        prompt=prompt_of(card, "prompt", request.prompt),
        avoided=None if avoided is None else prompt_of(card, "negative_prompt", avoided),
        seeds=request.seeds,
        settings=settings,
        sides=request.sides or card.sides,
        partial_images=request.partial_images,
    )
    try:
        require_guided(order.avoided, settings)
    except ValueError as error:
        raise Refusal(400, str(error), "negative_prompt") from None
    require_room(order, "guidance", config)
    return order


async def edit_of(request: EditRequest, card: ModelCard, config: ServeConfig) -> Edit:
    """Raises Refusal for what this model cannot do, and for files that are no image of a size that it makes."""
    request.require_fit(card, config.max_steps)
    source = request.source_prompt
    image, holes = await read_image(request.image, card)
    sides = image.shape[1], image.shape[2]
    if request.sides not in (None, sides):
        raise Refusal(400, f"size={request.size} is not that of the image, {in_words(sides)}; auto would do", "size")
    order = Edit(
        image=image,
        source=None if source is None else prompt_of(card, "source_prompt", source),
        target=prompt_of(card, "prompt", request.prompt),
        seeds=request.seeds,
        config=edit_config_of(request, card.edit),
        sampler=card.sampler,
        mask=holes if request.mask is None else await read_mask(request.mask, sides),
        keep_background=request.keep_background,
        partial_images=request.partial_images,
    )
    require_room(order, "n_avg", config)
    return order


def prompt_of(card: ModelCard, field: str, said: str) -> Prompt:
    try:
        return card.prompts.read(said)
    except ValueError as error:
        code = "unknown_class" if card.network.condition == "class" else "prompt_too_long"
        raise Refusal(400, str(error), field, code) from None


def sampler_of(request: GenerationRequest, defaults: SamplerConfig) -> SamplerConfig:
    """The sampler that the model's run was configured with, but for what the request says."""
    low, high = request.guidance_interval or (None, None)
    asked: dict[str, Any] = {
        "name": request.sampler,
        "steps": request.steps,
        "guidance": request.guidance,
        "guidance_low": low,
        "guidance_high": high,
    }
    return dataclasses.replace(defaults, **given(asked))


def edit_config_of(request: EditRequest, defaults: EditConfig) -> EditConfig:
    """The defaults, but for what the request says.

    Of another number of steps, as large a part edits, and as large a part draws freely.
    """
    names = ("n_max", "n_min", "n_avg", "source_guidance", "target_guidance")
    asked = given({name: getattr(request, name) for name in names})
    steps = request.steps or defaults.steps
    parts = {name: round(getattr(defaults, name) * steps / defaults.steps) for name in ("n_max", "n_min")} | asked
    if request.n_min is None:
        parts["n_min"] = min(parts["n_min"], parts["n_max"])
    try:
        return dataclasses.replace(defaults, **{"steps": steps} | parts)
    except ValueError as error:
        raise Refusal(400, str(error), "n_max") from None


def given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def require_room(order: Order, field: str, config: ServeConfig) -> None:
    if order.most_rows > config.max_rows:
        message = (
            f"{field}: {order.most_rows} rows for one image are over the limit of {config.max_rows}; less would do"
        )
        raise Refusal(400, message, field)
