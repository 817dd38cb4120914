"""One replica of the endpoint, as Ray Serve runs it."""

import asyncio
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fastapi import FastAPI
from ray import serve

from unlatent.models.editing import EditConfig
from unlatent.platform.generation import load_model
from unlatent.platform.places import Places
from unlatent.platform.serving.app import create_app
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.generator import Generator
from unlatent.platform.serving.metrics import Metrics
from unlatent.platform.serving.model_card import model_card
from unlatent.platform.store import Store

GRACE_S = 60  # before a replica that cannot load is replaced, for who started it to hear why

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """What a replica serves, and what is to take its place."""

    replica: str
    checkpoint: str | None  # that answers; None: none is loaded yet
    wanted: str
    problem: str | None  # why what is wanted does not answer, if it cannot


class Endpoint:
    """Loads what Ray Serve's `user_config` names, in the background: the model before answers meanwhile, and goes on
    answering where the new one cannot. (A `reconfigure` that waits or raises takes the replica out of service.)
    """

    def __init__(
        self, store: Store, config: ServeConfig, edit: EditConfig, places: Places, token_digest: str | None
    ) -> None:
        self.store, self.config, self.edit, self.places, self.token_digest = store, config, edit, places, token_digest
        self.replica = serve.get_replica_context().replica_id.unique_id
        self.generator = Generator(config, Metrics(self.replica))
        self.started = time.monotonic()
        self.loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
        self.wanted = ""
        self.loading: Future[None] = Future()  # of what is wanted

    async def reconfigure(self, user_config: dict[str, str]) -> None:
        if user_config["checkpoint"] != self.wanted or self.has_failed:
            self.wanted = user_config["checkpoint"]
            self.loading = self.loader.submit(self.load, self.wanted)
        if self.answering is None:  # it takes no requests yet, and is to take none before it can answer them
            await asyncio.wait([asyncio.wrap_future(self.loading)])

    @property
    def has_failed(self) -> bool:
        return self.loading.done() and self.loading.exception() is not None

    def load(self, checkpoint: str) -> None:
        if checkpoint != self.wanted or checkpoint == self.answering:
            return  # another is wanted by now, or the one before again
        if problem := self.take_into_service(checkpoint):
            raise ValueError(problem)

    def take_into_service(self, checkpoint: str) -> str | None:
        """What is wrong with it, if it cannot be: in words, for an error would keep its model in memory."""
        try:
            device = "cuda" if self.config.gpus else "cpu"
            model = load_model(self.store, checkpoint, device=device, places=self.places)
            self.generator.serve(model, model_card(model, self.store, self.edit))
        except Exception as error:
            logger.exception("%s cannot be served; %s answers", checkpoint, self.answering or "nothing")
            return str(error) or type(error).__name__
        return None

    @property
    def answering(self) -> str | None:
        return self.generator.served.card.checkpoint if self.generator.served else None

    async def settled(self) -> State:
        """Where it stands once what is wanted has been loaded, or could not be."""
        heard = None
        while heard is not self.loading:  # another may be wanted meanwhile
            heard = self.loading
            await asyncio.wait([asyncio.wrap_future(heard)])
        error = self.loading.exception()
        return State(self.replica, self.answering, self.wanted, None if error is None else str(error))

    def check_health(self) -> None:
        """Ray Serve replaces a replica where this raises, and the next one tries to load again."""
        if self.generator.served:
            self.generator.served.require_sound()
        elif self.loading.done() and time.monotonic() > self.started + GRACE_S:
            self.loading.result()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self.generator, self.config, self.token_digest)
