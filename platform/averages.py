"""The running means of a run's weights: by name, several at once.

`ema` has the first decay of the run's settings, `ema-0.999` another, and `power-0.05` is a power mean of that width.
Power means are also kept as snapshots, one at every checkpoint and never pruned, so that a mean of any width can be
put together after training:

    checkpoints/<run_id>.snapshots/<images seen>/power-0.05.safetensors       float16
    checkpoints/<run_id>.averages/<images seen>-power-0.07/ema.safetensors    put together from those
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

from unlatent.models.ema import Snapshot, power_decay, reconstruct, update_emas
from unlatent.models.network import PixelTransformer
from unlatent.platform import checkpoints
from unlatent.platform.checkpoints import Checkpoint, Weights
from unlatent.platform.crew import Crew
from unlatent.platform.filling import fill
from unlatent.platform.optimization import TrainConfig
from unlatent.platform.store import Store

Decay = Callable[[int, int], float]  # of a step from one number of images seen to another


class Averages:
    """The means themselves."""

    def __init__(self, config: TrainConfig, network: PixelTransformer) -> None:
        self.decays = decays(config)
        self.networks = {name: deepcopy(network).requires_grad_(False).eval() for name in self.decays}

    @property
    def main(self) -> PixelTransformer:
        """The one that samples are drawn from."""
        return self.networks["ema"]

    def update(self, network: PixelTransformer, before: int, after: int) -> None:
        """Takes in the weights after a step from `before` to `after` images seen."""
        kept = [decay(before, after) for decay in self.decays.values()]
        update_emas(list(self.networks.values()), network, kept)

    def weights(self) -> dict[str, Weights]:
        return {name: network.state_dict() for name, network in self.networks.items()}

    def load(self, store: Store, checkpoint: Checkpoint) -> None:
        for name, network in self.networks.items():
            fill(store, checkpoint, name, network)


def save_snapshots(store: Store, run_id: str, images_seen: int, weights: dict[str, Weights], crew: Crew) -> None:
    """Keeps the power means among a run's weights, where there are any."""
    halves = {
        name: {key: tensor.half() for key, tensor in each.items()}
        for name, each in weights.items()
        if name.startswith("power-")
    }
    if halves:
        checkpoints.save_snapshots(store, run_id, images_seen, halves, crew)


def decays(config: TrainConfig) -> dict[str, Decay]:
    """What each mean keeps of itself in a step."""
    first, *others = config.ema_decays
    constant = {"ema": first} | {f"ema-{decay:g}": decay for decay in others}
    power: dict[str, Decay] = {f"power-{width:g}": partial(power_decay, width) for width in config.ema_power_widths}
    return {name: partial(constant_decay, decay) for name, decay in constant.items()} | power


def constant_decay(decay: float, before: int, after: int) -> float:
    return decay


def save_average(store: Store, run_id: str, width: float, images_seen: int | None) -> tuple[Checkpoint, float]:
    """A checkpoint of a run's power mean of any width, and the error of the fit; at the last snapshot unless told.

    Raises ValueError where the run keeps no snapshots, or where they do not give a mean of that width.
    """
    saved = checkpoints.snapshots_of(store, run_id)
    if not saved:
        raise ValueError(f"run {run_id!r} has kept no snapshots; a run with train.ema_power_widths=[0.05,0.1] does")
    position = saved[-1].images_seen if images_seen is None else images_seen
    snapshots = [
        Snapshot(
            images_seen=each.images_seen,
            sigma_rel=float(name.removeprefix("power-")),
            load=partial(checkpoints.load_weights, store, each, name),
        )
        for each in saved
        for name in each.kinds
    ]
    weights, error = reconstruct(snapshots, width, position)
    last = checkpoints.all_of(store, run_id)[-1]
    config = checkpoints.read(store, last, "config.yaml")
    path = f"{checkpoints.average_folder(run_id)}/{position:012d}-power-{width:g}"
    single = {name: tensor.float() for name, tensor in weights.items()}
    meta = {"run_id": run_id, "images_seen": position, "classes": list(last.classes), "space": last.space}
    return checkpoints.write(store, path, {"ema": single}, meta, {"config.yaml": config}), error
