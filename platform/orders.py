"""What one request asks for, all of it checked: images to draw, or an image to edit.

An order turns into jobs for the engine, one for each image, which end with its pixels. Its noise comes from the image's
own seed, so the image is a function of checkpoint, order and seed: batch mates, device and replica do not show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlatent.models import editing
from unlatent.models.editing import EditConfig, changed_region, kept_outside
from unlatent.models.engine import Engine, Job
from unlatent.models.queries import Trajectory
from unlatent.models.samplers import Point, SamplerConfig, draw
from unlatent.platform.buckets import Sides
from unlatent.platform.data_order import mix
from unlatent.platform.generation import LoadedModel
from unlatent.platform.prompts import Prompt

EDITS = 1  # the stream of noise that edits draw from: the noise that made an image would break its edit

OnStep = Callable[[int, Point], None]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Images of a class, or of a text, from noise."""

    prompt: Prompt
    seeds: list[int]  # one for each image
    settings: SamplerConfig
    sides: Sides  # height and width of the images
    avoided: Prompt | None = None  # what guidance leads away from; None: from nothing in particular
    partial_images: int = 0  # how often each image is shown before it is done

    @property
    def steps(self) -> list[int]:
        """Those that an image takes, by the number that is done after each."""
        return list(range(1, self.settings.steps + 1))

    @property
    def most_rows(self) -> int:
        """Of one image in one network call."""
        return self.settings.most_rows

    @property
    def prompts(self) -> list[Prompt | None]:
        return [self.prompt, self.avoided]

    @property
    def precision(self) -> str:
        return self.settings.precision

    def job(self, model: LoadedModel, index: int, on_step: OnStep | None = None) -> Job:
        return Job(self.trajectory(model, self.seeds[index], on_step), self.most_rows)

    def trajectory(self, model: LoadedModel, seed: int, on_step: OnStep | None) -> Trajectory:
        noise = model.noise([seed], self.sides)
        away = model.unconditional(1) if self.avoided is None else model.condition([self.avoided])
        image = yield from draw(noise, model.condition([self.prompt]), self.settings, away, on_step)
        return pixels_of(model, image)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """An image turned into what another class, or text, asks for, by FlowEdit."""

    image: Tensor  # uint8 (C, H, W)
    source: Prompt | None  # what the image shows; None: it is not known
    target: Prompt
    seeds: list[int]
    config: EditConfig
    sampler: SamplerConfig
    mask: Tensor | None = None  # bool (1, H, W): where it is false, all stays what it is
    keep_background: bool = False  # the same with a mask that is found where the edit changed much
    partial_images: int = 0

    @property
    def sides(self) -> Sides:
        """Height and width of the image."""
        height, width = self.image.shape[1:]
        return height, width

    @property
    def steps(self) -> list[int]:
        return list(range(self.config.steps - self.config.n_max + 1, self.config.steps + 1))

    @property
    def most_rows(self) -> int:
        return editing.most_rows(self.config, self.sampler)

    @property
    def prompts(self) -> list[Prompt | None]:
        return [self.target, self.source]

    @property
    def precision(self) -> str:
        return self.sampler.precision

    def job(self, model: LoadedModel, index: int, on_step: OnStep | None = None) -> Job:
        return Job(self.trajectory(model, self.seeds[index], on_step), self.most_rows)

    def task(self, model: LoadedModel) -> editing.Edit:
        nothing = model.unconditional(1)
        return editing.Edit(
            source=nothing if self.source is None else model.condition([self.source]),
            target=model.condition([self.target]),
            unconditional=nothing,
            config=self.config,
            sampler=self.sampler,
            mask=None if self.mask is None else model.space.mask(self.mask[None]).to(model.device, torch.float32),
        )

    def trajectory(self, model: LoadedModel, seed: int, on_step: OnStep | None) -> Trajectory:
        image = model.space.encode(self.image[None].to(model.device))
        edited = yield from self.edited(model, image, seed, on_step)
        return pixels_of(model, kept_background(image, edited) if self.keep_background else edited)

    def edited(self, model: LoadedModel, image: Tensor, seed: int, on_step: OnStep | None) -> Trajectory:
        """What the image turns into, both as the network models them (1, c, h, w)."""
        generator = torch.Generator().manual_seed(mix(seed, 0, EDITS))

        def fresh_noise() -> Tensor:
            return torch.randn(image.shape, generator=generator).to(model.device)

        return (yield from editing.edit(image, self.task(model), fresh_noise, on_step))


@dataclass(frozen=True, kw_only=True)
class EditTwice(Edit):
    """The same edit as it is, and with its background kept (2, C, H, W): the network is called for one of them."""

    def trajectory(self, model: LoadedModel, seed: int, on_step: OnStep | None) -> Trajectory:
        image = model.space.encode(self.image[None].to(model.device))
        edited = yield from self.edited(model, image, seed, on_step)
        return torch.stack([pixels_of(model, each) for each in (edited, kept_background(image, edited))])


Order = Generation | Edit


def partial_steps(order: Order) -> list[int]:
    """After which steps an image is shown before it is done: evenly spread, fewer if there are few steps."""
    steps, parts = order.steps, order.partial_images + 1
    return sorted({steps[len(steps) * part // parts - 1] for part in range(1, parts) if len(steps) * part >= parts})


def carry_out(model: LoadedModel, orders: Sequence[Order], max_rows: int) -> list[Tensor]:
    """The images of orders of one precision, uint8 (C, H, W), from the engine that the endpoint runs, without one."""
    [precision] = {order.precision for order in orders}
    engine = Engine(model.network, precision, max(max_rows, *(order.most_rows for order in orders)))
    jobs = [order.job(model, index) for order in orders for index in range(len(order.seeds))]
    for job in jobs:
        engine.add(job)
    while not engine.idle:
        for ended in engine.step():
            if ended.error:
                raise ended.error
    return [job.result for job in jobs]


def kept_background(image: Tensor, edited: Tensor) -> Tensor:  # (B, c, h, w) twice -> (B, c, h, w)
    """The edited image, with the image itself wherever it hardly changed."""
    return kept_outside(changed_region(image, edited), image, edited)


def pixels_of(model: LoadedModel, image: Tensor) -> Tensor:  # what the network models (1, c, h, w) -> (C, H, W)
    """One image as uint8, on the CPU."""
    return model.space.decode(image)[0].cpu()
