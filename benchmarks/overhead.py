"""What the platform adds to training: to a step, to the start, to reading images, and by a checkpoint."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageFilter

from unlatent.platform import cluster, tables
from unlatent.platform.batches import batches, windows_of
from unlatent.platform.checkpoint_writer import CheckpointWriter, moment_of, write
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.conditions import Classes, examples
from unlatent.platform.config import Config, compose_config
from unlatent.platform.data_order import Order
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.devices import device_name, local_device
from unlatent.platform.image_decoding import decode
from unlatent.platform.image_split import ImageSplit
from unlatent.platform.learner import Learner, make_learner, train_step
from unlatent.platform.optimization import learning_rate
from unlatent.platform.ray_training import train_on_ray
from unlatent.platform.runs import Run, begin, plan_run
from unlatent.platform.step_log import StepLog
from unlatent.platform.store import Store
from unlatent.platform.streaming import stream
from unlatent.platform.tracking.feed import Feed

INTERVAL = 25  # steps that are timed together
PICTURE = (500, 375)  # pixels, as most of ImageNet's
BATCH = 32


@dataclass(frozen=True)
class Compared:
    """Something of ours beside its baseline, each measured several times in turns."""

    what: str
    unit: str
    ours: list[float]
    baseline: list[float]

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.baseline)


def long_run(store: Path, steps: int, overrides: Sequence[str]) -> list[str]:
    """Overrides of a run of so many steps, on one thread, that is logged every `INTERVAL` and saved at its end."""
    total, every = steps * BATCH, INTERVAL * BATCH
    lengths = [f"train.total_images={total}", f"train.checkpoint_images={total}", f"train.log_images={every}"]
    return [f"store={store}", f"train.batch_size={BATCH}", *lengths, "cluster.cpus_per_worker=1", *overrides]


def compare_steps(folder: Path, steps: int, rounds: int, overrides: Sequence[str]) -> Compared:
    """Seconds of a step under Ray Train, all that the platform does around it included, and in a bare loop."""
    ours, bare = [], []
    for number in range(rounds):
        settings = long_run(folder / f"store-{number}", steps, overrides)
        script = Path(__file__).with_name("train_overhead.py")
        command = [sys.executable, str(script), "--bare", str(steps), *settings]
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, check=True)
        bare.append(json.loads(done.stdout))
        config = compose_config(settings)
        train_on_ray(config)
        rows = tables.read(Store(config.store), "steps").sort_values("images_seen")
        ours.append(median(BATCH / rows["images_per_s"].iloc[1:]))
    return Compared("training step", "s", ours, bare)


def bare_step_s(config: Config, steps: int) -> float:
    """The same steps on the same images, with nothing around them: the median of the intervals after the first."""
    run, learner = make(config)
    split, positions = run.dataset.train, range(0, steps * BATCH, BATCH)
    source = batches(split, split.order(config.train.seed, BATCH), positions, 0, 1, run.config.data.decoders)
    seconds, started = [], time.perf_counter()
    for number, (images, labels) in enumerate(source, start=1):
        losses = step(run, learner, images, labels)
        if number % INTERVAL == 0:
            losses.flow.item()
            now = time.perf_counter()
            seconds.append((now - started) / INTERVAL)
            started = now
    return median(seconds[1:])


def make(config: Config) -> tuple[Run, Learner]:
    run = plan_run(config, open_dataset(config.data, Store(config.store)))
    return run, make_learner(run.config.model, run.config.train, local_device())


def step(run: Run, learner: Learner, images: Any, labels: Any) -> Any:
    device, train = local_device(), run.config.train
    rate = learning_rate(train, learner.images_seen)
    losses = train_step(train, learner, images.to(device), labels.to(device), 0, rate)
    learner.images_seen += train.batch_size
    return losses


def stages_to_first_step(folder: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Seconds of each stage, from a command to the end of the first step; Ray is not running yet."""
    began = time.time()
    subprocess.run([sys.executable, "-c", "import unlatent.platform.ray_training"], check=True)
    imported = time.time()
    config = compose_config([*long_run(folder / "start", 1, overrides), f"train.log_images={BATCH}"])
    store = Store(config.store)
    open_dataset(config.data, store)
    opened = time.time()
    cluster.connect(config.cluster)
    connected = time.time()
    run_id = train_on_ray(config)
    row = tables.row(store, "runs", run_id)
    assert row is not None, "a run that has ended has a row"
    started = row["started_at"].timestamp()
    first = tables.read(store, "steps").iloc[0]
    in_loop = BATCH / first["images_per_s"]
    logged = first["logged_at"].timestamp()
    return {
        "imports": imported - began,
        "config and data": opened - imported,
        "Ray": connected - opened,
        "worker": started - connected,
        "network, noise of the grid and other preparations": logged - in_loop - started,
        "first step": in_loop,
    }


