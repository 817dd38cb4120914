"""Edits the same pairs with several models, under several settings, free and with masks, and measures all of it.

Nothing is edited or measured twice: rows of `edits` are found again by the hash of everything they depend on, images
and what was measured of them by the same hash in the store, `artifacts/<run_id>/edits/`. So what was cut off goes on.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.models.editing import EditConfig
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import tables
from unlatent.platform.devices import device_name
from unlatent.platform.edit_study.attempts import (
    EDITED,
    RECONSTRUCTED,
    Attempt,
    OnImages,
    Subject,
    require_editable,
)
from unlatent.platform.edit_study.config import EditStudyConfig, settings_to_try
from unlatent.platform.edit_study.findings import Findings, find
from unlatent.platform.edit_study.measuring import Measured, letters_right, measure, succeeded
from unlatent.platform.edit_study.perception import LPIPS, STRUCTURE, Perceived, Perception, open_perceptions, perceive
from unlatent.platform.features import Arrays, pack, unpack
from unlatent.platform.fidelity import similarity_function
from unlatent.platform.provenance import now, provenance
from unlatent.platform.scenes import EditPair
from unlatent.platform.store import Store

MEASURES = {item.name for item in fields(Measured)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What came of an attempt."""

    attempt: Attempt
    images: Tensor  # uint8 (N, 3, S, S)
    measured: Measured
    seconds: float  # of all edits
    device: str
    perceived: Mapping[str, Perceived] = field(default_factory=dict)  # by the measures' names

    @property
    def name(self) -> str:
        return self.attempt.subject.name

    @property
    def succeeded(self) -> NDArray[np.bool_]:  # (N,)
        return succeeded(self.attempt.pairs, self.measured)

    @cached_property
    def findings(self) -> Findings:
        return find(self.attempt.pairs, self.measured, self.perceived, self.attempt.seed)


def run_study(
    store: Store,
    subjects: Sequence[Subject],
    pairs: Sequence[EditPair],
    edit: EditConfig,
    study: EditStudyConfig,
    sampler: SamplerConfig | None = None,
    on_images: OnImages = lambda done, total: None,
) -> list[Outcome]:
    """Edits the first pairs with every model, in every way, and keeps a row of `edits` of each attempt.

    The sampler is that of each model's own config unless given. `on_images` is told how many edits are done, of how
    many. Raises ValueError, before anything is edited, for settings, models and pairs that do not fit together, and
    where scikit-image is missing, by which they are measured.
    """
    similarity_function()
    settings, pairs = settings_to_try(edit, study), pairs[: study.pairs]
    if len({subject.name for subject in subjects}) < len(subjects):
        raise ValueError(f"subjects are called {[subject.name for subject in subjects]}; names of their own would do")
    for subject in subjects:
        require_editable(subject.model, pairs)
    perceptions = open_perceptions(study, subjects[0].model.device) if subjects else []
    attempts = [each for subject in subjects for each in attempts_of(subject, pairs, settings, study, sampler)]
    total = len(attempts) * len(pairs)

    outcomes = []
    for number, attempt in enumerate(attempts):
        tell = partial(tell_all, on_images, number * len(pairs), total)
        outcomes.append(find_or_make(store, attempt, perceptions, study.max_rows, tell))
        tell(len(pairs), len(pairs))
    return outcomes


def tell_all(on_images: OnImages, before: int, total: int, done: int, of: int) -> None:
    """Tells how many of all are done, where one attempt says how many of its own are."""
    on_images(before + done, total)


def attempts_of(
    subject: Subject,
    pairs: Sequence[EditPair],
    settings: Sequence[EditConfig],
    study: EditStudyConfig,
    sampler: SamplerConfig | None,
) -> Iterator[Attempt]:
    attempt = partial(Attempt, subject=subject, pairs=pairs, sampler=sampler or subject.model.sampler, seed=study.seed)
    if subject.has_autoencoder:
        yield attempt(way=RECONSTRUCTED, edit=None)
    for way, edit in product(EDITED, settings):
        yield attempt(way=way, edit=edit)


