"""How far work has come: written into the store by who does it, read from there by who shows it."""

import contextvars
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import TracebackType

from unlatent.platform.store import Store


@dataclass(frozen=True)
class Progress:
    """The state of a training run, as of its last logged step."""

    images_seen: int
    total_images: int
    loss: float
    images_per_s: float
    grad_norm: float
    data_wait_share: float
    mfu: float
    memory_bytes: int
    at: float = 0.0  # seconds since 1970
    warnings: list[str] = field(default_factory=list)  # lines of what fails beside the training

    @property
    def seconds_left(self) -> float:
        return (self.total_images - self.images_seen) / self.images_per_s


def path(run_id: str) -> str:
    return f"artifacts/{run_id}/progress.json"


def publish(store: Store, run_id: str, progress: Progress) -> None:
    store.write_bytes(path(run_id), json.dumps(asdict(progress)).encode())


def latest(store: Store, run_id: str) -> Progress | None:
    try:
        return Progress(**json.loads(store.read_bytes(path(run_id))))
    except (OSError, ValueError, TypeError):  # none yet, not ours, or out of reach: it is only for show
        return None


class Every:
    """Calls a function every so often from a thread of its own, and once more at the end."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self.seconds, self.call = seconds, call
        self.ended = threading.Event()
        within = contextvars.copy_context()  # what it says is said as by who has started it
        self.thread = threading.Thread(target=within.run, args=[self.run], daemon=True)

    def run(self) -> None:
        while not self.ended.wait(self.seconds):
            self.call()

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.thread.join()
        if kind is None:
            self.call()


def duration(seconds: float) -> str:
    """`75` as `1:15`, `3700` as `1:01:40`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
