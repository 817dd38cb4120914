"""Diffusion transformers on raw pixels: train, sweep, measure, deploy.

    import unlatent

    digits = unlatent.load("store/checkpoints/<run>/<images seen>")
    images = digits.generate(["3", "7"], seeds=[0, 1])
    runs = unlatent.table("runs", store="store")

Both names are resolved on first use, so that `import unlatent.models` needs PyTorch alone.
"""

from typing import Any

__all__ = ["load", "table"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from unlatent.platform.generation import load

        return load
    if name == "table":
        from unlatent.platform.tables import table

        return table
    raise AttributeError(f"module 'unlatent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
