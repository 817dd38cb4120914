import base64
import io
import socket
import time
from dataclasses import asdict

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.platform.test_text_encoders import folder, transformers  # noqa: F401  (fixtures)
from unlatent.models.config import CompactionConfig, PixelTransformerConfig, TextConfig
from unlatent.models.network import PixelTransformer
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import checkpoints, cluster
from unlatent.platform.generation import generate
from unlatent.platform.places import Places
from unlatent.platform.serving import deployment
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.store import Store


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def ray_cluster():
    cluster.connect(cluster.ClusterConfig(cpus=2))
    yield
    cluster.disconnect()


@pytest.fixture
def store(tmp_path, model) -> Store:
    weights = model.network.state_dict()
    config = yaml.safe_dump({"model": asdict(model.network.config), "sampler": asdict(model.sampler)})
    store = Store(tmp_path)
    checkpoints.save(store, "digits", 1024, {"raw": weights, "ema": weights}, {}, config, model.classes)
    return store


CHECKPOINT = "checkpoints/digits/000000001024"


@pytest.mark.slow
def test_a_checkpoint_is_served_until_it_is_stopped_and_refuses_endless_heads(ray_cluster, store, model, free_port):
    url = deployment.start(ServeConfig(port=free_port), store, CHECKPOINT)
    [listed] = httpx.get(f"{url}/v1/models").json()["data"]
    answer = httpx.post(f"{url}/v1/images/generations", json={"prompt": "3", "seed": 5, "output_format": "webp"})
    refused = answer_to_a_head_without_end(free_port)
    deployment.stop()

    assert b" 4" in refused.split(b"\r\n")[0]
    assert listed["checkpoint_hash"] == checkpoints.find(store, CHECKPOINT).hash
    assert (pixels_of(answer) == generate(model, [3], [5], model.sampler)[0].permute(1, 2, 0).numpy()).all()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def answer_to_a_head_without_end(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n" + (b"X-Filler: " + b"x" * 1000 + b"\r\n") * 20)
        return endless.recv(1000)


@pytest.fixture
def of_texts(folder, store) -> tuple[str, str]:  # noqa: F811
    """The path of a checkpoint that names an encoder which is not there, and where it lies."""
    config = PixelTransformerConfig(
        image_size=8, patch_size=4, width=16, heads=2, patch_depth=1, pixel_depth=1, compaction=CompactionConfig(),
        condition="text", text=TextConfig(encoder="/nowhere/gemma", width=16, tokens=9),
    )  # fmt: skip
    weights = PixelTransformer(config).state_dict()
    said = yaml.safe_dump({"model": asdict(config), "sampler": asdict(SamplerConfig(steps=2))})
    return checkpoints.save(store, "texts", 64, {"raw": weights, "ema": weights}, {}, said, []).path, folder("gemma")


@pytest.mark.slow
def test_an_encoder_that_lies_elsewhere_is_found_where_the_endpoint_is_told(ray_cluster, store, of_texts, free_port):
    path, gemma = of_texts
    url = deployment.start(ServeConfig(port=free_port), store, path, places=Places(encoder=gemma))
    answer = httpx.post(f"{url}/v1/images/generations", json={"prompt": "a cat", "seed": 5, "output_format": "webp"})
    deployment.stop()

    assert pixels_of(answer).shape == (8, 8, 3)


@pytest.mark.slow
def test_a_stream_works_through_ray_and_a_client_that_leaves_gives_its_place_up(ray_cluster, store, free_port):
    config = ServeConfig(port=free_port, max_steps=10**5, max_rows=2, max_queued_rows=0, deadline_s=600)
    url = deployment.start(config, store, CHECKPOINT)
    long = {"prompt": "3", "steps": 10**5}
    for stream in (True, False, True, False):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/images/generations", json={**long, "stream": stream}, timeout=1)
        require_room(url)
    answer = httpx.post(
        f"{url}/v1/images/generations", json={"prompt": "3", "steps": 4, "stream": True, "partial_images": 3}
    )
    deployment.stop()

    assert answer.text.count("event: image_generation.partial_image") == 3
    assert answer.text.count("event: image_generation.completed") == 1


def require_room(url: str, within_s: float = 20) -> None:
    """Long before the image would be done, or its deadline passes."""
    deadline = time.monotonic() + within_s
    while (answer := httpx.post(f"{url}/v1/images/generations", json={"prompt": "3", "steps": 1})).status_code == 429:
        assert time.monotonic() < deadline, answer.text
    assert answer.status_code == 200


@pytest.mark.slow
def test_a_damaged_checkpoint_is_not_served(ray_cluster, store, free_port):
    store.write_bytes(f"{CHECKPOINT}/ema.safetensors", b"not what was saved")

    with pytest.raises(ValueError, match=r"ema\.safetensors is not what was saved"):
        deployment.start(ServeConfig(port=free_port), store, CHECKPOINT)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{free_port}/health")


def test_a_port_that_is_taken_is_refused_in_one_line(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"^serve\.port={port} on 127\.0\.0\.1: Address already in use"
        ) as refused:
            deployment.start(ServeConfig(port=port), store, CHECKPOINT)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_an_address_is_one_that_a_browser_can_open(host, url):
    assert deployment.url_of(ServeConfig(host=host, token="secret")) == url


def pixels_of(answer: httpx.Response) -> np.ndarray:
    [image] = answer.json()["data"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["b64_json"]))))
