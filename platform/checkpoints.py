"""Checkpoints: a folder each, whole or not there, verified by hash whenever one is read.

    checkpoints/<run_id>/<images seen>/model.safetensors   weights as trained
                                       ema.safetensors     their moving average; other averages by their names
                                       state.pt            optimizer, position (tensors and numbers only)
                                       config.yaml         the run's resolved config
                                       meta.json           format, run, classes, sha256 of each file

Weights never travel as pickles, and `state.pt` is read with `weights_only=True`.

Workers that hold a network together write a part each, with their stretch of the rows of every tensor:
`model.1-of-4.safetensors`, `state.1-of-4.pt`. Any number of workers reads them.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from unlatent.platform.crew import ALONE, Crew
from unlatent.platform.store import Store

FORMAT_VERSION = 2  # 1 had other layouts of attention, MLP and modulation
SUFFIX = ".safetensors"
NOTHING: Mapping[str, bytes] = {}

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint in a store."""

    path: str  # relative to the store
    run_id: str
    images_seen: int
    classes: tuple[str, ...]
    sha256: dict[str, str]  # file name -> hash of its content
    parts: int = 1  # that weights and state lie in
    space: str | None = None  # what decides the latents that its network models; None: pixels, or it is not said

    @property
    def kinds(self) -> list[str]:
        """The weights there are: raw, ema, …"""
        suffix = part_name(SUFFIX, 0, self.parts)
        files = [name.removesuffix(suffix) for name in self.sha256 if name.endswith(suffix)]
        return ["raw" if name == "model" else name for name in files]

    @property
    def hash(self) -> str:
        """Identity of what it generates: hash of all its weights and the config."""
        names = [*(name for name in self.sha256 if name.endswith(SUFFIX)), "config.yaml"]
        return hashlib.sha256("\n".join(f"{name}:{self.sha256[name]}" for name in names).encode()).hexdigest()[:16]


def file_of(kind: str) -> str:
    """Of one set of weights."""
    return f"{'model' if kind == 'raw' else kind}{SUFFIX}"


def part_name(name: str, number: int, count: int) -> str:
    """Of one of the files that make up one: `model.safetensors` is `model.1-of-4.safetensors`, and three more."""
    stem, dot, suffix = name.rpartition(".")
    return name if count == 1 else f"{stem}.{number + 1}-of-{count}{dot}{suffix}"


def folder(run_id: str) -> str:
    return f"checkpoints/{run_id}"


def path_of(run_id: str, images_seen: int) -> str:
    """Where a run's checkpoint is, or will be."""
    return f"{folder(run_id)}/{images_seen:012d}"


def position(path: str | None) -> int:
    """The images seen by the checkpoint at a path; none at no path."""
    return int(path.rpartition("/")[2]) if path else 0


def snapshot_folder(run_id: str) -> str:
    return f"checkpoints/{run_id}.snapshots"


def average_folder(run_id: str) -> str:
    return f"checkpoints/{run_id}.averages"


def save(
    store: Store,
    run_id: str,
    images_seen: int,
    weights: dict[str, Weights],  # by kind: "raw", "ema", …
    state: dict[str, Any],
    config: str,
    classes: list[str],
    crew: Crew = ALONE,
    space: str | None = None,
) -> Checkpoint:
    """Writes a checkpoint; one of the same position is replaced. Each of a crew gives its part of weights and state."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    tensors = {"state.pt": buffer.getvalue()}
    meta = {"run_id": run_id, "images_seen": images_seen, "classes": classes, **({"space": space} if space else {})}
    path = path_of(run_id, images_seen)
    return write(store, path, weights, meta, {"config.yaml": config.encode()}, tensors, crew)


def save_snapshots(
    store: Store, run_id: str, images_seen: int, weights: dict[str, Weights], crew: Crew = ALONE
) -> Checkpoint:
    """Writes averages alone, to a place that is never pruned; those of the same position are replaced."""
    meta = {"run_id": run_id, "images_seen": images_seen, "classes": []}
    return write(store, f"{snapshot_folder(run_id)}/{images_seen:012d}", weights, meta, crew=crew)


def write(
    store: Store,
    path: str,
    weights: dict[str, Weights],
    meta: Mapping[str, Any],
    texts: Mapping[str, bytes] = NOTHING,  # files that are the same for all of a crew
    tensors: Mapping[str, bytes] = NOTHING,  # files that each of them has a part of, besides the weights
    crew: Crew = ALONE,
) -> Checkpoint:
    """Writes weights and other files as one folder, with a `meta.json` that tells the hash of each."""
    parts = {file_of(kind): save_safetensors(on_cpu(each)) for kind, each in weights.items()} | dict(tensors)
    contents = {part_name(name, crew.rank, crew.world): data for name, data in parts.items()}
    contents |= texts if crew.leads else {}
    said = {"format_version": FORMAT_VERSION, **meta, "parts": crew.world}
    with contextlib.ExitStack() as held:
        begun = crew.led(lambda: held.enter_context(store.new_folder(path)))
        hashes = crew.each(lambda: write_hashed(store, begun, contents))
        said["sha256"] = {name: sha256 for each in hashes for name, sha256 in each.items()}
        if crew.leads:
            store.write_bytes(f"{begun}/meta.json", json.dumps(said, indent=2).encode())
    return checkpoint_of(path, said)


def write_hashed(store: Store, folder: str, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Writes files, and returns the hash of each."""
    for name, data in contents.items():
        store.write_bytes(f"{folder}/{name}", data)
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


