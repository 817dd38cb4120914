"""How much memory and disk a step takes, worked out from the network before anything runs."""

from dataclasses import dataclass

from unlatent.models import memory
from unlatent.pipelines.work import Work, area
from unlatent.platform.buckets import Sides
from unlatent.platform.config import Config
from unlatent.platform.image_sizes import in_words

BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True, kw_only=True)
class Room:
    """Bytes that one process takes at most, without libraries, a teacher, or the network that measures."""

    weights: int
    gradients: int = 0
    moments: int = 0
    averages: int = 0
    images: int  # at once
    working: int  # what comes and goes with them, where the network is not compiled
    largest: Sides  # of the images, for which that is
    grid: int = 0  # what a checkpoint's grid of samples takes in its stead

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.moments + self.averages + max(self.working, self.grid)


def room_of(work: Work) -> Room:
    """Of one process: a worker that trains, or the one that draws."""
    return training_room(work) if work.kind == "training" else drawing_room(work)


def training_room(work: Work) -> Room:
    model, train, cluster, sampler = work.config.model, work.config.train, work.config.cluster, work.config.sampler
    each = weights_bytes(work.config) // (cluster.workers if train.parallel == "fsdp" else 1)
    images = train.batch_size // cluster.workers // train.accumulate
    recompute = train.recompute or ("modulation" if work.on_gpu else "none")
    largest = max(work.sizes, key=area)
    return Room(
        weights=each,
        gradients=each,
        moments=2 * each,
        averages=averages(work.config) * each,
        images=images,
        working=memory.training_bytes(model, images, area(largest), train.precision, recompute),
        largest=largest,
        grid=memory.drawing_bytes(model, train.grid_samples * sampler.most_rows, precision=sampler.precision),
    )


def drawing_room(work: Work) -> Room:
    evaluation, sampler, [sides] = work.config.evaluation, work.config.sampler, work.sizes
    images = min(evaluation.batch_size, evaluation.samples)
    working = memory.drawing_bytes(work.config.model, images * sampler.most_rows, area(sides), sampler.precision)
    return Room(weights=weights_bytes(work.config), images=images, working=working, largest=sides)


def memory_bytes(works: list[Work]) -> int | None:
    """Of the largest process of a step: a worker that trains, or what draws."""
    return max((room_of(work).total for work in works), default=None)


def room_in_words(works: list[Work]) -> str:
    """`memory: 26 GB held (weights 5.21 GB, …) and 3.9 GB for 8 images at once, uncompiled`."""
    room = max(map(room_of, works), key=lambda room: room.total)
    kinds = ("weights", "gradients", "moments", "averages")
    parts = [f"{kind} {bytes_in_words(getattr(room, kind))}" for kind in kinds if getattr(room, kind)]
    at_once = f"{room.images} images at once" if room.images > 1 else "an image"
    working = f"for {at_once} of {in_words(room.largest)} up to {bytes_in_words(room.working)}, uncompiled"
    grid = f", or for a grid of samples {bytes_in_words(room.grid)}" if room.grid > room.working else ""
    return f"memory up to {bytes_in_words(room.total)}: {', '.join(parts)}; {working}{grid}"


def bytes_in_words(count: int | None) -> str:
    if count is None:
        return ""
    size, unit = next((each for each in BYTES if count >= each[0]), (1.0, "B"))
    return f"{count / size:.3g} {unit}"


def disk_bytes(works: list[Work]) -> int | None:
    """That the checkpoints of all trainings come to take, at most; snapshots of power averages with them."""
    trainings = [work.config for work in works if work.kind == "training"]
    return sum(run_bytes(config) for config in trainings) if trainings else None


def run_bytes(config: Config) -> int:
    train = config.train
    written = max(1, train.total_images // train.checkpoint_images)
    kept = min(written, train.keep_checkpoints + train.keep_best)
    checkpoints = kept * weights_bytes(config) * (3 + averages(config))  # the network, two moments
    return checkpoints + written * weights_bytes(config) * len(train.ema_power_widths)


def averages(config: Config) -> int:
    return len(config.train.ema_decays) + len(config.train.ema_power_widths)


def weights_bytes(config: Config) -> int:
    """Weights, averages and optimizer are float32, whatever the precision of the products."""
    return memory.weights_bytes(config.model)
