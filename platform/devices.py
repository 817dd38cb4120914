"""The device that this process computes on, and what it says of itself."""

import psutil
import torch


def local_device() -> torch.device:
    """The first GPU that this process may see (Ray shows a worker only its own), or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def memory_bytes(device: torch.device) -> int:
    """Peak device memory, or the resident memory of this process on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
