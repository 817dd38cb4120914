"""Measures a checkpoint: draws images from it, compares them with the data set, writes a row for each metric.

Nothing is measured twice. Rows are found again by the hash of everything they depend on, features by the same hash in
the store: `artifacts/<run_id>/features/` for drawn images, `artifacts/references/` for a data set's own.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.models.samplers import SamplerConfig
from unlatent.platform import metrics, tables
from unlatent.platform.classifier import classifier_name, fit_classifier, spread
from unlatent.platform.conditions import captioned
from unlatent.platform.datasets import Dataset
from unlatent.platform.devices import device_name
from unlatent.platform.features import Extractor, ImageStatistics, measure, pack, unpack
from unlatent.platform.generation import LoadedModel, generate
from unlatent.platform.image_split import ImageSplit
from unlatent.platform.inception import open_inception
from unlatent.platform.prompts import Prompt
from unlatent.platform.store import Store

PROTOCOL = 1  # changes when the same images would give other numbers
EXTRACTORS = ("classifier", "inception")

OnImages = Callable[[int, int], None]  # images drawn so far, of how many


@dataclass(kw_only=True)
class EvaluationConfig:
    samples: int = 1000  # images drawn; numbers from different counts are not comparable
    seed: int = 0
    weights: str = "ema"  # or raw, or another average that the run keeps, as ema-0.999 or power-0.05
    extractor: str = "classifier"  # the data set's own, or inception
    inception_file: str | None = None  # None: the one in the cache folder
    download: bool = False  # whether Inception may be downloaded into that folder
    minimum_accuracy: float = 0.9  # of the classifier on held-out images; below it, it is no measure
    reference_images: int = 50_000  # at most, evenly from the training split
    batch_size: int = 250  # images drawn at once
    compile: bool | None = None  # the network that draws, as one graph; None: on a GPU

    def __post_init__(self) -> None:
        if self.extractor not in EXTRACTORS:
            raise ValueError(f"evaluation.extractor={self.extractor!r} is not one of {', '.join(EXTRACTORS)}")
        if self.weights not in ("ema", "raw") and not self.weights.startswith(("ema-", "power-")):
            raise ValueError(f"evaluation.weights={self.weights!r} is not one of ema, raw, ema-<decay>, power-<width>")
        for name in ("samples", "reference_images", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"evaluation.{name}={getattr(self, name)} is below 1")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"evaluation.seed={self.seed} is not between 0 and {(1 << 32) - 1}")
        if not 0 <= self.minimum_accuracy <= 1:
            raise ValueError(f"evaluation.minimum_accuracy={self.minimum_accuracy} is not between 0 and 1")
        if self.inception_file:
            self.inception_file = str(Path(self.inception_file).expanduser().absolute())


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured, and how. Its identity is the hash of everything that the numbers depend on."""

    store: Store
    model: LoadedModel
    dataset: Dataset
    config: EvaluationConfig
    sampler: SamplerConfig
    extractor: Extractor

    @property
    def depends_on(self) -> dict[str, Any]:
        """Columns of `evaluations`."""
        return {
            **drawn_how(self.model, self.sampler),
            "samples": self.config.samples,
            "seed": self.config.seed,
            "feature_extractor": self.extractor.name,
            "reference": self.reference_id("train"),
        }

    @property
    def id(self) -> str:
        return short_hash({"protocol": PROTOCOL, **self.depends_on})

    @property
    def drawn_path(self) -> str:
        return f"artifacts/{self.model.run_id}/features/{self.id}.npz"

    def reference_id(self, split: str) -> str:
        """Hash of what reference statistics depend on: images and weights, not the machine that computed them."""
        images = len(self.reference_indices(split))
        parts = {"dataset": self.dataset.hash, "split": split, "images": images}
        return short_hash({**parts, "extractor": self.extractor.name, "weights": self.extractor.hash})

    def reference_indices(self, split: str) -> NDArray[np.int64]:
        return spread(len(split_of(self.dataset, split)), self.config.reference_images)


@dataclass(kw_only=True)
class Drawn:
    """Images drawn from a checkpoint, as what is kept of them."""

    statistics: ImageStatistics
    labels: NDArray[np.int64]  # asked for
    seconds: float
    device: str


