"""What batching by denoising step gives an endpoint, against Ray Serve's own batching of whole requests.

    python benchmarks/serving.py                    # on 2 CPU cores, a quarter of an hour
    python benchmarks/serving.py --gpu --model model=b data.image_size=32 data=photographs --max-rows 64
    python benchmarks/serving.py --only soak --minutes 30

Clients arrive as a Poisson process, whether or not those before them have been answered, and ask for one image of 10 to
50 steps each. `unlatent` is the endpoint. `serve.batch` is the same network, on the same Ray Serve behind the same
proxy, with up to as many rows to a batch: its images share network calls as ours do, and leave them when they are done,
but a batch is answered, and the next one begun, when its last image is. Serve closes a batch so long after its first
request, also while the one before it is being drawn; the best of several waits is taken. Both have random weights.
Exit status: 0, all goals are met; 1, some are not.
"""

import argparse
import asyncio
import base64
import io
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path

import aiohttp
import numpy as np
import psutil
import torch
import yaml
from PIL import Image
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request
from starlette.responses import JSONResponse

from unlatent.models import PixelTransformer, SamplerConfig
from unlatent.platform import checkpoints, cluster
from unlatent.platform.config import compose_config
from unlatent.platform.generation import LoadedModel, generate, load_model, to_image, to_png
from unlatent.platform.orders import Generation, carry_out
from unlatent.platform.serving import deployment
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.store import Store

STEPS = range(10, 51, 10)
CHECKPOINT = "checkpoints/random/000000000001"
SLOWER = 3.0  # than without load, the 95th percentile: there an endpoint is said to be at its limit
SLOW = ["model=b", "data=photographs", "model.patch_depth=2"]  # a call takes a tenth of a second on a CPU core
GOALS: dict[str, tuple[str, str, Callable[[float], bool]]] = {
    "images_ratio": ("images/s at the limit, against serve.batch", "at least 1.5", lambda ratio: ratio >= 1.5),
    "latency_ratio": ("p95 at 70 % of that load, against serve.batch", "at most 0.6", lambda ratio: ratio <= 0.6),
    "overhead_ms": ("a request over the engine alone, ms", "at most 5", lambda ms: ms <= 5),
    "steps_after_leaving": ("calls begun for a client that has left", "at most 1", lambda calls: calls <= 1),
    "growth": ("growth of memory under 120 % load", "at most 0.02", lambda growth: growth <= 0.02),
    "wrong": ("wrong images, and refusals other than 429", "0", lambda wrong: wrong == 0),
}

Start = Callable[[Store, argparse.Namespace], str]


@dataclass(frozen=True)
class Answer:
    asked: dict[str, Any]
    latency_s: float
    status: int
    body: bytes


def save_random(store: Store, overrides: list[str]) -> None:
    """A checkpoint of random weights."""
    config = compose_config([*overrides, f"store={store.root}"])
    torch.manual_seed(0)
    network = PixelTransformer(config.model)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    settings = {"model": asdict(config.model), "sampler": asdict(SamplerConfig())}
    classes = [str(label) for label in range(config.model.classes)]
    weights = {"ema": network.state_dict()}
    checkpoints.save(store, "random", 1, weights, {}, yaml.safe_dump(settings), classes)


def start_ours(store: Store, options: argparse.Namespace) -> str:
    config = ServeConfig(
        port=options.port, max_rows=options.max_rows, max_queued_rows=8 * options.max_rows, gpus=float(options.gpu)
    )
    return f"{deployment.start(config, store, CHECKPOINT)}/v1/images/generations"


