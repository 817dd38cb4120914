"""A model that answers: an engine in a thread of its own, and orders that come to it from an event loop."""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from torch import Tensor

from unlatent.models.engine import Engine, Job
from unlatent.models.samplers import Point
from unlatent.platform.generation import LoadedModel
from unlatent.platform.orders import Order, partial_steps, pixels_of
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.errors import Refusal
from unlatent.platform.serving.metrics import Metrics
from unlatent.platform.serving.model_card import ModelCard


@dataclass(frozen=True)
class Picture:
    """One image of an order, or how it looks so far."""

    index: int  # in the order
    pixels: Tensor  # uint8 (C, H, W)
    steps_done: int
    partial: int | None = None  # counts from 0; None once the image is done


MOST_FAILURES = 5  # steps in a row: no single request's fault

logger = logging.getLogger(__name__)

HandOver = Callable[[Picture | Exception], None]


class Errand:
    """One image of an order, from the engine to who waits for it."""

    def __init__(self, model: LoadedModel, order: Order, index: int, hand_over: HandOver) -> None:
        self.model, self.index, self.hand_over = model, index, hand_over
        self.partials = {step: number for number, step in enumerate(partial_steps(order))}
        self.steps = order.steps[-1] if order.steps else 0
        self.job = order.job(model, index, self.on_step)
        self.began = time.monotonic()

    def on_step(self, done: int, point: Point) -> None:
        if done in self.partials:
            self.hand_over(Picture(self.index, pixels_of(self.model, point.data), done, self.partials[done]))

    def end(self) -> None:
        if self.job.error:
            self.hand_over(self.job.error)
        elif self.job.image is not None:
            self.hand_over(Picture(self.index, self.job.image, self.steps))


class ServedModel:
    """Makes images until it is retired; then it finishes what it has been asked for, and its thread ends."""

    def __init__(self, model: LoadedModel, card: ModelCard, config: ServeConfig, metrics: Metrics) -> None:
        self.model, self.card, self.config, self.metrics = model, card, config, metrics
        self.engine = Engine(model.network, model.sampler.precision, config.max_rows, config.buckets)
        self.errands: dict[Job, Errand] = {}  # that have not ended
        self.arrived: deque[Job] = deque()  # those that the engine has not heard of
        self.change = threading.Condition()  # guards the two, and the flags
        self.thread: threading.Thread | None = None  # while there is, or may be, anything to do
        self.retired = False
        self.image_s = 1.0  # that an image took from its arrival on, lately
        self.failures = 0  # steps in a row of which nothing came but failures

    async def images(self, order: Order) -> AsyncGenerator[Picture]:
        """Each image when it is done, and its partials before it.

        Raises Refusal 429 where no room is left to wait in. Closing the iterator gives the order up: its rows leave
        before the next denoising step.
        """
        loop = asyncio.get_running_loop()
        pictures: asyncio.Queue[Picture | Exception] = asyncio.Queue()

        def hand_over(picture: Picture | Exception) -> None:
            with contextlib.suppress(RuntimeError):  # of a loop that has ended: nobody waits for it
                loop.call_soon_threadsafe(pictures.put_nowait, picture)

        errands = [Errand(self.model, order, index, hand_over) for index in range(len(order.seeds))]
        self.take_in(errands)
        unfinished = len(errands)
        try:
            while unfinished:
                picture = await pictures.get()
                if isinstance(picture, Exception):
                    raise picture
                unfinished -= picture.partial is None
                yield picture
        finally:
            for errand in errands:
                errand.job.given_up = True

    def take_in(self, errands: list[Errand]) -> None:
        with self.change:
            self.require_room(sum(errand.job.most_rows for errand in errands))
            self.errands.update({errand.job: errand for errand in errands})
            self.arrived.extend(errand.job for errand in errands)
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name=f"engine of {self.card.id}", daemon=True)
                self.thread.start()
            self.change.notify()

    def require_room(self, rows: int) -> None:
        """Raises Refusal 429 with the time after which there should be some."""
        taken, room = sum(job.most_rows for job in self.errands), self.config.max_rows + self.config.max_queued_rows
        if taken and taken + rows > room:
            self.metrics.rejected.inc()
            wait_s = math.ceil(self.image_s)
            message = f"{taken} of {room} rows are taken, and this needs {rows}; try again in {wait_s} s"
            raise Refusal(429, message, code="queue_full", retry_after_s=wait_s)

    def require_sound(self) -> None:
        """Raises RuntimeError where nothing that is asked of the device, or of this, works any more."""
        if self.thread and not self.thread.is_alive():
            raise RuntimeError("the engine's thread has ended")
        if self.failures >= MOST_FAILURES:
            raise RuntimeError(f"{self.failures} steps in a row have failed")

    def retire(self) -> None:
        with self.change:
            self.retired = True
            self.change.notify()

    def run(self) -> None:
        """The thread: step after step while there is anything to do."""
        while True:
            with self.change:
                self.change.wait_for(lambda: self.arrived or not self.engine.idle or self.retired)
                if self.retired and not self.arrived and self.engine.idle:
                    self.thread = None
                    return
                while self.arrived:
                    self.engine.add(self.arrived.popleft())
            self.step()

    def step(self) -> None:
        began = time.monotonic()
        ended = self.engine.step()
        with self.change:
            errands = [self.errands.pop(job) for job in ended]
        self.count(errands, time.monotonic() - began)  # first: who reads an answer may ask how it went
        for errand in errands:
            errand.end()

    def count(self, ended: list[Errand], step_s: float) -> None:
        metrics, calls, now = self.metrics, self.engine.calls, time.monotonic()
        done = [errand for errand in ended if errand.job.image is not None]
        failed = [errand for errand in ended if errand.job.error]
        for error in {errand.job.error for errand in failed}:
            logger.error("an image failed", exc_info=error)
        metrics.images.inc(len(done))
        metrics.failed.inc(len(failed))
        metrics.cancelled.inc(len(ended) - len(done) - len(failed))
        metrics.waiting.set(len(self.engine.waiting) + len(self.arrived))
        metrics.under_way.set(len(self.engine.under_way))
        for call in calls:
            metrics.rows.observe(call.rows)
        if calls:
            metrics.step_s.observe(step_s)
        self.failures = 0 if done or not all(call.failed for call in calls) else self.failures + bool(failed)
        for errand in done:
            self.image_s += (now - errand.began - self.image_s) / 8