def evaluate_checkpoint(
    store: Store,
    model: LoadedModel,
    dataset: Dataset,
    config: EvaluationConfig,
    sampler: SamplerConfig,
    on_images: OnImages | None = None,
) -> list[dict[str, Any]]:
    """The rows of `evaluations` for a checkpoint: those in the table already, or new ones.

    Raises ValueError if the numbers would mean nothing: another data set's classes, too few samples, a bad classifier.
    """
    started = time.monotonic()
    require_fit(model, dataset)
    extractor = prepare_extractor(store, dataset, config)
    evaluation = Evaluation(
        store=store, model=model, dataset=dataset, config=config, sampler=sampler, extractor=extractor
    )
    if rows := recorded(store, model.run_id, evaluation.id):
        return rows

    reference = reference_statistics(evaluation, "train")
    require_samples(config.samples, len(reference.features), reference.features.shape[1])
    drawn = load_drawn(evaluation) or draw_and_save(evaluation, on_images)
    shared = {
        **evaluation.depends_on,
        "evaluation_id": evaluation.id,
        "extractor_accuracy": extractor.accuracy,
        "dataset": dataset.name,
        "dataset_hash": dataset.hash,
        "image_size": model.image_size,
        "network_evaluations": float(sampler.network_evaluations()),
        "negative_prompt": None,  # only images of suites have one
        "device": drawn.device,
    }
    values = compare(evaluation, reference, drawn)
    ended = {"duration_s": time.monotonic() - started, "evaluated_at": datetime.now(UTC)}
    rows = [{**shared, **ended, "metric": metric, "value": value} for metric, value in values.items()]
    tables.append(store, "evaluations", rows, name=f"{model.run_id}.{evaluation.id}")
    return rows


def drawn_how(model: LoadedModel, sampler: SamplerConfig) -> dict[str, Any]:
    """Columns of `evaluations` that tell the checkpoint and the sampler."""
    numbers = ("guidance", "guidance_low", "guidance_high", "shift")
    return {
        **checkpoint_columns(model),
        "sampler": sampler.name,
        "steps": sampler.steps,
        **{name: float(getattr(sampler, name)) for name in numbers},  # 2 and 2.0 are one setting
        "precision": sampler.precision,
    }


def checkpoint_columns(model: LoadedModel) -> dict[str, Any]:
    """What tells a checkpoint and its weights, in every table of what was drawn from one."""
    return {
        "run_id": model.run_id,
        "checkpoint": model.checkpoint,
        "checkpoint_hash": model.checkpoint_hash,
        "weights": model.weights,
        "images_seen": model.images_seen,
    }


def require_measurable(store: Store, dataset: Dataset, config: EvaluationConfig, asked: list[str]) -> None:
    """Raises ValueError, before anything is trained, where no checkpoint could be measured for what is asked."""
    if config.extractor == "inception" and "class_agreement" in asked:
        raise ValueError("class_agreement is told by a classifier, and evaluation.extractor=inception has none")
    extractor = prepare_extractor(store, dataset, config)
    images = dataset.train.read([0])
    features, _ = extractor.network(images)
    require_samples(config.samples, min(len(dataset.train), config.reference_images), features.shape[1])


def require_fit(model: LoadedModel, dataset: Dataset) -> None:
    if list(model.classes) != list(dataset.classes):
        raise ValueError(f"{model.checkpoint} draws other classes than those of data set {dataset.name!r}")
    if (model.colours, model.image_size) != (dataset.channels, dataset.image_size):
        raise ValueError(
            f"{model.checkpoint} draws {model.colours} channels of {model.image_size} pixels a side, "
            f"data set {dataset.name!r} has {dataset.channels} of {dataset.image_size}"
        )


def require_samples(samples: int, references: int, width: int) -> None:
    """Up to as many images as features, the covariance has no full rank and FID measures the count."""
    if samples <= width:
        raise ValueError(f"evaluation.samples={samples} is too few for {width} features; {width + 1} or more would do")
    if references <= width:
        raise ValueError(f"{references} training images are too few a reference for {width} features")


def prepare_extractor(store: Store, dataset: Dataset, config: EvaluationConfig) -> Extractor:
    if config.extractor == "inception":
        return open_inception(config.inception_file, config.download)
    return fit_classifier(dataset, store, config.minimum_accuracy)


def extractor_name(config: EvaluationConfig, dataset: Dataset) -> str:
    """By whose features a config measures images of a data set, as `evaluations` names it."""
    return "inception" if config.extractor == "inception" else classifier_name(dataset)


def split_of(dataset: Dataset, split: str) -> ImageSplit:
    return {"train": dataset.train, "held_out": dataset.held_out}[split]


