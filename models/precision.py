"""In which number type the matrices are multiplied: float32, or bfloat16 by PyTorch's autocast."""

import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """What a network runs in for one of `PRECISIONS`; float32 is left as it is."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32")
