"""The device that this process computes on, and what it says of itself."""

import ctypes
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def local_device() -> torch.device:
    """The first GPU that this process may see (Ray shows a worker only its own), or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mesh_of_all(device: torch.device) -> "DeviceMesh":
    """The devices of all processes of torch's process group, each of which has one of this kind."""
    from torch.distributed import group
    from torch.distributed.device_mesh import DeviceMesh

    assert group.WORLD is not None
    return DeviceMesh.from_group(group.WORLD, device.type)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def memory_bytes(device: torch.device) -> int:
    """Peak device memory, or the resident memory of this process on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


def forget_earlier_work() -> None:
    """For a process that trains one network after another: lets go of graphs and memory of those before.

    PyTorch holds compiled graphs by the code that they come from, up to a number, and not by the network; and it tells
    the peak of memory since the process began. The C library keeps what was freed, in ever more pieces.
    """
    torch.compiler.reset()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
