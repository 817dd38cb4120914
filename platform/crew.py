"""Processes that train one network together, and how they agree."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed

Result = TypeVar("Result")

LONGEST_WAIT = timedelta(days=7)  # of all for one who does something alone, as measure a checkpoint


@dataclass(frozen=True)
class Crew:
    """Those processes, as one of them sees them."""

    rank: int = 0
    world: int = 1
    gather: Callable[[Any], list[Any]] = lambda said: [said]  # what each says, by rank: all must call it

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def each(self, work: Callable[[], Result]) -> list[Result]:
        """What each one's work comes to, by rank. Raises, in all of them, what any of them raised."""
        try:
            told: tuple[Any, Exception | None] = work(), None
        except Exception as error:
            told = None, error
        heard = self.gather(told)
        for _, failure in heard:
            if failure is not None:
                raise failure
        return [result for result, _ in heard]

    def led(self, work: Callable[[], Result]) -> Result:
        """What the work comes to that the first of them does alone, or raises what it raised."""
        results: list[Any] = self.each(lambda: work() if self.leads else None)
        return results[0]


ALONE = Crew()


def join(rank: int, world: int) -> Crew:
    """The processes of torch's process group. They talk over a group of their own, so that two may talk at once."""
    if world == 1:
        return ALONE
    group = torch.distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)

    def gather(said: Any) -> list[Any]:
        heard: list[Any] = [None] * world
        torch.distributed.all_gather_object(heard, said, group=group)
        return heard

    return Crew(rank, world, gather)
