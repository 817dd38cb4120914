"""The endpoint on Ray Serve: one replica that loads a checkpoint and answers HTTP."""

import asyncio
import contextlib
import io
import logging
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from unlatent.platform.generation import load_model
from unlatent.platform.placement import Need, require
from unlatent.platform.serving.app import create_app
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.generator import SerialGenerator
from unlatent.platform.serving.model_card import model_card
from unlatent.platform.store import Store

NAME = "unlatent"
QUIET = LoggingConfig(log_level="ERROR", enable_access_log=False)
SHORT_REQUESTS = 64  # for the page, /health and refusals, beside the images that are made or waited for
GRACE_S = 60  # before a replica that cannot load is replaced, for `start` to hear why


class Endpoint:
    """One replica. It loads its model in the background, so that /health answers and /ready tells meanwhile."""

    def __init__(self, store: Store, checkpoint: str, config: ServeConfig) -> None:
        self.store, self.checkpoint, self.config = store, checkpoint, config
        self.generator = SerialGenerator(config.max_queued_requests)
        self.started = time.monotonic()
        self.loading = ThreadPoolExecutor(max_workers=1).submit(self.load)

    def load(self) -> None:
        device = "cuda" if self.config.gpus else "cpu"
        model = load_model(self.store, self.checkpoint, device=device)
        self.generator.serve(model, model_card(model, self.store))

    async def why_not_loaded(self) -> str | None:
        """Waits until the model is loaded. What is wrong with the checkpoint, if it cannot be."""
        try:
            await asyncio.wrap_future(self.loading)
        except ValueError as error:
            return str(error)
        return None

    def check_health(self) -> None:
        """Ray Serve replaces a replica where this raises, and the next one tries to load again."""
        if self.loading.done() and time.monotonic() > self.started + GRACE_S:
            self.loading.result()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self.generator, self.config)


def application(config: ServeConfig, store: Store, checkpoint: str) -> serve.Application:
    """What Ray Serve is to run."""
    deployment = serve.deployment(
        serve.ingress()(Endpoint),
        ray_actor_options={"num_cpus": config.cpus, "num_gpus": config.gpus},
        max_ongoing_requests=1 + config.max_queued_requests + SHORT_REQUESTS,
    )
    return deployment.bind(store, checkpoint, config)


def start(config: ServeConfig, store: Store, checkpoint: str) -> str:
    """Serves a checkpoint, and returns the endpoint's address once it is ready. Ray must be running.

    Raises ValueError for a port that is taken, a replica that no machine has room for, and a checkpoint that cannot be
    loaded.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    require_free_port(config.host, config.port)
    require("the endpoint", 1, Need(config.cpus, config.gpus))
    serve.start("HeadOnly", HTTPOptions(host=config.host, port=config.port), logging_config=QUIET)
    try:
        replica = serve.run(application(config, store, checkpoint), name=NAME, logging_config=QUIET)
        if problem := replica.why_not_loaded.remote().result():
            raise ValueError(problem)
        wait_until_ready(url_of(config))
    except BaseException:
        stop()
        raise
    return url_of(config)


def stop() -> None:
    """Ends the endpoint, and Ray Serve with it."""
    with contextlib.redirect_stdout(io.StringIO()):  # of Ray, which reports the end of Serve's controller as a failure
        serve.shutdown()


def require_free_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ValueError(f"serve.port={port} on {host}: {error.strerror}; another serve.port would do") from None


def url_of(config: ServeConfig) -> str:
    """Where a client on this machine finds the endpoint."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    return f"http://[{here}]:{config.port}" if ":" in here else f"http://{here}:{config.port}"


def wait_until_ready(url: str, timeout_s: float = 30) -> None:
    """The replica is ready before Serve's own HTTP server has heard of it."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urllib.request.urlopen(f"{url}/ready", timeout=5).close()
            return
        except OSError:  # nothing listens yet, or it answers 404 or 503
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} is not ready after {timeout_s:g} s") from None
            time.sleep(0.1)
