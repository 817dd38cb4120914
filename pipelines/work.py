"""What a step computes by the network: images, what one costs, and where."""

from dataclasses import dataclass, replace

from unlatent.models import cost
from unlatent.pipelines.definition import Step
from unlatent.pipelines.execution import Execution
from unlatent.platform import spaces
from unlatent.platform.buckets import Sides
from unlatent.platform.config import Config
from unlatent.platform.datasets import buckets_of
from unlatent.platform.placement import trial_need
from unlatent.platform.tuning.plan import planned_configs


@dataclass(frozen=True)
class Work:
    """Of a step: images, what one costs, and on how many devices of which kind at once."""

    kind: str  # training or drawing
    images: int
    gflops_each: float
    config: Config
    devices: int = 1
    on_gpu: bool = False

    @property
    def gflops(self) -> float:
        return self.images * self.gflops_each

    @property
    def sizes(self) -> list[Sides]:
        """Height and width of the images, or latents: those of buckets in training, else squares."""
        model, data = self.config.model, self.config.data
        buckets = buckets_of(data) if self.kind == "training" and model.autoencoder is None else []
        return buckets or [(model.image_size, model.image_size)]

    def gflops_of(self, sides: Sides) -> float:
        """As `gflops_each`, which is a square's, for another image."""
        count = cost.training_gflops if self.kind == "training" else cost.forward_gflops
        calls = 1 if self.kind == "training" else self.config.sampler.network_evaluations()
        return calls * count(self.config.model, area(sides))


def area(sides: Sides) -> int:
    return sides[0] * sides[1]


def work_of(execution: Execution, step: Step) -> list[Work]:
    """What a step computes by the network; of a sweep, trial by trial, as if none were stopped early."""
    config = execution.config_of(step)
    if step.run == "train":
        return [training(config, config.cluster.gpus_per_worker > 0)]
    if step.run == "train_on_latents" and config.model.autoencoder:  # else it waits for one
        model = spaces.fitted(config.model, spaces.LATENTS_OF, config.data.image_size)
        return [training(replace(config, model=model), config.cluster.gpus_per_worker > 0)]
    if step.run == "evaluate":
        return [drawing(config)]
    if step.run == "sweep" and step.sweep:
        trials = planned_configs(step.sweep, execution.overrides_of(step))
        return [training(trial, trial_need(trial.cluster).gpus > 0) for trial in trials]
    return []


def training(config: Config, on_gpu: bool) -> Work:
    gflops = cost.training_gflops(config.model)
    return Work("training", config.train.total_images, gflops, config, config.cluster.workers, on_gpu)


def drawing(config: Config) -> Work:
    gflops = config.sampler.network_evaluations() * cost.forward_gflops(config.model)
    return Work("drawing", config.evaluation.samples, gflops, config, on_gpu=config.cluster.gpus_per_worker > 0)
