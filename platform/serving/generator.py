"""Turns orders into images, one order at a time.

The app knows `Generator` alone: what makes the images behind it may be anything that keeps that promise.
"""

import asyncio
import math
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from unlatent.models.samplers import SamplerConfig
from unlatent.platform.generation import LoadedModel, generate, to_bytes
from unlatent.platform.serving.errors import Refusal
from unlatent.platform.serving.model_card import ModelCard


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one request asks for, all of it checked: one image for each label and seed."""

    labels: list[int]
    seeds: list[int]
    settings: SamplerConfig
    partial_images: int = 0  # how often each image is shown before it is done


@dataclass(frozen=True)
class Picture:
    """One image of an order, or how it looks so far."""

    index: int  # in the order
    pixels: Tensor  # uint8 (C, H, W)
    steps_done: int
    partial: int | None = None  # counts from 0; None once the image is done


class Generator(Protocol):
    @property
    def card(self) -> ModelCard | None:
        """The model that answers; None while none is loaded."""

    def images(self, order: Order) -> AsyncGenerator[Picture]:
        """Each image when it is done, and its partials before it.

        Raises Refusal 429 when the queue is full. Closing the iterator gives the order up at the next denoising step.
        """


class SerialGenerator:
    """Carries out one order at a time, first come first served, in a thread of its own."""

    def __init__(self, max_queued: int) -> None:
        self.card: ModelCard | None = None
        self.model: LoadedModel | None = None
        self.max_queued = max_queued
        self.unfinished: set[Future[None]] = set()  # one in work, the rest waiting
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generate")
        self.last_order_s = 1.0

    def serve(self, model: LoadedModel, card: ModelCard) -> None:
        """Answers with this model from now on. Makes one image first: a model that cannot is not switched to."""
        generate(model, [0], [0], replace(model.sampler, steps=2))
        self.model, self.card = model, card

    async def images(self, order: Order) -> AsyncGenerator[Picture]:
        if len(self.unfinished) > self.max_queued:
            wait_s = math.ceil(self.last_order_s)
            message = f"{self.max_queued} requests are waiting already; try again in {wait_s} s"
            raise Refusal(429, message, code="queue_full", retry_after_s=wait_s)
        loop = asyncio.get_running_loop()
        pictures: asyncio.Queue[Picture | None] = asyncio.Queue()
        given_up = threading.Event()

        def hand_over(picture: Picture | None) -> None:
            loop.call_soon_threadsafe(pictures.put_nowait, picture)

        job = self.worker.submit(self.carry_out, order, hand_over, given_up)
        self.unfinished.add(job)
        job.add_done_callback(self.unfinished.discard)
        job.add_done_callback(lambda _: hand_over(None))  # also when it failed
        try:
            while (picture := await pictures.get()) is not None:
                yield picture
            job.result()  # raises what went wrong in the thread
        finally:
            given_up.set()
            job.cancel()  # takes it out of the queue if it still waits there

    def carry_out(self, order: Order, hand_over: Callable[[Picture], None], given_up: threading.Event) -> None:
        assert self.model, "the app admits no order without a card"
        started = time.monotonic()
        partials = {step: number for number, step in enumerate(partial_steps(order))}

        def on_step(steps_done: int, estimate: Tensor) -> None:
            if given_up.is_set():
                raise CancelledError
            if steps_done in partials:
                for index, pixels in enumerate(to_bytes(estimate).cpu()):
                    hand_over(Picture(index, pixels, steps_done, partials[steps_done]))

        for index, pixels in enumerate(generate(self.model, order.labels, order.seeds, order.settings, on_step)):
            hand_over(Picture(index, pixels, order.settings.steps))
        self.last_order_s = time.monotonic() - started


def partial_steps(order: Order) -> list[int]:
    """After which steps an image is shown before it is done: evenly spread, fewer if there are few steps."""
    steps, parts = order.settings.steps, order.partial_images + 1
    return sorted({steps * part // parts for part in range(1, parts)} - {0})
