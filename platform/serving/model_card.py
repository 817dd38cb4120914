"""What /v1/models says about the model that answers."""

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import Any

import pyarrow.dataset as ds

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.cost import forward_gflops, parameters
from unlatent.models.editing import EditConfig
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import tables
from unlatent.platform.buckets import Sides
from unlatent.platform.generation import LoadedModel
from unlatent.platform.image_sizes import in_words
from unlatent.platform.prompts import Prompts
from unlatent.platform.store import Store

METRIC_COLUMNS = [
    "metric", "value", "samples", "sampler", "steps", "guidance", "guidance_low", "guidance_high", "negative_prompt",
    "shift", "precision", "seed", "feature_extractor", "reference", "dataset", "evaluated_at",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    run_id: str
    checkpoint: str
    checkpoint_hash: str
    weights: str
    images_seen: int
    classes: list[str]
    network: PixelTransformerConfig
    sides: Sides  # height and width of an image, where a request leaves it open
    sizes: list[Sides]  # those that can be asked for
    colours: int  # channels of an image
    sampler: SamplerConfig  # for what a request leaves open
    edit: EditConfig  # the same of an edit
    metrics: list[dict[str, Any]]  # rows of `evaluations`, each with what its value depends on
    prompts: Prompts
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def id(self) -> str:
        return f"{self.run_id}-{self.checkpoint_hash[:8]}"

    @property
    def size(self) -> str:
        return in_words(self.sides)

    def patches(self, sides: Sides) -> int:
        """Of an image, which is a whole number of them."""
        return sides[0] * sides[1] * self.network.grid**2 // (self.sides[0] * self.sides[1])

    def to_json(self) -> dict[str, Any]:
        """OpenAI's fields of a model, then ours."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "unlatent",
            "run_id": self.run_id,
            "checkpoint": self.checkpoint,
            "checkpoint_hash": self.checkpoint_hash,
            "weights": self.weights,
            "images_seen": self.images_seen,
            "size": self.size,
            "sizes": [in_words(sides) for sides in self.sizes],
            "condition": self.network.condition,
            "classes": self.classes,
            "network": {**dataclasses.asdict(self.network), "window": self.network.window},
            "parameters": parameters(self.network),
            "forward_gflops": forward_gflops(self.network),
            "sampler": dataclasses.asdict(self.sampler),
            "edit": dataclasses.asdict(self.edit),
            "metrics": self.metrics,
        }


def model_card(model: LoadedModel, store: Store, edit: EditConfig | None = None) -> ModelCard:
    return ModelCard(
        run_id=model.run_id,
        checkpoint=model.checkpoint,
        checkpoint_hash=model.checkpoint_hash,
        weights=model.weights,
        images_seen=model.images_seen,
        classes=model.classes,
        network=model.network.config,
        sides=model.sides,
        sizes=model.sizes,
        colours=model.colours,
        sampler=model.sampler,
        edit=edit or EditConfig(),
        metrics=metrics_of(model, store),
        prompts=model.prompts,
    )


def metrics_of(model: LoadedModel, store: Store) -> list[dict[str, Any]]:
    """What was measured of these very weights, oldest first."""
    same = (ds.field("checkpoint_hash") == model.checkpoint_hash) & (ds.field("weights") == model.weights)
    rows = tables.read(store, "evaluations", same).sort_values("evaluated_at")[METRIC_COLUMNS]
    return json.loads(rows.to_json(orient="records", date_format="iso", double_precision=15))
