"""What a training step spends a device's time on, kernel by kernel, as PyTorch's profiler tells it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import synchronize, time_once


@dataclass(kw_only=True)
class Kernel:
    """Of one step, by one name."""

    name: str
    calls: float
    seconds: float


@dataclass(kw_only=True)
class Work:
    """Of one contender's step. What `whole` has beyond `busy`, the device waited for the next kernel."""

    contender: str
    whole: float  # seconds, by the clock and without the profiler
    busy: float  # seconds, of all kernels together
    launched: float  # kernels
    longest: list[Kernel]  # of names, those with most seconds first


def work_of(contender: str, step: Callable[[], object], steps: int, device: torch.device, shown: int) -> Work:
    """After a step that was not looked at. On a CPU, kernels are PyTorch's operators."""
    step()
    whole = sum(time_once(step, device) for _ in range(steps)) / steps
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as watched:
        for _ in range(steps):
            step()
        synchronize(device)
    kind = DeviceType.CUDA if on_gpu else DeviceType.CPU
    found = [
        Kernel(
            name=each.key,
            calls=each.count / steps,
            seconds=(each.self_device_time_total if on_gpu else each.self_cpu_time_total) / 1e6 / steps,
        )
        for each in watched.key_averages()
        if each.device_type == kind
    ]
    return Work(
        contender=contender,
        whole=whole,
        busy=sum(kernel.seconds for kernel in found),
        launched=sum(kernel.calls for kernel in found),
        longest=sorted(found, key=lambda kernel: -kernel.seconds)[:shown],
    )
