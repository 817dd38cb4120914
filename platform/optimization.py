"""How a network is trained: objective's settings, optimizer, schedule, length. Lengths are counted in images."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import nn

from unlatent.models.alignment import AlignmentConfig
from unlatent.models.ema import exponent
from unlatent.models.precision import PRECISIONS
from unlatent.models.recomputation import RECOMPUTATIONS
from unlatent.platform.metrics import DIRECTIONS
from unlatent.platform.spikes import SpikeConfig
from unlatent.platform.tracking.packages import PACKAGES

CHOICES = {
    "precision": tuple(PRECISIONS),
    "schedule": ("constant", "cosine"),
    "parallel": ("ddp", "fsdp"),
    "recompute": (*RECOMPUTATIONS, None),
    "keep_best_by": tuple(DIRECTIONS),
}

AT_LEAST = {
    "total_images": 1,
    "batch_size": 1,
    "accumulate": 1,
    "log_images": 1,
    "checkpoint_images": 1,
    "keep_checkpoints": 1,
    "keep_best": 0,
    "grid_samples": 1,
    "seed": 0,
    "warmup_images": 0,
    "weight_decay": 0,
}


@dataclass(kw_only=True)
class TrainConfig:
    """The defaults are the paper's class-conditional recipe at 256² (arXiv 2511.20645)."""

    run: str | None = None  # a name of your own; without one, the hash of model, data and training settings
    start: str | None = None  # a checkpoint's path in the store, whose weights to begin with; None: random ones
    fork: str | None = None  # a checkpoint's path in the store, from which to go on under other settings
    seed: int = 0
    total_images: int = 409_600_000
    batch_size: int = 256  # images a step, over all workers
    parallel: str = "ddp"  # each worker holds the whole network; fsdp: a share of it, for one that does not fit
    accumulate: int = 1  # parts that a worker takes its share of a batch in, for want of memory
    learning_rate: float = 1e-4
    schedule: str = "constant"  # or cosine, down to zero at total_images
    warmup_images: int = 0
    beta2: float = 0.999
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    drop_images: int | None = None  # from here on the next two hold; the paper: at 204,800,000, epoch 160
    dropped_learning_rate: float = 1e-5
    dropped_clip_norm: float = 0.5
    spikes: SpikeConfig = field(default_factory=SpikeConfig)
    ema_decays: list[float] = field(default_factory=lambda: [0.9999])  # a step; the first one's mean is `ema`
    ema_power_widths: list[float] = field(default_factory=list)  # sigma_rel of power means, as 0.05 and 0.1
    flip: bool = False  # mirrors every other image, left to right, by chance; the paper does not
    label_drop: float = 0.1  # share of labels replaced by the null class, for guidance
    time_mean: float = 0.0  # of the normal under the logit-normal times
    time_std: float = 1.0
    shift: float = 1.0  # of the times, towards noise; the paper has 3 at 512²
    precision: str = "fp32"  # or bf16, by autocast
    compile: bool | None = None  # the network as one graph; None: on a GPU
    recompute: str | None = None  # in the backward pass: none, modulation, blocks; None: modulation on a GPU
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)  # of features with a teacher's (REPA)
    log_images: int = 25_600  # a row of `steps`, every so many images
    checkpoint_images: int = 1_280_000  # a checkpoint and a grid of samples, every so many
    keep_checkpoints: int = 3  # the last ones
    keep_best: int = 1  # besides those, so many with the best values in `evaluations`; 0: none
    keep_best_by: str = "fid"  # the metric
    grid_samples: int = 40  # images in a grid, from fixed noise and classes
    trackers: list[str] = field(default_factory=lambda: ["tensorboard"])  # that show the rows too; also wandb, mlflow

    def __post_init__(self) -> None:
        self._require_numbers()
        self._require_choices()
        self._require_averages()
        if self.run is not None and not is_plain_name(self.run):
            raise ValueError(f"train.run={self.run!r} must be letters, digits, '.', '_' and '-', with no '.' in front")
        if self.start and self.fork:
            raise ValueError(
                f"train.start={self.start} and train.fork={self.fork}: a run begins in one way; null for one"
            )
        if self.fork and self.ema_power_widths:
            raise ValueError(
                f"train.fork={self.fork}: averages for train.ema_power_widths={self.ema_power_widths} are of one run's "
                "whole way; [] would do"
            )

    def _require_numbers(self) -> None:
        for name, least in AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"train.{name}={getattr(self, name)} is below {least}")
        for name in ("learning_rate", "clip_norm", "dropped_learning_rate", "dropped_clip_norm", "time_std", "shift"):
            if not getattr(self, name) > 0:
                raise ValueError(f"train.{name}={getattr(self, name)} is not above 0")
        for name in ("label_drop", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"train.{name}={getattr(self, name)} is not in 0 … 1 (1 excluded)")

    def _require_choices(self) -> None:
        for name, values in CHOICES.items():
            if getattr(self, name) not in values:
                known = ("null" if value is None else value for value in values)
                raise ValueError(f"train.{name}={getattr(self, name)!r} is not one of {', '.join(known)}")

        for name in self.trackers:
            if name not in PACKAGES or self.trackers.count(name) > 1:
                raise ValueError(f"train.trackers={self.trackers} is not a list of {', '.join(PACKAGES)}, each once")
        if self.drop_images is not None and (self.drop_images < 1 or self.schedule != "constant"):
            raise ValueError(
                f"train.drop_images={self.drop_images} with train.schedule={self.schedule}: a drop is at 1 or more, "
                "and from a constant rate"
            )

    def _require_averages(self) -> None:
        if not self.ema_decays or not all(0 <= decay < 1 for decay in self.ema_decays):
            raise ValueError(f"train.ema_decays={self.ema_decays} is not a list of one or more in 0 … 1 (1 excluded)")
        for width in self.ema_power_widths:
            exponent(width)
        for name in ("ema_decays", "ema_power_widths"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"train.{name}={values} has a value twice")


def is_plain_name(name: str) -> bool:
    """Whether a name can be a folder's and a file's, on a disk and in an object store."""
    return bool(name) and not name.startswith(".") and all(c.isascii() and (c.isalnum() or c in "._-") for c in name)


def make_optimizer(config: TrainConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
    """AdamW in one kernel a step: on small networks the loop over parameters costs an eighth of the step."""
    return torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(0.9, config.beta2), weight_decay=config.weight_decay, fused=True
    )


def learning_rate(config: TrainConfig, images_seen: int) -> float:
    """The rate of the step that starts at `images_seen`."""
    warm = min(1.0, (images_seen + config.batch_size) / config.warmup_images) if config.warmup_images else 1.0
    if config.schedule == "constant":
        return warm * (config.dropped_learning_rate if has_dropped(config, images_seen) else config.learning_rate)
    done = min(1.0, images_seen / config.total_images)
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))


def clip_norm(config: TrainConfig, images_seen: int) -> float:
    """The norm that gradients are clipped to, in the step that starts at `images_seen`."""
    return config.dropped_clip_norm if has_dropped(config, images_seen) else config.clip_norm


def has_dropped(config: TrainConfig, images_seen: int) -> bool:
    return config.drop_images is not None and images_seen >= config.drop_images
