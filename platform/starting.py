"""Training that begins at another run's checkpoint: with its weights, as 512² does with those of 256², or all of it."""

from dataclasses import asdict, replace
from typing import Any

import yaml

from unlatent.models.alignment import AlignmentConfig
from unlatent.models.config import PixelTransformerConfig, config_from
from unlatent.platform import checkpoints
from unlatent.platform.averages import decays
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.filling import fill
from unlatent.platform.learner import Learner
from unlatent.platform.runs import Run
from unlatent.platform.store import Store


def require_beginning(store: Store, run: Run) -> None:
    """Raises ValueError where a fresh run could not begin as it is to: at a checkpoint that is not there, say."""
    find_start(store, run)
    find_fork(store, run)


def find_start(store: Store, run: Run) -> Checkpoint | None:
    """The checkpoint whose weights a run begins with, if it is to begin with any.

    Raises ValueError where there is none, it is damaged, or its weights are not those of such a network; images may be
    of another size.
    """
    path, network = run.config.train.start, run.config.model
    if path is None:
        return None
    checkpoint, saved = open_checkpoint(store, "train.start", path)
    require_network("train.start", path, network, replace(config_from(saved["model"]), image_size=network.image_size))
    return checkpoint


def find_fork(store: Store, run: Run) -> Checkpoint | None:
    """The checkpoint from which a run goes on, if it is a fork.

    Raises ValueError where there is none, it is damaged, of another network, at the run's end, or does not keep what
    the run goes on with.
    """
    train = run.config.train
    path, end = train.fork, train.total_images
    if path is None:
        return None
    checkpoint, saved = open_checkpoint(store, "train.fork", path)
    require_network("train.fork", path, run.config.model, config_from(saved["model"]))
    if missing := sorted(decays(train).keys() - set(checkpoint.kinds)):
        raise ValueError(f"train.fork={path} keeps no average {missing[0]}; train.ema_decays as there would do")
    if train.alignment.active != AlignmentConfig(**saved["train"]["alignment"]).active:
        raise ValueError(f"train.fork={path}: train.alignment is of a whole run; as there would do")
    if path != checkpoints.path_of(checkpoint.run_id, checkpoint.images_seen):
        raise ValueError(f"train.fork={path} is a copy; the run {checkpoint.run_id} wrote it elsewhere")
    if checkpoint.images_seen >= end:
        seen = f"train.fork={path} has seen {checkpoint.images_seen:,} images"
        raise ValueError(f"{seen}, and train.total_images={end:,} is no more than that")
    return checkpoint


def open_checkpoint(store: Store, setting: str, path: str) -> tuple[Checkpoint, dict[str, Any]]:
    """A whole checkpoint, and the config of its run."""
    try:
        checkpoint = checkpoints.find(store, path)
        checkpoints.verify(store, checkpoint)
    except ValueError as error:
        raise ValueError(f"{setting}={path}: {error}") from None
    return checkpoint, yaml.safe_load(checkpoints.read(store, checkpoint, "config.yaml"))


def require_network(setting: str, path: str, network: PixelTransformerConfig, saved: PixelTransformerConfig) -> None:
    """Raises ValueError, naming what differs, for another network's checkpoint."""
    ours, theirs = asdict(network), asdict(saved)
    differing = [f"model.{name}={theirs[name]} there, {ours[name]} here" for name in ours if ours[name] != theirs[name]]
    if differing:
        raise ValueError(f"{setting}={path} is of another network: {'; '.join(differing)}")


def take_up(store: Store, checkpoint: Checkpoint, learner: Learner) -> None:
    """Weights alone: the optimizer and the count of images begin anew. An average that is not there begins as `ema`."""
    kinds = checkpoint.kinds
    fallback = "ema" if "ema" in kinds else "raw"
    for kind, network in {"raw": learner.network, **learner.averages.networks}.items():
        fill(store, checkpoint, kind if kind in kinds else fallback, network)