def checkpoint_of(path: str, meta: Mapping[str, Any]) -> Checkpoint:
    classes, parts = tuple(meta["classes"]), meta.get("parts", 1)
    return Checkpoint(path, meta["run_id"], meta["images_seen"], classes, meta["sha256"], parts, meta.get("space"))


def on_cpu(weights: Weights) -> Weights:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}


def find(store: Store, path: str) -> Checkpoint:
    """The checkpoint at a path.

    Raises ValueError where there is none, or one of another format version.
    """
    store.inside(path)  # else its refusal would pass for damage
    try:
        meta = json.loads(store.read_bytes(f"{path}/meta.json"))
    except FileNotFoundError:
        raise ValueError(f"checkpoint={store.uri(path)} is no checkpoint: it has no meta.json") from None
    except ValueError:
        raise ValueError(f"{store.uri(path)} is damaged: meta.json is not what was saved") from None
    if not isinstance(meta, dict) or meta.keys() < {"format_version", "run_id", "images_seen", "classes", "sha256"}:
        raise ValueError(f"{store.uri(path)} is damaged: meta.json is not what was saved")
    if meta["format_version"] != FORMAT_VERSION:
        found = f"format_version={meta['format_version']}"
        raise ValueError(f"{store.uri(path)}: {found} is not the one this release reads, {FORMAT_VERSION}")
    return checkpoint_of(path, meta)


def paths_of(store: Store, run_id: str) -> list[str]:
    """Where a run's checkpoints are, oldest first."""
    return whole_in(store, folder(run_id))


def whole_in(store: Store, path: str) -> list[str]:
    paths = [f"{path}/{name}" for name in store.list(path)]
    return [each for each in paths if store.exists(f"{each}/meta.json")]


def all_of(store: Store, run_id: str) -> list[Checkpoint]:
    """A run's checkpoints, oldest first."""
    return [find(store, path) for path in paths_of(store, run_id)]


def snapshots_of(store: Store, run_id: str) -> list[Checkpoint]:
    """A run's snapshots of its averages, oldest first."""
    return [find(store, path) for path in whole_in(store, snapshot_folder(run_id))]


def read(store: Store, checkpoint: Checkpoint, name: str) -> bytes:
    """One file of a checkpoint.

    Raises ValueError if its content is not what was saved.
    """
    try:
        data = store.read_bytes(f"{checkpoint.path}/{name}")
    except FileNotFoundError:
        raise ValueError(f"{store.uri(checkpoint.path)} is damaged: {name} is missing") from None
    if hashlib.sha256(data).hexdigest() != checkpoint.sha256[name]:
        raise ValueError(f"{store.uri(checkpoint.path)} is damaged: {name} is not what was saved")
    return data


def verify(store: Store, checkpoint: Checkpoint) -> None:
    """Raises ValueError naming the first file that is not what was saved."""
    for name in checkpoint.sha256:
        read(store, checkpoint, name)


def load_weights(store: Store, checkpoint: Checkpoint, kind: str) -> Weights:
    """The weights as trained (`raw`), their moving average (`ema`), or another average there is."""
    if kind not in checkpoint.kinds:
        where = store.uri(checkpoint.path)
        raise ValueError(f"weights={kind!r} is not one of those of {where}: {', '.join(checkpoint.kinds)}")
    parts = [load_part(store, checkpoint, kind, number) for number in range(checkpoint.parts)]
    return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def load_part(store: Store, checkpoint: Checkpoint, kind: str, number: int) -> Weights:
    """The stretch of every tensor's rows that one of the workers held who wrote the checkpoint."""
    return load_safetensors(read(store, checkpoint, part_name(file_of(kind), number, checkpoint.parts)))


def load_state(store: Store, checkpoint: Checkpoint, number: int = 0) -> dict[str, Any]:
    """What there is beside weights; of several parts, one."""
    name = part_name("state.pt", number, checkpoint.parts)
    return torch.load(io.BytesIO(read(store, checkpoint, name)), weights_only=True)


def newest(store: Store, run_id: str) -> tuple[Checkpoint | None, list[str]]:
    """A run's last checkpoint that is whole, and a line for each damaged one that was passed over."""
    passed_over = []
    for path in reversed(paths_of(store, run_id)):
        try:
            checkpoint = find(store, path)
            verify(store, checkpoint)
        except ValueError as error:
            passed_over.append(str(error))
        else:
            return checkpoint, passed_over
    return None, passed_over


def prune(store: Store, run_id: str, keep: int, newest: str, spared: Collection[str] = ()) -> None:
    """Deletes all but a run's last `keep` checkpoints, up to the one just written, and those at `spared` paths."""
    for path in [each for each in paths_of(store, run_id) if each <= newest][:-keep]:
        if path not in spared:
            store.delete(path)


def require_one(run_id: str, newest: Checkpoint | None, passed_over: list[str]) -> None:
    """Raises ValueError for a run that has checkpoints, none of which can be used: it must not start afresh."""
    if newest is None and passed_over:
        raise ValueError(
            f"run {run_id!r} has no checkpoint to go on from: {passed_over[0]}; "
            f"train.run=NAME would start another, or without {folder(run_id)} this one would start afresh"
        )
