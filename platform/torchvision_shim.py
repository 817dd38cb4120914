"""Lets clean-fid be imported where torchvision's compiled part cannot load.

That is so with a CPU build of torch beside the torchvision of the package index, which is built for CUDA. Importing
torchvision then fails on two operators that it describes but nobody declared; clean-fid needs neither.
"""

import importlib.util
import threading
from pathlib import Path

import torch

OPERATORS = ("nms", "qnms")
_lock = threading.Lock()
_declarations: list[torch.library.Library] = []  # an operator is gone once the library that declares it is


def declare_missing_operators() -> None:
    """Call before clean-fid is imported. Does nothing where torchvision is whole."""
    with _lock:
        if _declarations or compiled_part_loads():
            return
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in OPERATORS:
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}() -> ()")
        _declarations.append(library)


def compiled_part_loads() -> bool:
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return True  # not installed: the import of clean-fid says so better
    try:
        for path in Path(package.origin).parent.glob("_C*.so"):
            torch.ops.load_library(path)
    except OSError:
        return False
    return True