def short_hash(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def recorded(store: Store, run_id: str, evaluation_id: str) -> list[dict[str, Any]]:
    """The rows of an evaluation that is in the table already."""
    found = tables.read(store, "evaluations", ds.field("evaluation_id") == evaluation_id, run_id)
    rows = found.drop(columns="schema_version").to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def reference_statistics(evaluation: Evaluation, split: str) -> ImageStatistics:
    """Statistics of the data set's own images, computed once for each extractor."""
    store, path = evaluation.store, f"artifacts/references/{evaluation.reference_id(split)}.npz"
    if store.exists(path):
        return ImageStatistics(**unpack(store.read_bytes(path)))
    images, indices = split_of(evaluation.dataset, split), evaluation.reference_indices(split)
    batches = (images.read(indices[part]) for part in parts(len(indices), evaluation.config.batch_size))
    statistics = measure(evaluation.extractor, batches, device_of(evaluation.model))
    store.write_bytes(path, pack(asdict(statistics)))
    return statistics


def parts(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def device_of(model: LoadedModel) -> torch.device:
    return next(model.network.parameters()).device


def load_drawn(evaluation: Evaluation) -> Drawn | None:
    """What an evaluation left that ended between drawing and measuring."""
    if not evaluation.store.exists(evaluation.drawn_path):
        return None
    arrays = unpack(evaluation.store.read_bytes(evaluation.drawn_path))
    labels, seconds, device = (arrays.pop(name) for name in ("labels", "seconds", "device"))
    return Drawn(statistics=ImageStatistics(**arrays), labels=labels, seconds=float(seconds), device=str(device))


def draw_and_save(evaluation: Evaluation, on_images: OnImages | None) -> Drawn:
    """Image i depends on the seed and i alone."""
    device, compiled = device_of(evaluation.model), evaluation.config.compile
    if compiled or (compiled is None and device.type == "cuda"):
        evaluation.model.network.compile()
    prompts, labels = asked_for(evaluation)
    seconds: list[float] = []
    statistics = measure(evaluation.extractor, draw(evaluation, prompts, seconds, on_images), device)
    drawn = Drawn(statistics=statistics, labels=labels, seconds=sum(seconds), device=device_name(device))
    extra = {"labels": labels, "seconds": np.array(drawn.seconds), "device": np.array(drawn.device)}
    evaluation.store.write_bytes(evaluation.drawn_path, pack({**asdict(statistics), **extra}))
    return drawn


def asked_for(evaluation: Evaluation) -> tuple[list[Prompt], NDArray[np.int64]]:
    """What each image is to show, and the label that this has: each class in its turn, or the held-out captions."""
    dataset, numbers = evaluation.dataset, np.arange(evaluation.config.samples)
    if evaluation.model.encoder is None:
        labels = numbers % len(dataset.classes)
        return [int(label) for label in labels], labels
    split = captioned(dataset)
    indices = numbers % len(split)
    return list(split.files.captions(indices)), split.labels[indices]


def draw(
    evaluation: Evaluation, prompts: list[Prompt], seconds: list[float], on_images: OnImages | None
) -> Iterator[Tensor]:  # uint8 (B, C, H, W)
    """Batches of images. Adds what each took to `seconds`."""
    for part in parts(len(prompts), evaluation.config.batch_size):
        seeds = [image_seed(evaluation.config.seed, index) for index in range(part.start, part.stop)]
        started = time.monotonic()
        images = generate(evaluation.model, prompts[part], seeds, evaluation.sampler)
        seconds.append(time.monotonic() - started)
        if on_images is not None:
            on_images(part.stop, len(prompts))
        yield images


def image_seed(seed: int, index: int) -> int:
    """Hashed, so that neither another seed's images nor the noise of training come back here."""
    return int.from_bytes(hashlib.sha256(f"evaluation {seed} {index}".encode()).digest()[:8], "big") >> 1


def compare(evaluation: Evaluation, reference: ImageStatistics, drawn: Drawn) -> dict[str, float]:
    """Every metric by name; those that do not apply are left out."""
    real, samples = reference.features, drawn.statistics.features
    precision, recall = metrics.precision_recall(real, samples)
    values = {
        "fid": metrics.frechet_distance(real, samples),
        "kid": metrics.kernel_distance(real, samples, evaluation.config.seed),
        "precision": precision,
        "recall": recall,
        "nearest_neighbour": metrics.nearest_neighbour(real, samples),
        "seconds_per_image": drawn.seconds / len(samples),
    }
    if len(evaluation.dataset.held_out):  # what the distance is for real images that are no copies
        held_out = reference_statistics(evaluation, "held_out").features
        values["nearest_neighbour_held_out"] = metrics.nearest_neighbour(real, held_out)
    if len(drawn.statistics.predicted):
        values["class_agreement"] = metrics.class_agreement(drawn.statistics.predicted, drawn.labels)
    model = evaluation.model
    period = model.network.config.patch_size * model.space.factor
    if 1 < period < model.image_size:  # one pixel, or one patch, has no period
        power = reference.power, drawn.statistics.power
        values["patch_period_energy"] = metrics.patch_period_energy(*power, period)
    return {metric: value for metric, value in values.items() if not math.isnan(value)}
