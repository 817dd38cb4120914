"""What a process holds, and the time of a training step, where several hold a network together or each has all of it.

    torchrun --nproc-per-node 2 benchmarks/sharding.py                                       a small network on a CPU
    torchrun --nproc-per-node 8 benchmarks/sharding.py --preset xl --device cuda --precision bf16 --batch 32

Sharded (FSDP2) against whole in every process (DDP), in turns, in one run. Needs PyTorch alone. The step is forward,
loss, backward with the exchange of gradients, clipping, AdamW and the mean of the weights.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path, nothing need be installed

from unlatent.models import PixelTransformer, flow
from unlatent.models.clipping import clipped_step, gradient_norm
from unlatent.models.ema import update_ema
from unlatent.models.precision import PRECISIONS, autocast
from unlatent.models.presets import PRESETS, preset
from unlatent.models.sharding import local, shard

SMALL = {"width": 384, "heads": 6, "patch_depth": 12, "pixel_depth": 2, "image_size": 64, "patch_size": 8}


@dataclass
class Trained:
    """A network in training, as this process has it."""

    model: nn.Module  # as a step calls it
    network: PixelTransformer
    mean: PixelTransformer
    optimizer: torch.optim.AdamW

    def held_bytes(self) -> int:
        """Of weights, their mean, and the optimizer's moments, in this process."""
        moments = (value for state in self.optimizer.state.values() for value in state.values())
        tensors = chain(self.network.parameters(), self.mean.parameters(), moments)
        return sum(local(each).numel() * each.element_size() for each in tensors)


def make(network: PixelTransformer, device: torch.device, compiled: bool, mesh: DeviceMesh | None) -> Trained:
    """A copy of a network, sharded over the mesh if there is one."""
    network, mean = deepcopy(network), deepcopy(network).requires_grad_(False)
    for each in (network, mean):
        each.to(device) if mesh is None else shard(each, mesh)
    if compiled:
        network.compile() if mesh is None else network.compile_blocks()
    model = DistributedDataParallel(network) if mesh is None else network
    return Trained(model, network, mean, torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True))


def step(trained: Trained, batch: tuple[Tensor, ...], precision: str) -> float:
    """One step. Returns the loss."""
    data, noise, t, label = batch
    trained.optimizer.zero_grad(set_to_none=True)
    with autocast(data.device, precision):
        loss = flow.loss(trained.model(flow.interpolate(data, noise, t), t, label), data, noise).mean()
    loss.backward()
    clipped_step(trained.optimizer, gradient_norm(trained.network.parameters()), 1.0)
    update_ema(trained.mean, trained.network, 0.999)
    return loss.item()  # waits for the device


def timed(call: Callable[[], object]) -> float:
    torch.distributed.barrier()
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def peak_bytes(device: torch.device, call: Callable[[], object]) -> float:
    """The most that the device's memory held meanwhile; not a number on a CPU."""
    if device.type != "cuda":
        return float("nan")
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return float(torch.cuda.max_memory_allocated(device))


def measure(asked: argparse.Namespace, device: torch.device) -> None:
    world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    config = preset(asked.preset) if asked.preset != "small" else preset("xl", **SMALL)
    torch.manual_seed(0)
    network = PixelTransformer(config)
    torch.manual_seed(rank + 1)
    shape = (asked.batch, config.channels, config.image_size, config.image_size)
    images, label = torch.randn(2, *shape), torch.randint(config.classes, (asked.batch,))
    batch = tuple(each.to(device) for each in (*images, torch.rand(asked.batch), label))
    assert torch.distributed.group.WORLD is not None
    mesh = DeviceMesh.from_group(torch.distributed.group.WORLD, device.type)
    found: dict[str, dict[str, float]] = {}
    for name, spread in (("whole", None), ("sharded", mesh)):  # one after another: both at once would not fit
        trained = make(network, device, asked.compile, spread)
        losses = [step(trained, batch, asked.precision) for _ in range(3)]
        seconds = [timed(lambda made=trained: step(made, batch, asked.precision)) for _ in range(asked.steps)]  # type: ignore[misc]
        peak = peak_bytes(device, lambda made=trained: step(made, batch, asked.precision))  # type: ignore[misc]
        found[name] = {
            "third loss": losses[-1],
            "held, MiB": trained.held_bytes() / 2**20,
            "peak, MiB": peak / 2**20,
            "step, s": median(seconds),
        }
        del trained
    if rank == 0:
        print(f"\n{world} processes, {asked.batch} images each")
        print(f"{'':12} {'whole':>12} {'sharded':>12} {'sharded / whole':>16}")
        for what, value in found["whole"].items():
            ours = found["sharded"][what]
            print(f"{what:12} {value:>12.4g} {ours:>12.4g} {ours / value:>16.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["small", *(set(PRESETS) - {"text"})], default="small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    parser.add_argument("--compile", action="store_true", help="one graph, or one for each block where sharded")
    parser.add_argument("--batch", type=int, default=4, help="images of each process; default: %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="that are timed; default: %(default)s")
    asked = parser.parse_args()
    if "LOCAL_RANK" not in os.environ:
        print("error: start it with torchrun --nproc-per-node N, N processes being what is compared", file=sys.stderr)
        return 2
    device = torch.device("cpu")
    if asked.device == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if asked.device == "cuda" else "gloo")
    try:
        measure(asked, device)
    finally:
        torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
