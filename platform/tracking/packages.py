"""Which trackers there are, and the packages that they need."""

from collections.abc import Iterable
from importlib.util import find_spec

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


def require(trackers: Iterable[str]) -> None:
    """Raises ValueError for a tracker whose package is not installed."""
    for name in trackers:
        if find_spec(PACKAGES[name]) is None:
            raise ValueError(f"train.trackers: {name} is not installed; `pip install 'unlatent[{name}]'` brings it")
