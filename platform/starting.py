"""Training that begins with the weights of another run's checkpoint, as 512² does with those of 256²."""

from dataclasses import asdict, replace

import yaml

from unlatent.models.config import PixelTransformerConfig, config_from
from unlatent.platform import checkpoints
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.filling import fill
from unlatent.platform.learner import Learner
from unlatent.platform.store import Store


def find_start(store: Store, path: str, network: PixelTransformerConfig) -> Checkpoint:
    """The checkpoint at a path of the store.

    Raises ValueError where there is none, it is damaged, or its weights are not those of such a network; images may be
    of another size.
    """
    try:
        checkpoint = checkpoints.find(store, path)
        checkpoints.verify(store, checkpoint)
    except ValueError as error:
        raise ValueError(f"train.start={path}: {error}") from None
    saved = config_from(yaml.safe_load(checkpoints.read(store, checkpoint, "config.yaml"))["model"])
    ours, theirs = asdict(network), asdict(replace(saved, image_size=network.image_size))
    differing = [f"model.{name}={theirs[name]} there, {ours[name]} here" for name in ours if ours[name] != theirs[name]]
    if differing:
        raise ValueError(f"train.start={path} is of another network: {'; '.join(differing)}")
    return checkpoint


def take_up(store: Store, checkpoint: Checkpoint, learner: Learner) -> None:
    """Weights alone: the optimizer and the count of images begin anew. An average that is not there begins as `ema`."""
    kinds = checkpoint.kinds
    fallback = "ema" if "ema" in kinds else "raw"
    for kind, network in {"raw": learner.network, **learner.averages.networks}.items():
        fill(store, checkpoint, kind if kind in kinds else fallback, network)