def compare_loading(folder: Path, images: int, rounds: int, image_size: int) -> Compared:
    """Images a second through tasks of Ray, of which one decodes ahead, and by decoding alone on one core."""
    contents = photographs(images)
    split = in_shards(contents, folder, image_size)
    cluster.connect(ClusterConfig())
    ours, alone = [], []
    for number in range(rounds):
        started = time.perf_counter()
        for content in contents:
            decode(io.BytesIO(content), image_size, image_size)
        alone.append(len(contents) / (time.perf_counter() - started))
        ours.append(streamed_images_per_s(split, split.order(number, BATCH), 4 * images))
    return Compared("loading", "images/s", ours, alone)


def streamed_images_per_s(split: ImageSplit, order: Order, images: int) -> float:
    """After the first part, with which the tasks have started. ValueError where that is all there is."""
    parts = stream(split, Classes(), windows_of(order, 0, images, 0, 1), 1)
    next(parts)
    started = time.perf_counter()
    read = sum(len(labels) for _, labels in parts)
    if not read:
        raise ValueError(f"{images} images of this size are read at once; more --images or larger ones would do")
    return read / (time.perf_counter() - started)


def photographs(count: int) -> list[bytes]:
    """JPEG files of noise at several scales, about as large as photographs."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(count):
        noise = [generator.integers(0, 256, (size, size, 3), dtype=np.uint8) for size in (6, 60)]
        coarse, fine = (Image.fromarray(each).resize(PICTURE, Image.Resampling.BICUBIC) for each in noise)
        buffer = io.BytesIO()
        Image.blend(coarse, fine, 0.4).filter(ImageFilter.SHARPEN).save(buffer, "JPEG", quality=92)
        files.append(buffer.getvalue())
    return files


def in_shards(files: list[bytes], folder: Path, image_size: int) -> ImageSplit:
    (folder / "shards").mkdir()
    pq.write_table(pa.table({"image": files}), folder / "shards" / "0.parquet", row_group_size=64)
    config = DataConfig(kind="parquet", root=str(folder / "shards"), image_size=image_size, held_out=0.0)
    return open_dataset(config, Store(folder / "images")).train


def compare_checkpoint(folder: Path, rounds: int, overrides: Sequence[str]) -> tuple[list[Compared], int]:
    """Seconds that a checkpoint takes from training when it is written aside, and in the loop; and its bytes.

    First those in which the loop stands still, then with those by which steps take longer beside the writing: on a CPU
    both share the cores.
    """
    config = compose_config([*long_run(folder / "checkpoints", 1, overrides), "train.run=one", "train.grid_samples=1"])
    (run, learner), store = make(config), Store(config.store)
    source = batches(run.dataset.train, run.dataset.train.order(0, BATCH), range(0, 10**9, BATCH), 0, 1, 0)
    row, feed = begin(store, run, device_name(local_device())), Feed(store, run, [])

    def train_once() -> float:
        started = time.perf_counter()
        log.add(step(run, learner, *next(source)))
        log.losses[-1].flow.item()
        return time.perf_counter() - started

    log, saved = StepLog("one", 0, local_device(), 1.0), list[Checkpoint | None]()
    shown = examples(run.dataset, run.config.model, run.config.train.grid_samples)
    still: dict[str, list[float]] = {"aside": [], "inside": []}
    lost: dict[str, list[float]] = {"aside": [], "inside": []}
    for way in ["aside", "inside"] * rounds:
        undisturbed = median(train_once() for _ in range(5))
        log.end_interval(learner.images_seen, learner.step, 0.1)
        started = time.perf_counter()
        moment = moment_of(run, learner, log, shown)
        log.mark_saved(learner.images_seen)
        with CheckpointWriter(saved.append) as writer:
            writer.start(partial(write, run, store, moment, feed, row))
            if way == "inside":
                writer.settle()
            seconds = time.perf_counter() - started
            still[way].append(seconds)
            while writer.writing is not None and not writer.writing.done():
                seconds += train_once() - undisturbed
        lost[way].append(seconds)
    last = saved[-1]
    assert last is not None
    size = sum(len(store.read_bytes(f"{last.path}/{name}")) for name in store.list(last.path))
    compared = [
        Compared("a checkpoint: loop stands still", "s", still["aside"], still["inside"]),
        Compared("a checkpoint: in all", "s", lost["aside"], lost["inside"]),
    ]
    return compared, size