def find_or_make(
    store: Store, attempt: Attempt, perceptions: Sequence[Perception], max_rows: int, on_images: OnImages
) -> Outcome:
    outcome = read_outcome(store, attempt) or make_outcome(store, attempt, max_rows, on_images)
    outcome = replace(outcome, perceived=perceive(store, attempt, outcome.images, perceptions))
    record(store, outcome)
    return outcome


def record(store: Store, outcome: Outcome) -> None:
    """Keeps its row of `edits`, in the place of one that knows less, or was told something by other weights.

    What that row knows of measures that are not taken now stays.
    """
    attempt, run_id = outcome.attempt, outcome.attempt.subject.model.run_id
    of_attempt = ds.field("edit_id") == attempt.id
    found = tables.read(store, "edits", of_attempt, run_id)
    known = {} if found.empty else {str(name): value for name, value in found.iloc[0].items()}
    if known and all(known[f"{name}_by"] == each.hash for name, each in outcome.perceived.items()):
        return
    row = row_of(outcome)
    for name, value in known.items():
        if name.startswith((LPIPS, STRUCTURE)) and row[name] is None and pd.notna(value):
            row[name] = value
    tables.remove_rows(store, "edits", run_id, of_attempt)
    tables.append(store, "edits", [row], f"{run_id}.{attempt.id}")


def read_outcome(store: Store, attempt: Attempt) -> Outcome | None:
    """What the same attempt left before, where it was measured."""
    kept = read_kept(store, attempt)
    return outcome_of(attempt, kept) if kept.keys() >= MEASURES else None


def make_outcome(store: Store, attempt: Attempt, max_rows: int, on_images: OnImages) -> Outcome:
    """Images are kept before they are measured, so that a measure that fails has none of them made again."""
    kept = read_kept(store, attempt) or edit_pairs(store, attempt, max_rows, on_images)
    measured = measure(attempt.pairs, torch.from_numpy(kept["images"]))
    return outcome_of(attempt, keep(store, attempt, {**kept, **asdict(measured)}))


def edit_pairs(store: Store, attempt: Attempt, max_rows: int, on_images: OnImages) -> Arrays:
    """Keeps the images of every way that come of it."""
    started = time.monotonic()
    found = attempt.carried_out(max_rows, on_images)
    seconds, device = time.monotonic() - started, device_name(attempt.subject.model.device)
    for way, images in found.items():
        also = replace(attempt, way=way)
        if not store.exists(also.path):
            keep(store, also, {"images": images.numpy(), "seconds": np.array(seconds), "device": np.array(device)})
    return read_kept(store, attempt)


def read_kept(store: Store, attempt: Attempt) -> Arrays:
    """Images and what was measured of them, as far as the same attempt came before."""
    return unpack(store.read_bytes(attempt.path)) if store.exists(attempt.path) else {}


def keep(store: Store, attempt: Attempt, arrays: Arrays) -> Arrays:
    store.write_bytes(attempt.path, pack(arrays))
    return arrays


def outcome_of(attempt: Attempt, kept: Arrays) -> Outcome:
    return Outcome(
        attempt=attempt,
        images=torch.from_numpy(kept["images"]),
        measured=Measured(**{name: kept[name] for name in MEASURES}),
        seconds=float(kept["seconds"]),
        device=str(kept["device"]),
    )


def row_of(outcome: Outcome) -> dict[str, Any]:
    """Of `edits`."""
    attempt = outcome.attempt
    return {
        "edit_id": attempt.id,
        **attempt.depends_on,
        **outcome.findings.columns(),
        **perceived_by(outcome),
        "source_legibility": source_legibility(attempt.pairs),
        "seconds_per_image": outcome.seconds / len(attempt.pairs),
        "device": outcome.device,
        **provenance(),
        "measured_at": now(),
    }


def perceived_by(outcome: Outcome) -> dict[str, str | None]:
    """Columns that tell the weights of what was measured by networks of others; null where it was not."""
    return {f"{name}_by": each.hash if (each := outcome.perceived.get(name)) else None for name in (LPIPS, STRUCTURE)}


def source_legibility(pairs: Sequence[EditPair]) -> float:
    """Share of the signs' letters that are read right in the sources themselves: an upper bound for edits."""
    return sum(letters_right(pair, pair.source) for pair in pairs) / sum(len(pair.line.text) for pair in pairs)
