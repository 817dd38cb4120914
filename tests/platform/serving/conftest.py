"""A real endpoint over a real, tiny network with random weights, without Ray."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import httpx
import pytest
import torch
import uvicorn

from unlatent.models.config import PixelTransformerConfig, TextConfig
from unlatent.models.network import PixelTransformer
from unlatent.models.samplers import SamplerConfig
from unlatent.platform.generation import LoadedModel
from unlatent.platform.serving.app import create_app
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.generator import Generator
from unlatent.platform.serving.metrics import Metrics
from unlatent.platform.serving.model_card import ModelCard, model_card
from unlatent.platform.store import Store

DIGITS = [str(digit) for digit in range(10)]


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    torch.manual_seed(0)
    config = PixelTransformerConfig(
        image_size=8, classes=10, patch_size=4, width=16, heads=2, patch_depth=1, pixel_width=4, pixel_depth=1
    )
    network = PixelTransformer(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # a new network says 0
    return LoadedModel(
        network=network,
        sampler=SamplerConfig(steps=4, guidance=2.0, guidance_low=0.1, guidance_high=0.9),
        classes=DIGITS,
        run_id="digits",
        checkpoint="checkpoints/digits/000000001024",
        checkpoint_hash="0123456789abcdef",
        images_seen=1024,
        weights="ema",
    )


@pytest.fixture(scope="session")
def text_model() -> LoadedModel:
    """One that reads texts as bytes."""
    torch.manual_seed(0)
    text = TextConfig(encoder="bytes", width=16, tokens=6)
    sizes = {"image_size": 8, "patch_size": 4, "width": 16, "heads": 2, "patch_depth": 2, "pixel_width": 4}
    network = PixelTransformer(PixelTransformerConfig(condition="text", text=text, pixel_depth=1, **sizes))
    network.eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return LoadedModel(
        network=network,
        sampler=SamplerConfig(steps=4, guidance=2.0, guidance_low=0.0),
        classes=["scene"],
        run_id="scenes",
        checkpoint="checkpoints/scenes/000000001024",
        checkpoint_hash="fedcba9876543210",
        images_seen=1024,
        weights="ema",
    )


@pytest.fixture(scope="session")
def card(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return model_card(model, Store(tmp_path_factory.mktemp("store")))


class Client(httpx.Client):
    generator: Generator  # behind the endpoint that it talks to


@pytest.fixture
def serve(model: LoadedModel, card: ModelCard) -> Iterator[Callable[..., Client]]:
    """`serve(token="x")` is a client of a new endpoint with that config."""
    with ExitStack() as until_the_test_ends:

        def start(**config: object) -> Client:
            return until_the_test_ends.enter_context(endpoint(model, card, ServeConfig(**config)))

        yield start


@pytest.fixture(scope="session")
def client(model: LoadedModel, card: ModelCard) -> Iterator[Client]:
    """Of one endpoint with the defaults, for tests that leave it as it was."""
    with endpoint(model, card, ServeConfig()) as client:
        yield client


@pytest.fixture(scope="session")
def text_client(text_model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    card = model_card(text_model, Store(tmp_path_factory.mktemp("store")))
    with endpoint(text_model, card, ServeConfig()) as client:
        yield client


@pytest.fixture(scope="session")
def sizes_model(text_model: LoadedModel) -> LoadedModel:
    """The same, as one that was trained in buckets: squares, and images half as tall again, or as wide."""
    return replace(text_model, trained_sides=[(12, 8), (8, 8), (8, 12)])


@pytest.fixture(scope="session")
def sizes_client(sizes_model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    card = model_card(sizes_model, Store(tmp_path_factory.mktemp("store")))
    with endpoint(sizes_model, card, ServeConfig()) as client:
        yield client


@contextmanager
def endpoint(model: LoadedModel, card: ModelCard, config: ServeConfig) -> Iterator[Client]:
    generator = Generator(config, Metrics())
    generator.serve(model, card)
    server = uvicorn.Server(uvicorn.Config(create_app(generator, config, config.token_digest), log_level="error"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    address, port = listening.getsockname()
    try:
        with Client(base_url=f"http://{address}:{port}", timeout=20) as client:
            client.generator = generator
            yield client
    finally:
        server.should_exit = True
        thread.join()