def start_batched(wait_s: float, store: Store, options: argparse.Namespace) -> str:
    class Batched:
        def __init__(self) -> None:
            self.model = load_model(store, CHECKPOINT, device="cuda" if options.gpu else "cpu")

        @serve.batch(max_batch_size=options.max_rows, batch_wait_timeout_s=wait_s)
        async def images(self, asked: list[dict[str, Any]]) -> list[str]:
            return await asyncio.to_thread(self.carry_out, asked)

        def carry_out(self, asked: list[dict[str, Any]]) -> list[str]:
            orders = [order_of(each, self.model) for each in asked]
            images = carry_out(self.model, orders, options.max_rows)
            return [base64.b64encode(to_png(to_image(pixels))).decode() for pixels in images]

        async def __call__(self, http: Request) -> JSONResponse:
            return JSONResponse({"data": [{"b64_json": await self.images(await http.json())}]})

    serve.start("HeadOnly", HTTPOptions(host="127.0.0.1", port=options.port))
    resources = {"num_cpus": 1, "num_gpus": int(options.gpu)}
    batched = serve.deployment(Batched, ray_actor_options=resources, max_ongoing_requests=16 * options.max_rows)
    serve.run(batched.bind(), name="batched")
    return f"http://127.0.0.1:{options.port}/"


def order_of(asked: dict[str, Any], model: LoadedModel) -> Generation:
    settings = replace(model.sampler, steps=asked["steps"])
    return Generation(prompt=int(asked["prompt"]), seeds=[asked["seed"]], settings=settings, sides=model.sides)


async def ask(session: aiohttp.ClientSession, url: str, asked: dict[str, Any]) -> Answer:
    began = time.perf_counter()
    async with session.post(url, json=asked) as response:
        body = await response.read()
    return Answer(asked, time.perf_counter() - began, response.status, body)


def requests(seed: int) -> Callable[[], dict[str, Any]]:
    chance = random.Random(seed)
    return lambda: {"prompt": str(chance.randrange(10)), "seed": chance.randrange(2**32), "steps": chance.choice(STEPS)}


async def one_by_one(url: str, count: int) -> list[Answer]:
    make = requests(0)
    async with aiohttp.ClientSession() as session:
        return [await ask(session, url, make()) for _ in range(count)]


async def at_rate(url: str, per_s: float, seconds: float) -> list[Answer]:
    """Arrivals do not wait for answers."""
    chance, make, asking = random.Random(1), requests(2), []
    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connections) as session:
        end, due = time.perf_counter() + seconds, time.perf_counter()
        while (due := due + chance.expovariate(per_s)) < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asking.append(asyncio.create_task(ask(session, url, make())))
        return await asyncio.gather(*asking)


def p95(answers: list[Answer]) -> float:
    """Of those that were answered with an image."""
    done = [answer.latency_s for answer in answers if answer.status == 200]
    return float(np.percentile(done, 95)) if done else float("inf")


def find_limit(url: str, most_s: float, options: argparse.Namespace) -> float:
    """The rate at which p95 passes a bound. Rates rise by a quarter each."""
    rate, by_rate = options.first_rate, {0.0: 0.0}
    while True:
        answers = asyncio.run(at_rate(url, rate, options.seconds))
        refused = sum(answer.status != 200 for answer in answers)
        by_rate[rate] = p95(answers) if refused < 0.01 * len(answers) else float("inf")
        say(f"    {rate:7.1f} images/s   p95 {1e3 * by_rate[rate]:8.1f} ms   refused {refused}")
        if by_rate[rate] > most_s:
            (below, low), (above, high) = list(by_rate.items())[-2:]
            return below + (above - below) * (most_s - low) / (high - low) if np.isfinite(high) else below
        rate *= 1.25


def unloaded_p95(url: str) -> float:
    asyncio.run(one_by_one(url, 20))  # warm
    return p95(asyncio.run(one_by_one(url, 100)))


