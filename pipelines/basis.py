"""All that decides what a step leaves behind. Its hash is the step's key; two of them say what has changed between."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from unlatent.platform.runs import flatten

NAMED = 3  # changed settings that a reason names


@dataclass(frozen=True)
class Basis:
    action: str
    config: dict[str, Any]  # flat: the settings that the action reads
    sweep: dict[str, Any]  # flat: the definition, of a step that runs one
    data: str | None  # hash of the listing of its images' files
    inputs: dict[str, str]  # of each step that it needs: the hash of its outputs
    code: str

    @property
    def key(self) -> str:
        return content_hash(asdict(self))


def content_hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def share(config: dict[str, Any], reads: tuple[str, ...]) -> dict[str, Any]:
    """Of a config, the settings that are among `reads` or below one of them, flat."""
    flat = flatten(config)
    return {key: value for key, value in flat.items() if any(f"{key}.".startswith(f"{part}.") for part in reads)}


def changes(before: Basis, now: Basis) -> str | None:
    """What is another than before, in words; None for the same."""
    if before.action != now.action:  # which reads other settings
        found = [f"it runs {now.action}, and ran {before.action}"]
    else:
        found = [*changed_settings(before.config, now.config), *changed_settings(before.sweep, now.sweep, "sweep.")]
    if len(found) > NAMED:
        found = [*found[:NAMED], f"{len(found) - NAMED} more settings have changed"]
    found += changed_inputs(before.inputs, now.inputs)
    if before.data != now.data:
        found.append("the files of the data set have changed")
    if before.code != now.code:
        found.append("the code has changed")
    return "; ".join(found) or None


def changed_settings(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield f"{prefix}{key}={now.get(key)}, was {before.get(key)}"


def changed_inputs(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    for need in sorted(before.keys() | now.keys()):
        if need not in before:
            yield f"it needs {need} now"
        elif need not in now:
            yield f"it needs {need} no longer"
        elif before[need] != now[need]:
            yield f"what {need} hands on has changed"
