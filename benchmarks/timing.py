"""How long something takes, beside others that take their turns with it."""

import time
from collections.abc import Callable, Mapping
from statistics import mean, median
from typing import Generic, NamedTuple, TypeVar

import torch
from torch._dynamo.utils import counters

Measured = TypeVar("Measured")


class Spread(NamedTuple):
    """Of one measure, over all turns."""

    median: float
    lowest: float
    highest: float


def spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


class Turns(NamedTuple, Generic[Measured]):
    found: list[Measured]  # one a round
    graphs: int  # compiled in the meantime


def interleaved(turns: Mapping[str, Callable[[], Measured]], rounds: int) -> dict[str, Turns[Measured]]:
    """What each turn says, in every round. All take turns, so that a machine that slows down slows all of them."""
    found: dict[str, list[Measured]] = {name: [] for name in turns}
    graphs = dict.fromkeys(turns, 0)
    for _ in range(rounds):
        for name, turn in turns.items():
            before = graphs_compiled()
            found[name].append(turn())
            graphs[name] += graphs_compiled() - before
    return {name: Turns(found[name], graphs[name]) for name in turns}


class StepTime(NamedTuple):
    """Seconds a step, mean of one turn."""

    whole: float
    forward_backward: float


def time_steps(step: Callable[[Callable[[], None]], object], count: int, device: torch.device) -> StepTime:
    """Calls `step` once untimed, after another's turn, then `count` times. It calls what it gets after its backward.

    The whole is the time until the device has done everything; where one is asked for its share, the device's own
    clock tells it, and nothing has to wait.
    """
    step(lambda: None)
    clock: DeviceClock | HostClock = DeviceClock() if device.type == "cuda" else HostClock()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(count):
        clock.tick()
        step(clock.tick)
    synchronize(device)
    whole = (time.perf_counter() - start) / count
    return StepTime(whole, mean(clock.seconds_between_pairs()))


def time_once(call: Callable[[], object], device: torch.device) -> float:
    """Seconds."""
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


class HostClock:
    """Moments two by two: a beginning, an end."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def tick(self) -> None:
        self.moments.append(time.perf_counter())

    def seconds_between_pairs(self) -> list[float]:
        return [end - begin for begin, end in zip(self.moments[::2], self.moments[1::2], strict=True)]


class DeviceClock:
    """The same as the GPU gets to them. Read it once the GPU is done."""

    def __init__(self) -> None:
        self.moments: list[torch.cuda.Event] = []

    def tick(self) -> None:
        moment = torch.cuda.Event(enable_timing=True)
        moment.record()
        self.moments.append(moment)

    def seconds_between_pairs(self) -> list[float]:
        pairs = zip(self.moments[::2], self.moments[1::2], strict=True)
        return [begin.elapsed_time(end) / 1000 for begin, end in pairs]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of several products of two square matrices: as much as a network could hope for."""
    side, times = (8192, 20) if device.type == "cuda" else (2048, 8)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    left @ right
    return 2 * side**3 / min(time_once(lambda: left @ right, device) for _ in range(times))


def graphs_compiled() -> int:
    """So far in this process, by torch.compile."""
    return counters["stats"]["unique_graphs"]
