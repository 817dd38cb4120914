"""A network that several processes hold together: a stretch of the rows of every weight each (FSDP2).

The rows of a weight are dealt out in order, equally many to each process, so that all stretches one after another are
the whole. A block's weights are put together while it runs, and at no other time.

What a process holds is a DTensor of PyTorch's, known here by its `to_local`: importing the class takes half a second,
which most runs would spend for nothing.
"""

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unlatent.models.network import PixelTransformer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(network: PixelTransformer, mesh: "DeviceMesh") -> None:
    """Leaves this process its stretch of a network's weights, on the device of the mesh, which must have one axis."""
    from torch.distributed.fsdp import fully_shard

    for block in network.blocks:
        fully_shard(block, mesh=mesh)
    shard_whole(network, mesh)


def shard_whole(module: nn.Module, mesh: "DeviceMesh") -> None:
    """The same for a module whose weights are put together all at once, but for those of parts sharded before."""
    from torch.distributed.fsdp import fully_shard

    # An image is a view of the last layer's output, which could be changed in place: nothing here does.
    warnings.filterwarnings("ignore", ".*returned a view tensor", UserWarning)
    fully_shard(module, mesh=mesh, reshard_after_forward=True)


def is_sharded(weight: Tensor) -> bool:
    return hasattr(weight, "to_local")


def local(weight: Tensor) -> Tensor:
    """What this process holds of a weight, as a tensor like any other."""
    held: Any = weight
    return held.to_local() if is_sharded(weight) else weight


def whole(value: Tensor) -> Tensor:
    """A value that all processes have a part in, put together: all of them must ask for it."""
    held: Any = value
    return held.full_tensor() if is_sharded(value) else value


def stretch(rows: int, number: int, count: int) -> range:
    """The rows that process `number` of `count` holds."""
    each = -(-rows // count)
    return range(min(number * each, rows), min((number + 1) * each, rows))


def stretch_of(weight: Tensor) -> range:
    """The rows of a weight that this process holds: all of one that is not sharded."""
    if not is_sharded(weight):
        return range(len(weight))
    mesh: DeviceMesh = weight.device_mesh  # type: ignore[attr-defined]
    held = stretch(len(weight), mesh.get_local_rank(), mesh.size())
    assert len(held) == len(local(weight)), "FSDP2 has dealt the rows out in another way"
    return held


@torch.no_grad()
def put_rows(weight: Tensor, rows: Tensor, place: range) -> None:
    """Copies those of the rows, which are those at `place` of the whole, that this process holds."""
    held = stretch_of(weight)
    first, last = max(held.start, place.start), min(held.stop, place.stop)
    if first < last:
        local(weight)[first - held.start : last - held.start] = rows[first - place.start : last - place.start]
