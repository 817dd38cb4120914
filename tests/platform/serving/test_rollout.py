"""Rollouts and deaths under load, on a real Ray Serve: no request fails, and every image is from the model it names."""

import base64
import io
import math
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

import httpx
import numpy as np
import psutil
import pytest
import torch
import yaml
from PIL import Image

from tests.rays import free_port
from unlatent.platform import checkpoints, cluster, tables
from unlatent.platform.config import compose_config
from unlatent.platform.generation import generate, load_model
from unlatent.platform.rollout import Choice, choice_before, roll_out, start_endpoint
from unlatent.platform.serving import deployment
from unlatent.platform.store import Store

pytestmark = pytest.mark.slow

FIRST, SECOND, BROKEN = (f"checkpoints/digits/{images:012d}" for images in (1024, 2048, 3072))


@pytest.fixture
def store(tmp_path, model) -> Store:
    """Three checkpoints: two that draw other images, and one whole file of no numbers."""
    store = Store(tmp_path / "store")
    config = yaml.safe_dump({"model": asdict(model.network.config), "sampler": asdict(model.sampler)})
    for images_seen, factor in ((1024, 1.0), (2048, -1.0), (3072, torch.nan)):
        weights = {name: factor * value for name, value in model.network.state_dict().items()}
        checkpoints.save(store, "digits", images_seen, {"ema": weights}, {}, config, model.classes)
    return store


@pytest.fixture
def config(store):
    config = compose_config([f"store={store.root}", f"serve.port={free_port()}", "cluster.cpus=2", "serve.cpus=0.5"])
    yield config
    deployment.stop()
    cluster.disconnect()


@dataclass(frozen=True)
class Asked:
    request: dict
    began: float
    answer: httpx.Response | None  # None where the connection broke

    @property
    def status(self) -> int | None:
        return self.answer and self.answer.status_code

    @property
    def checkpoint_hash(self) -> str:
        return self.answer.json()["data"][0]["checkpoint_hash"]


class Load:
    """Clients that ask without end, and what they were answered."""

    def __init__(self, url: str) -> None:
        self.url, self.asked, self.stopped = url, [], threading.Event()
        self.clients = [threading.Thread(target=self.ask, args=(first,)) for first in range(0, 4000, 1000)]

    def ask(self, seed: int) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self.stopped.is_set():
                seed += 1
                request = {"prompt": str(seed % 10), "seed": seed, "steps": 4 + seed % 9, "output_format": "webp"}
                began, answer = time.monotonic(), None
                with suppress(httpx.TransportError):
                    answer = client.post("/v1/images/generations", json=request)
                self.asked.append(Asked(request, began, answer))

    def between(self, start: float, end: float) -> list[Asked]:
        return [each for each in self.asked if start <= each.began < end]


@contextmanager
def load_on(url):
    load = Load(url)
    for client in load.clients:
        client.start()
    try:
        yield load
    finally:
        load.stopped.set()
        for client in load.clients:
            client.join()


def is_from_the_model_that_it_names(store, asked) -> bool:
    [image] = asked.answer.json()["data"]
    [checkpoint] = [path for path in (FIRST, SECOND) if checkpoints.find(store, path).hash == image["checkpoint_hash"]]
    model = load_model(store, checkpoint)
    settings = replace(model.sampler, steps=asked.request["steps"])
    expected = generate(model, [int(asked.request["prompt"])], [asked.request["seed"]], settings)[0]
    got = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["b64_json"]))))
    return bool(np.abs(got.astype(int) - expected.permute(1, 2, 0).numpy()).max() <= 1)  # rounded in other batches


def test_three_rollouts_under_load_lose_no_request_and_a_broken_one_changes_nothing(store, config):
    url, times = start_endpoint(config, Choice(FIRST)), []

    def rest() -> None:
        times.append(time.monotonic())
        time.sleep(1)
        times.append(time.monotonic())

    with load_on(url) as load:
        rest()
        roll_out(config, Choice(SECOND))
        rest()
        with pytest.raises(ValueError, match="no numbers"):
            roll_out(config, Choice(BROKEN))
        after_the_broken_one = deployment.named(deployment.running())
        rest()
        roll_out(config, choice_before(store))
        rest()

    first, second = (checkpoints.find(store, path).hash for path in (FIRST, SECOND))
    answering = [{each.checkpoint_hash for each in load.between(*times[n : n + 2])} for n in (0, 2, 4, 6)]
    assert {each.status for each in load.asked} == {200}
    assert after_the_broken_one == [SECOND], "which a replica that starts now loads"
    assert answering == [{first}, {second}, {second}, {first}]
    assert {each.checkpoint_hash for each in load.between(times[3], times[4])} == {second}  # while the broken one loads
    assert all(is_from_the_model_that_it_names(store, each) for each in load.asked[::7])
    rows = tables.read(store, "deployments").sort_values("deployed_at")
    assert list(rows["status"]) == ["ready", "ready", "failed", "ready"]
    assert list(rows["checkpoint"]) == [FIRST, SECOND, BROKEN, FIRST]


def test_a_replica_that_is_killed_under_load_is_replaced_and_clients_see_at_most_what_they_can_try_again(store, config):
    config.serve.replicas = 2
    url = start_endpoint(config, Choice(FIRST))
    roll_out(config, Choice(SECOND))

    with load_on(url) as load:
        time.sleep(1)
        victim = replicas()[0]
        victim.kill()
        deadline = time.monotonic() + 60
        while len([each for each in replicas() if each.pid != victim.pid]) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        deployment.require_all_answer(SECOND, 60)
        healed = time.monotonic()
        time.sleep(2)

    statuses = [each.status for each in load.asked]
    assert set(statuses) <= {200, 429, 500, 502, 503, None} and statuses.count(200) > 0.9 * len(statuses)
    assert {each.status for each in load.between(healed, math.inf)} == {200}
    second = checkpoints.find(store, SECOND).hash
    assert {each.checkpoint_hash for each in load.asked if each.status == 200} == {second}, "also of the new replica"


def replicas() -> list[psutil.Process]:
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            found += [each] if each.name().startswith("ray::ServeReplica") else []
    return found
