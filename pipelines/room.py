"""How much memory and disk training takes, worked out from the network before anything runs."""

from unlatent.models import cost
from unlatent.pipelines.estimates import Work
from unlatent.platform.config import Config

BYTES_PER_VALUE = 4  # weights, averages and optimizer are float32, whatever the precision of the products


def memory_bytes(works: list[Work]) -> int | None:
    """Of the largest worker: weights, gradients, optimizer, averages, what a forward pass keeps; without libraries."""
    return max((worker_bytes(work.config) for work in works if work.kind == "training"), default=None)


def worker_bytes(config: Config) -> int:
    train, workers = config.train, config.cluster.workers
    held = weights_bytes(config) * (4 + averages(config))  # the network, its gradients, two moments
    if train.parallel == "fsdp":
        held //= workers
    at_once = train.batch_size // workers // train.accumulate
    recompute = train.recompute or ("modulation" if config.cluster.gpus_per_worker else "none")
    return held + at_once * cost.activation_bytes(config.model, recompute)


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
    return BYTES_PER_VALUE * cost.parameters(config.model)
