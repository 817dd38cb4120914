"""The pairs edited by one model in one way: what that depends on, and how it is carried out.

Edits go through the engine that the endpoint runs.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlatent.models.editing import EditConfig
from unlatent.models.samplers import SamplerConfig
from unlatent.platform.data_order import mix
from unlatent.platform.evaluation import checkpoint_columns, short_hash
from unlatent.platform.generation import LoadedModel
from unlatent.platform.orders import Edit, EditTwice, carry_out
from unlatent.platform.prompts import Prompt
from unlatent.platform.scenes import CLASSES, EditPair

PROTOCOL = 1  # changes when the same edits would give other numbers
FREE, MASKED, DERIVED, RECONSTRUCTED = "free", "masked", "derived", "reconstructed"
EDITED = (FREE, MASKED, DERIVED)
STREAM = 2  # of seeds, which no other command draws from

OnImages = Callable[[int, int], None]  # images done so far, of how many


@dataclass(frozen=True)
class Subject:
    """A model under a name that says what its edits go through."""

    name: str
    model: LoadedModel

    @property
    def has_autoencoder(self) -> bool:
        return self.model.autoencoder is not None

    def reconstruct(self, images: Tensor) -> Tensor:  # uint8 (N, 3, S, S) -> uint8 (N, 3, S, S)
        """Encode, then decode, with nothing between the two."""
        space, device = self.model.space, self.model.device
        return space.decode(space.encode(images.to(device))).cpu()


@dataclass(frozen=True, kw_only=True, eq=False)
class Attempt:
    """All pairs, edited by one model in one way. An image depends on its pair, its number and the seed alone."""

    subject: Subject
    pairs: Sequence[EditPair]
    way: str  # free; masked, with the place of the objects; derived, with a mask from the edit; reconstructed, unedited
    edit: EditConfig | None  # None where nothing is edited
    sampler: SamplerConfig
    seed: int

    @cached_property
    def depends_on(self) -> dict[str, Any]:
        """Columns of `edits`."""
        model = self.subject.model
        return {
            **checkpoint_columns(model),
            "space": "pixels" if model.autoencoder is None else "latents",
            "autoencoder": model.autoencoder,
            "autoencoder_hash": model.space.identity,
            "way": self.way,
            **settings_columns(self.edit, self.sampler),
            "pairs": len(self.pairs),
            "pairs_hash": hash_of(self.pairs),
            "image_size": self.pairs[0].source.shape[-1],
            "seed": self.seed,
        }

    @property
    def id(self) -> str:
        said = {name: value for name, value in self.depends_on.items() if name != "autoencoder"}  # wherever it lies
        return short_hash({"protocol": PROTOCOL, **said})

    @property
    def path(self) -> str:
        """Of what is kept of it in the store."""
        return f"artifacts/{self.subject.model.run_id}/edits/{self.id}.npz"

    def carried_out(self, max_rows: int, on_images: OnImages) -> dict[str, Tensor]:  # uint8 (N, 3, S, S) each
        """The pairs' sources, as their target captions ask for; or through the autoencoder alone.

        By the way: free edits and those with a derived mask are the same, and come of the same calls of the network.
        """
        if self.edit is None:
            sources = torch.from_numpy(np.stack([pair.source for pair in self.pairs]))
            return {self.way: self.subject.reconstruct(sources)}
        orders = [self.order(number, self.edit) for number in range(len(self.pairs))]
        together = max(1, max_rows // orders[0].most_rows)
        edited: list[Tensor] = []
        for start in range(0, len(orders), together):
            edited += carry_out(self.subject.model, orders[start : start + together], max_rows)
            on_images(len(edited), len(orders))
        images = torch.stack(edited)
        return {MASKED: images} if self.way == MASKED else dict(zip((FREE, DERIVED), images.unbind(1), strict=True))

    def order(self, number: int, edit: EditConfig) -> Edit:
        pair, model = self.pairs[number], self.subject.model
        order = Edit if self.way == MASKED else EditTwice
        return order(
            image=torch.from_numpy(pair.source.copy()),
            source=prompt_of(model, pair.source_caption, pair.source_label),
            target=prompt_of(model, pair.target_caption, pair.target_label),
            seeds=[mix(self.seed, number, STREAM)],
            config=edit,
            sampler=self.sampler,
            mask=torch.from_numpy(~pair.background_mask)[None] if self.way == MASKED else None,
        )


def require_editable(model: LoadedModel, pairs: Sequence[EditPair]) -> None:
    """Raises ValueError for a model that was made for other images, or other words, than the pairs have."""
    size = pairs[0].source.shape[-1]
    if (model.colours, model.image_size) != (3, size):
        raise ValueError(
            f"{model.checkpoint} edits {model.colours} channels of {model.image_size} pixels a side, and the pairs "
            f"have 3 of {size}"
        )
    if model.encoder is None and list(model.classes) != CLASSES:
        raise ValueError(f"{model.checkpoint} knows other classes than scenes have, and no texts")
    for pair in pairs:
        prompt_of(model, pair.source_caption, pair.source_label)
        prompt_of(model, pair.target_caption, pair.target_label)


def prompt_of(model: LoadedModel, caption: str, label: int) -> Prompt:
    """What is said to the model: the whole caption; or, where it knows classes alone, the class."""
    return model.prompts.read(caption) if model.encoder else label


def settings_columns(edit: EditConfig | None, sampler: SamplerConfig) -> dict[str, Any]:
    """How the pairs were edited; nulls where they were not."""
    if edit is None:
        return dict.fromkeys(settings_columns(EditConfig(), sampler))
    return {
        "steps": edit.steps,
        "n_max": edit.n_max,
        "n_min": edit.n_min,
        "n_avg": edit.n_avg,
        "source_guidance": float(edit.source_guidance),  # 2 and 2.0 are one setting
        "target_guidance": float(edit.target_guidance),
        "sampler": sampler.name,
        "guidance_low": float(sampler.guidance_low),
        "guidance_high": float(sampler.guidance_high),
        "shift": float(sampler.shift),
        "precision": sampler.precision,
    }


def hash_of(pairs: Sequence[EditPair]) -> str:
    """Of everything about pairs that an edit or a measure of one depends on."""
    digest = hashlib.sha256()
    for pair in pairs:
        words = (pair.scene, pair.source_caption, pair.target_caption, pair.source_label, pair.target_label)
        digest.update(repr(words).encode())
        for array in (pair.source, pair.target, pair.background_mask, pair.source_object_mask, pair.target_object_mask):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]
