"""How fast networks train and draw on one device: measured on purpose, or by runs as they trained.

What a plan's hours follow from.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import torch

from unlatent.models import cost
from unlatent.models.condition import TOKEN_BYTES, Condition, Text, rows_of, to_device
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.precision import autocast
from unlatent.platform import cluster, placement, spaces, tables
from unlatent.platform.config import Config
from unlatent.platform.config_columns import knobs
from unlatent.platform.devices import device_name, local_device, memory_bytes
from unlatent.platform.learner import make_learner, train_step
from unlatent.platform.optimization import learning_rate
from unlatent.platform.provenance import now, provenance
from unlatent.platform.store import Store

MEASURED_FOR_S = 5.0
LEAST_CALLS = 3


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Of one device. FLOPs are the model's, without what is computed again to save memory."""

    work: str  # training or drawing
    gflops_per_s: float
    forward_gflops: float  # of the network, an image
    device: str
    precision: str
    measured_at: datetime

    def is_of(self, config: Config) -> bool:
        """Whether it was measured on a network of as many FLOPs."""
        return self.forward_gflops == cost.forward_gflops(config.model)


def known_rates(store: Store) -> list[Rate]:
    """Those measured on purpose, then those of runs; each newest first."""
    measured = tables.read(store, "rates").sort_values("measured_at", ascending=False)
    runs = tables.read(store, "runs").sort_values("updated_at", ascending=False)
    runs = runs[runs["images_per_s"].notna() & runs["training_precision"].notna() & (runs["images_seen"] > 0)]
    trained_gflops = runs["images_per_s"] / runs["workers"] * runs["training_gflops"] / runs["images_seen"]
    renamed = {"precision": runs["training_precision"], "measured_at": runs["updated_at"]}
    runs = runs.assign(work="training", gflops_per_s=trained_gflops, **renamed)
    names = list(Rate.__dataclass_fields__)
    rows = pd.concat([measured[names], runs[names]]).to_dict("records")
    return [Rate(**{str(name): value for name, value in row.items()}) for row in rows]


def best_rate(rates: list[Rate], work: str, config: Config, on_gpu: bool) -> Rate | None:
    """What tells most of a config's network on its kind of device: a rate of such a network, or else of another."""
    precision = config.train.precision if work == "training" else config.sampler.precision
    fitting = [
        rate for rate in rates if rate.work == work and rate.precision == precision and (rate.device != "cpu") == on_gpu
    ]
    return next(iter([rate for rate in fitting if rate.is_of(config)] + fitting), None)


def measure_on_ray(config: Config, in_sweep: bool) -> list[dict[str, Any]]:
    """Measures where a worker of training, or of a sweep's trial, would be placed, and adds the rows to `rates`.

    Raises ValueError if the cluster has no such place.
    """
    import ray

    cluster.connect(config.cluster, config.store)
    need = placement.trial_need(config.cluster) if in_sweep else placement.worker_need(config.cluster)
    placement.require("measuring", 1, need, config.cluster.grows)
    rows = ray.get(ray.remote(num_cpus=need.cpus, num_gpus=need.gpus, max_retries=0)(measure).remote(config))
    tables.append(Store(config.store), "rates", rows)
    return rows


def random_condition(config: PixelTransformerConfig, rows: int, generator: torch.Generator) -> Condition:
    """Classes, or texts of full length."""
    if config.condition == "class":
        return torch.randint(config.classes, (rows,), generator=generator)
    if config.text.learned:
        return Text(torch.randint(1, 256, (rows, config.text.tokens, TOKEN_BYTES), generator=generator).byte())
    return Text(torch.randn(rows, config.text.tokens, config.text.width, generator=generator))


def measure(config: Config) -> list[dict[str, Any]]:
    """Times training steps on a worker's part of a batch, and the network on as many images as drawing would call it.

    Images are random: reading data is not in it, nor is the exchange of gradients. Returns rows of `rates`.
    """
    device = local_device()
    torch.set_float32_matmul_precision("high")
    share = config.train.batch_size // config.cluster.workers
    generator = torch.Generator().manual_seed(config.train.seed)
    channels = spaces.LATENTS_OF if config.model.autoencoder else config.model.channels
    model = spaces.fitted(config.model, channels, config.data.image_size)
    shape = (share, channels, config.data.image_size, config.data.image_size)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(device)
    condition = to_device(random_condition(model, share, generator), device)
    learner = make_learner(model, config.train, device, nothing=rows_of(condition, slice(1)))
    part = share // config.train.accumulate
    data = learner.space.encode(images)
    images = images if model.autoencoder is None else data  # latents are made once, before training
    noisy, t = data[:part], torch.full((part,), 0.5, device=device)

    def train() -> None:
        train_step(config.train, learner, images, condition, 0, learning_rate(config.train, 0)).flow.item()  # waits

    @torch.inference_mode()
    def draw() -> None:
        with autocast(device, config.sampler.precision):
            learner.network(noisy, t, rows_of(condition, slice(part))).sum().item()

    def row(work: str, precision: str, images: int, gflops_each: float, seconds: float) -> dict[str, Any]:
        return {
            **knobs(config),
            **provenance(),
            "work": work,
            "device": device_name(device),
            "precision": precision,
            "batch_size": images,
            "forward_gflops": cost.forward_gflops(model),
            "images_per_s": images / seconds,
            "gflops_per_s": images * gflops_each / seconds,
            "memory_bytes": memory_bytes(device),
            "measured_at": now(),
        }

    training_gflops, forward_gflops = cost.training_gflops(model), cost.forward_gflops(model)
    return [
        row("training", config.train.precision, share, training_gflops, seconds_each(train)),
        row("drawing", config.sampler.precision, part, forward_gflops, seconds_each(draw)),
    ]


def seconds_each(call: Callable[[], None]) -> float:
    """The mean over some seconds, after two calls that compile and allocate."""
    for _ in range(2):
        call()
    calls, started = 0, time.perf_counter()
    while calls < LEAST_CALLS or time.perf_counter() - started < MEASURED_FOR_S:
        call()
        calls += 1
    return (time.perf_counter() - started) / calls
