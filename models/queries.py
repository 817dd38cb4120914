"""What an image on its way asks the network, and how one network call answers many of them.

Each row of a call has a time and a condition of its own, so images at different steps share it.

B batch   C channels   H, W image
"""

from collections.abc import Callable, Generator, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unlatent.models.condition import Condition, Text, as_text, join_conditions, repeat_last
from unlatent.models.precision import autocast


class Query(NamedTuple):
    """Which way images go from here."""

    x: Tensor  # (B, C, H, W)
    t: float
    condition: Condition  # of the same batch


# Images on their way, from one question to the next: yields queries, is sent their velocities, returns the images.
Trajectory = Generator[list[Query], list[Tensor], Tensor]


def follow(network: nn.Module, trajectory: Trajectory, precision: str = "fp32") -> Tensor:
    """Goes the whole way with one trajectory. Returns what it comes to."""
    try:
        queries = next(trajectory)
        while True:
            queries = trajectory.send(answer(network, queries, precision))
    except StopIteration as end:
        return end.value


def answer(network: nn.Module, queries: Sequence[Query], precision: str) -> list[Tensor]:  # (B, C, H, W) for each query
    """The velocities, from one network call for all queries whose rows can be of one batch."""
    velocities: dict[int, Tensor] = {}
    for indices in calls(queries):
        velocities.update(zip(indices, call(network, [queries[index] for index in indices], precision), strict=True))
    return [velocities[index] for index in range(len(queries))]


def calls(queries: Sequence[Query]) -> list[list[int]]:
    """The numbers of the queries that each network call is to answer."""
    found: dict[Hashable, list[int]] = {}
    for number, query in enumerate(queries):
        found.setdefault(shapes(query), []).append(number)
    return list(found.values())


def shapes(query: Query) -> Hashable:
    """Equal for queries that can share a call: texts of two lengths cannot, for not every network masks padding."""
    condition = query.condition
    if isinstance(condition, Text) or condition.ndim > 1:
        return query.x.shape[1:], as_text(condition).tokens.shape[1:]
    return query.x.shape[1:], condition.shape[1:]


def call(
    network: nn.Module, queries: Sequence[Query], precision: str, rows_for: Callable[[int], int] = lambda rows: rows
) -> Sequence[Tensor]:  # (B, C, H, W) for each query
    """What the network says, each row at its own time.

    A call is padded to `rows_for` its rows, by the last: a compiled network is quickest with few batch sizes.
    """
    sizes = [len(query.x) for query in queries]
    x = torch.cat([query.x for query in queries])
    t = torch.tensor([query.t for query in queries for _ in query.x], dtype=x.dtype).to(x.device)
    condition = join_conditions([query.condition for query in queries])
    padding = rows_for(len(x)) - len(x)
    if padding > 0:
        x = torch.cat([x, x[-1:].expand(padding, -1, -1, -1)])
        t = torch.cat([t, t[-1:].expand(padding)])
        condition = repeat_last(condition, padding)
    with autocast(x.device, precision):
        return network(x, t, condition).to(x.dtype)[: sum(sizes)].split(sizes)