def measure_load(store: Store, options: argparse.Namespace) -> dict[str, float]:
    contenders = {"unlatent": start_ours}
    for wait_s in options.waits:
        contenders[f"serve.batch, {1e3 * wait_s:g} ms"] = partial(start_batched, wait_s)
    limits, most_s = dict[str, float](), 0.0
    for name, start in contenders.items():
        with served(start, store, options) as url:
            unloaded = unloaded_p95(url)
            most_s = most_s or SLOWER * unloaded  # ours, of which no batch is waited for, bounds all
            say(f"  {name}: without load p95 {1e3 * unloaded:.1f} ms")
            limits[name] = find_limit(url, most_s, options)
            say(f"    p95 {1e3 * most_s:.0f} ms at {limits[name]:.1f} images/s")
    theirs = max(list(contenders)[1:], key=limits.__getitem__)
    slow = dict[str, list[float]]()
    for name in ("unlatent", theirs):
        with served(contenders[name], store, options) as url:
            unloaded_p95(url)
            rates = [0.7 * limits[whose] for whose in ("unlatent", theirs)]
            slow[name] = [p95(asyncio.run(at_rate(url, rate, 2 * options.seconds))) for rate in rates]
    for whose, ours_s, theirs_s in zip(("unlatent", theirs), slow["unlatent"], slow[theirs], strict=True):
        load = f"{0.7 * limits[whose]:.1f} images/s, 70 % of what {whose} can do"
        say(f"  at {load}: p95 {1e3 * ours_s:.1f} ms, {theirs} {1e3 * theirs_s:.1f} ms")
    return {"images_ratio": limits["unlatent"] / limits[theirs], "latency_ratio": slow["unlatent"][0] / slow[theirs][0]}


def measure_overhead(store: Store, options: argparse.Namespace) -> dict[str, float]:
    """One image at a time: what a client waits for, and the engine alone."""
    model = load_model(store, CHECKPOINT, device="cuda" if options.gpu else "cpu")
    torch.set_num_threads(1)  # as Ray gives a replica of one CPU
    asked = {"prompt": "3", "seed": 5, "steps": 20}

    def draw() -> float:
        began = time.perf_counter()
        carry_out(model, [order_of(asked, model)], options.max_rows)
        return time.perf_counter() - began

    async def in_turns(url: str) -> list[tuple[float, float]]:
        async with aiohttp.ClientSession() as session:
            return [((await ask(session, url, asked)).latency_s, draw()) for _ in range(200)]

    with served(start_ours, store, options) as url:
        asyncio.run(one_by_one(url, 20))
        whole, alone = (statistics.median(times) for times in zip(*asyncio.run(in_turns(url))[50:], strict=True))
    say(f"  one image of 20 steps: {1e3 * whole:.1f} ms over HTTP, {1e3 * alone:.1f} ms by the engine alone")
    return {"overhead_ms": 1e3 * (whole - alone)}


def measure_leaving(store: Store, options: argparse.Namespace) -> dict[str, float]:
    """How many network calls are begun with a client's rows after it has left: of a network that takes its time."""
    most = 0
    with tempfile.TemporaryDirectory() as folder:
        slow = Store(folder)
        save_random(slow, SLOW)
        with served(start_ours, slow, options) as url:
            for _ in range(10):
                most = max(most, asyncio.run(calls_after_leaving(url)))
    say(f"  of 10 clients that left: at most {most} network calls were begun with their rows after that")
    return {"steps_after_leaving": most}


async def calls_after_leaving(url: str) -> int:
    """By the endpoint's own counters, while nobody else asks."""
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(ask(session, url, {"prompt": "3", "seed": 1, "steps": 1000}))
        while await counted(session, url, "images_under_way") == 0:
            await asyncio.sleep(0.01)
        before = await counted(session, url, "call_rows_count")
        asking.cancel()
        while await counted(session, url, "images_under_way") > 0:
            await asyncio.sleep(0.005)
        ended = await counted(session, url, "call_rows_count")
        return int(ended - before) - 1  # one was under way


async def counted(session: aiohttp.ClientSession, url: str, name: str) -> float:
    async with session.get(url.replace("/v1/images/generations", "/metrics")) as response:
        text = await response.text()
    found = re.search(rf"^unlatent_{name}{{.*}} (.*)$", text, re.MULTILINE)
    assert found, f"{name} is none of the endpoint's counters"
    return float(found[1])


