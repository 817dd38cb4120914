"""How fast a device could multiply matrices: what the share of it that training uses (MFU) is measured against."""

import functools
import time

import torch

from unlatent.models.precision import PRECISIONS
from unlatent.platform.devices import device_name

# FLOP/s that the makers publish for dense matrices, in bf16 and in fp32, which multiplies in TF32 where there is any.
# A V100 has neither: its fp16 figure, and plain fp32. The first name that a device's own name holds counts.
PUBLISHED = {
    "H100 PCIe": (756e12, 378e12),
    "H100 NVL": (835e12, 417e12),
    "H100": (989e12, 494e12),
    "H200": (989e12, 494e12),
    "A100": (312e12, 156e12),
    "L40S": (362e12, 183e12),
    "RTX 4090": (165e12, 82.6e12),
    "V100": (125e12, 15.7e12),
}
MEASURED_FOR_S = 0.1


def peak_flops(device: torch.device, precision: str) -> float:
    """Of one device, a second: as published for a GPU that is known, else as measured on square matrices."""
    if device.type == "cuda" and (known := published(device_name(device), precision)):
        return known
    return measured(device, precision)


def published(name: str, precision: str) -> float | None:
    for part, (half, single) in PUBLISHED.items():
        if part in name:
            return single if precision == "fp32" else half
    return None


@functools.cache  # once a process
def measured(device: torch.device, precision: str) -> float:
    """The best rate of several products, with the threads that training has."""
    size = 4096 if device.type == "cuda" else 512
    a = torch.ones(size, size, device=device, dtype=PRECISIONS[precision])
    seconds = [product_s(a) for _ in range(2)]  # the first ones choose a kernel, and wake threads
    while sum(seconds) < MEASURED_FOR_S:
        seconds.append(product_s(a))
    return 2 * size**3 / min(seconds)


def product_s(a: torch.Tensor) -> float:
    started = time.perf_counter()
    (a @ a)[0, 0].item()  # waits for the device
    return time.perf_counter() - started
