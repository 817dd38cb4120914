"""The model that answers now, and how another takes its place."""

from collections.abc import Iterator, Sequence

import torch

from unlatent.models.network import MOST_SIZES
from unlatent.models.samplers import SamplerConfig, sample
from unlatent.platform.buckets import Sides
from unlatent.platform.generation import LoadedModel
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.metrics import Metrics
from unlatent.platform.serving.model_card import ModelCard
from unlatent.platform.serving.served_model import ServedModel


class Generator:
    """One replica's. A request keeps the model that it began with, whatever takes its place meanwhile."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self.config, self.metrics = config, metrics
        self.served: ServedModel | None = None

    def serve(self, model: LoadedModel, card: ModelCard) -> None:
        """Answers with this model from now on.

        Raises ValueError for one that makes no image: then the one before goes on answering.
        """
        if self.config.compile:
            require_graphs(model)
            model.network.compile()
        for sides, rows in first_calls(model, self.config.buckets):
            warm_up(model, rows, sides)
        before, self.served = self.served, ServedModel(model, card, self.config, self.metrics)
        self.metrics.rollouts.inc()
        if before:
            before.retire()


def require_graphs(model: LoadedModel) -> None:
    if len(model.sizes) > MOST_SIZES:
        raise ValueError(
            f"{model.checkpoint} makes images of {len(model.sizes)} sizes, and a compiled network has graphs for "
            f"{MOST_SIZES}; serve.compile=false would do"
        )


def first_calls(model: LoadedModel, buckets: Sequence[int]) -> Iterator[tuple[Sides, int]]:
    """Sizes and rows of calls after which none is slow for being the first of its kind.

    Without buckets nothing is compiled, and one call tells whether the weights make images. A graph is for one size of
    images, and for any number of rows.
    """
    for rows in buckets or (1,):
        yield model.sides, rows
    for sides in model.sizes if buckets else ():
        if sides != model.sides:
            yield sides, buckets[0]


@torch.inference_mode()
def warm_up(model: LoadedModel, rows: int, sides: Sides) -> None:
    """Makes so many images of a size, in two steps. Raises ValueError where they are none."""
    noise = model.noise(range(rows), sides)
    nothing, settings = model.unconditional(rows), SamplerConfig(steps=2, precision=model.sampler.precision)
    images = sample(model.network, noise, nothing, settings)
    if not images.isfinite().all():
        raise ValueError(f"{model.checkpoint}: the images that it makes are no numbers; another checkpoint would do")
