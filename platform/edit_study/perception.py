"""Measures of what was kept that need a network of others: LPIPS of the background, and DINO structure distance.

Neither is measured unless its weights are named. What was measured is kept beside the edits in the store, by the hash
of the weights, so that they can be named later, and others after them, and nothing is edited again.

N pairs
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlatent.platform.edit_study.attempts import Attempt
from unlatent.platform.edit_study.config import EditStudyConfig
from unlatent.platform.features import pack, unpack
from unlatent.platform.lpips import Lpips, open_lpips
from unlatent.platform.scenes import EditPair
from unlatent.platform.store import Store
from unlatent.platform.structure import StructureEncoder, open_structure

LPIPS, STRUCTURE = "background_lpips", "structure_distance"  # columns of `edits`
AT_ONCE = 16  # images that a network looks at together

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Perception:
    """A measure, and the network that it is told by."""

    name: str  # of LPIPS and STRUCTURE
    weights: str  # the folder where the network lies, and what is to be known of it
    hash: str
    measure: Callable[[Sequence[EditPair], Tensor], Tensor]  # of some pairs' edits, uint8 (B, 3, H, W) -> (B,)


@dataclass(frozen=True, kw_only=True)
class Perceived:
    values: Values  # (N,)
    weights: str
    hash: str


def open_perceptions(study: EditStudyConfig, device: torch.device) -> list[Perception]:
    """Those whose weights are named. Raises ValueError, in one line, for weights that are not what they should be."""
    found = []
    if study.lpips.weights:
        network, told = open_lpips(study.lpips)
        measure = partial(background_lpips, network.to(device))
        unchecked = ", not held to be the published" if study.lpips.any_weights else ""
        found.append(Perception(name=LPIPS, weights=study.lpips.weights + unchecked, hash=told, measure=measure))
    if study.structure.encoder:
        encoder, told = open_structure(study.structure)
        measure = partial(structure_distance, encoder.to(device))
        found.append(Perception(name=STRUCTURE, weights=study.structure.encoder, hash=told, measure=measure))
    return found


def require_perceptions(study: EditStudyConfig) -> None:
    """Raises ValueError for weights that `open_perceptions` would refuse."""
    open_perceptions(study, torch.device("cpu"))


def background_lpips(network: Lpips, pairs: Sequence[EditPair], images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B,)
    """Mean of the map of LPIPS to the source over the true background.

    What it says of a pixel depends on much of the image around, of a small image on all of it. Where the objects are,
    both images are given the source's pixels, so that what was asked to change counts for nothing: 0 where the
    background is the same.
    """
    masks = torch.from_numpy(np.stack([pair.background_mask for pair in pairs]))  # (B, H, W)
    sources = sources_of(pairs)
    looked = network(sources, torch.where(masks[:, None], images, sources)).cpu()  # (B, H, W)
    return (looked * masks).sum(dim=(1, 2)) / masks.sum(dim=(1, 2))


def structure_distance(encoder: StructureEncoder, pairs: Sequence[EditPair], images: Tensor) -> Tensor:
    """Of whole images to their sources, the objects' place included: another shape is another structure."""
    return encoder(sources_of(pairs), images).cpu()


def sources_of(pairs: Sequence[EditPair]) -> Tensor:  # uint8 (B, 3, H, W)
    return torch.from_numpy(np.stack([pair.source for pair in pairs]))


def perceive(
    store: Store, attempt: Attempt, images: Tensor, perceptions: Sequence[Perception]
) -> Mapping[str, Perceived]:
    """By the measures' names: found in the store, or measured and kept there."""
    found = {}
    for each in perceptions:
        path = f"{attempt.path.removesuffix('.npz')}-{each.name}-{each.hash[:16]}.npz"
        if not store.exists(path):
            store.write_bytes(path, pack({"values": looked_at(each, attempt.pairs, images)}))
        values = unpack(store.read_bytes(path))["values"]
        found[each.name] = Perceived(values=values, weights=each.weights, hash=each.hash)
    return found


def looked_at(perception: Perception, pairs: Sequence[EditPair], images: Tensor) -> Values:  # (N,)
    parts = []
    for start in range(0, len(pairs), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        parts.append(perception.measure(pairs[some], images[some]))
    return torch.cat(parts).double().numpy()