def measure_soak(store: Store, options: argparse.Namespace) -> dict[str, float]:
    """More than it can do, for long: memory of the replica, every answer's status, and the images themselves."""
    with served(start_ours, store, options) as url:
        limit = find_limit(url, SLOWER * unloaded_p95(url), options)
        [replica] = [each for each in psutil.Process().children(recursive=True) if "ServeReplica" in each.name()]
        memory: list[int] = []

        async def watch() -> None:
            while True:
                memory.append(replica.memory_info().rss)
                await asyncio.sleep(2)

        async def under_load() -> list[Answer]:
            watching = asyncio.create_task(watch())
            answers = await at_rate(url, 1.2 * limit, 60 * options.minutes)
            watching.cancel()
            return answers

        answers = asyncio.run(under_load())
    statuses = Counter(answer.status for answer in answers)
    model, images = load_model(store, CHECKPOINT), [answer for answer in answers if answer.status == 200]
    wrong = sum(not is_right(model, answer) for answer in random.Random(0).sample(images, min(300, len(images))))
    tenth = max(1, len(memory) // 10)
    growth = statistics.median(memory[-tenth:]) / statistics.median(memory[tenth : 2 * tenth]) - 1
    tenths = [statistics.median(memory[start : start + tenth]) for start in range(0, len(memory) - tenth + 1, tenth)]
    say(f"  memory of the replica, by tenths of the time: {' '.join(f'{each / 2**20:.0f}' for each in tenths)} MiB")
    say(f"  {1.2 * limit:.1f} images/s for {options.minutes:g} minutes: {dict(statuses)}; "
        f"memory {growth:+.2%}; {wrong} of {min(300, len(images))} images wrong")  # fmt: skip
    return {"growth": growth, "wrong": wrong + sum(statuses[other] for other in statuses if other not in (200, 429))}


def is_right(model: LoadedModel, answer: Answer) -> bool:
    """Whether an image is what its seed and settings make alone; rounded in other batches, by one level at most."""
    order = order_of(answer.asked, model)
    expected = generate(model, [order.prompt], order.seeds, order.settings)[0].numpy().astype(int)
    content = base64.b64decode(json.loads(answer.body)["data"][0]["b64_json"])
    return bool(np.abs(np.asarray(Image.open(io.BytesIO(content))).astype(int) - expected).max() <= 1)


MEASURES = {
    "load": measure_load,
    "overhead": measure_overhead,
    "leaving": measure_leaving,
    "soak": measure_soak,
}


@contextmanager
def served(start: Start, store: Store, options: argparse.Namespace) -> Iterator[str]:
    """The address that images are asked of, on a Ray Serve of its own."""
    cluster.connect(cluster.ClusterConfig(cpus=None if options.gpu else 2))
    try:
        yield start(store, options)
    finally:
        deployment.stop()
        cluster.disconnect()


def say(text: str) -> None:
    print(text, flush=True)


def parser() -> argparse.ArgumentParser:
    about, _, more = __doc__.partition("\n\n")
    options = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="some of the measures")
    options.add_argument(
        "--model", nargs="*", default=[], help="overrides that describe the network; tiny digits' unless given"
    )
    options.add_argument("--max-rows", type=int, default=16, help="of a network call, and of a batch")
    options.add_argument("--gpu", action="store_true", help="serve from a GPU")
    options.add_argument("--seconds", type=float, default=10, help="at each rate")
    options.add_argument("--first-rate", type=float, default=12, help="images a second to begin with")
    options.add_argument("--waits", type=float, nargs="+", default=[0.02, 0.06, 0.12], help="seconds, of serve.batch")
    options.add_argument("--minutes", type=float, default=2, help="of the soak")
    options.add_argument("--port", type=int, default=8765)
    options.add_argument("--json", type=Path, help="a file for what was found")
    return options


def main(arguments: list[str] | None = None) -> int:
    options, found = parser().parse_args(arguments), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        save_random(store, options.model)
        for name in options.only:
            say(name)
            found |= MEASURES[name](store, options)
    for name, value in found.items():
        what, goal, met = GOALS[name]
        say(f"{what}: {value:.3g} (goal: {goal}) {'met' if met(value) else 'NOT MET'}")
    if options.json:
        options.json.write_text(json.dumps(found))
    return 0 if all(GOALS[name][2](value) for name, value in found.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
