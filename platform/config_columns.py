"""What a config says of a run, as columns of its row."""

from dataclasses import asdict
from typing import Any

from unlatent.models import cost
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.config import Config
from unlatent.platform.optimization import TrainConfig
from unlatent.platform.schemas import TRAINING


def knobs(config: Config) -> dict[str, Any]:
    """The columns of `schemas.KNOBS`."""
    model, train = config.model, config.train
    return {
        "window": model.window,
        "attention": model.compaction.attention,
        "attention_width": model.attention_width,
        "attention_heads": model.attention_heads,
        **{name: value for name, value in asdict(model).items() if name not in ("compaction", "text")},
        "text_width": model.text.width if model.condition == "text" else None,
        "text_tokens": model.text.tokens if model.condition == "text" else None,
        "batch_size": train.batch_size,
        "learning_rate": train.learning_rate,
        "total_images": train.total_images,
        "training_precision": train.precision,
    }


def training_settings(train: TrainConfig) -> dict[str, Any]:
    """The columns of `schemas.TRAINING`."""
    own = {name: getattr(train, name) for name in TRAINING if name != "training_shift"}
    return own | {"training_shift": train.shift}


def costs(config: Config) -> dict[str, Any]:
    return {
        "parameters": cost.parameters(config.model),
        "forward_gflops": cost.forward_gflops(config.model),
        "activation_bytes": cost.activation_bytes(config.model, config.train.recompute or "none"),
    }


def at_checkpoint(config: Config, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a new checkpoint changes in its run's row."""
    return {
        "images_seen": checkpoint.images_seen,
        "training_gflops": cost.training_gflops(config.model) * checkpoint.images_seen,
        "checkpoint": checkpoint.path,
        "checkpoint_hash": checkpoint.hash,
    }
