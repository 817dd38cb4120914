"""Checkpoints read into what is there already: a network and its optimizer, whole or sharded, whoever wrote them.

Parts are read one at a time, and by a worker whose stretch one of them is, that one alone.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unlatent.models.sharding import is_sharded, put_rows, stretch
from unlatent.platform import checkpoints
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.store import Store

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW, for every weight


def fill(store: Store, checkpoint: Checkpoint, kind: str, module: nn.Module) -> None:
    """Takes over one set of a checkpoint's weights."""
    held = module.state_dict()
    for number in numbers_for(checkpoint, held.values()):
        put_part(held, checkpoints.load_part(store, checkpoint, kind, number), number, checkpoint.parts)


def numbers_for(checkpoint: Checkpoint, weights: Iterable[Tensor]) -> Iterable[int]:
    """The parts that these weights are in, or what this process holds of them."""
    weight: Any = next(iter(weights))
    if is_sharded(weight) and weight.device_mesh.size() == checkpoint.parts:
        return [weight.device_mesh.get_local_rank()]
    return range(checkpoint.parts)


def put_part(held: Mapping[str, Tensor], part: Mapping[str, Tensor], number: int, count: int) -> None:
    assert held.keys() == part.keys(), held.keys() ^ part.keys()
    for name, weight in held.items():
        place = stretch(len(weight), number, count)
        assert len(part[name]) == len(place), f"{name}: {tuple(part[name].shape)}, for {place}"
        put_rows(weight, part[name], place)


def put_moments(
    taken: dict[int, dict[str, Tensor]], optimizer: torch.optim.AdamW, part: Mapping[int, Any], number: int, count: int
) -> None:
    """Adds to what is `taken`, by weight, what one of `count` parts says of an optimizer of the same weights."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, said in part.items():
        weight = weights[index]
        if index not in taken:
            taken[index] = {"step": said["step"]} | {name: torch.zeros_like(weight) for name in MOMENTS}
        for name in MOMENTS:
            put_rows(taken[index][name], said[name], stretch(len(weight), number, count))
