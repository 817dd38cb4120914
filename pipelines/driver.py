"""The one process that runs a pipeline on a store."""

import contextlib
import json
import socket
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from unlatent.platform.progress import Every
from unlatent.platform.provenance import is_gone, process
from unlatent.platform.store import Store

BEAT_S = 5.0
SILENT_S = 30.0  # after which a driver on another host is taken to be gone
SETTLING_S = 2.0  # two that start at once on an object store: the later one's claim is the one that stays


@contextlib.contextmanager
def only_driver(store: Store, pipeline: str) -> Iterator[None]:
    """Keeps other drivers of the pipeline out while the block runs.

    A local store has a lock, which the system lets go when a process dies, however it does. An object store has none:
    there the driver tells every few seconds that it is alive.

    Raises ValueError, naming the process, where another one drives the pipeline.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(store.lock(f"{folder(pipeline)}/.driver.lock", wait=False))
        except BlockingIOError:
            raise refusal(pipeline, read(store, pipeline)) from None
        claim = {"driver": uuid.uuid4().hex, "host": socket.gethostname(), **process()}
        if not store.is_local:
            take_turns(store, pipeline, claim)
        held.callback(store.delete, path(pipeline))
        if not store.is_local:
            held.enter_context(Every(BEAT_S, lambda: tell(store, pipeline, claim)))
        tell(store, pipeline, claim)
        yield


def take_turns(store: Store, pipeline: str, claim: dict[str, Any]) -> None:
    other = read(store, pipeline)
    if other and is_alive(other):
        raise refusal(pipeline, other)
    tell(store, pipeline, claim)
    time.sleep(SETTLING_S)
    other = read(store, pipeline)
    if other and other["driver"] != claim["driver"]:
        raise refusal(pipeline, other)


def is_alive(claim: dict[str, Any]) -> bool:
    return not is_gone(claim) and time.time() - claim["at"] < SILENT_S


def tell(store: Store, pipeline: str, claim: dict[str, Any]) -> None:
    said = claim | {"at": time.time(), "process_started_at": claim["process_started_at"].isoformat()}
    store.write_bytes(path(pipeline), json.dumps(said).encode())


def read(store: Store, pipeline: str) -> dict[str, Any] | None:
    try:
        claim = json.loads(store.read_bytes(path(pipeline)))
        return claim | {"process_started_at": datetime.fromisoformat(claim["process_started_at"])}
    except (FileNotFoundError, ValueError, KeyError):
        return None


def refusal(pipeline: str, other: dict[str, Any] | None) -> ValueError:
    who = f"process {other['pid']} on {other['host']}" if other else "another process"
    return ValueError(f"pipeline {pipeline!r} is being run by {who}; wait for it, or end it")


def folder(pipeline: str) -> str:
    return f"artifacts/pipelines/{pipeline}"


def path(pipeline: str) -> str:
    return f"{folder(pipeline)}/driver.claim.json"
