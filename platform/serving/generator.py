"""The model that answers now, and how another takes its place."""

import torch

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
            model.network.compile()
        for sides in model.sizes:
            for rows in self.config.buckets or (1,):
                warm_up(model, rows, sides)
        before, self.served = self.served, ServedModel(model, card, self.config, self.metrics)
        self.metrics.rollouts.inc()
        if before:
            before.retire()


@torch.inference_mode()
def warm_up(model: LoadedModel, rows: int, sides: Sides) -> None:
    """Makes so many images of a size, in two steps. Raises ValueError where they are none."""
    noise = model.noise(range(rows), sides)
    nothing, settings = model.unconditional(rows), SamplerConfig(steps=2, precision=model.sampler.precision)
    images = sample(model.network, noise, nothing, settings)
    if not images.isfinite().all():
        raise ValueError(f"{model.checkpoint}: the images that it makes are no numbers; another checkpoint would do")
