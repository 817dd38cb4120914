"""Where trials of several workers meet the crews that train them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Settings = dict[str, Any]  # of a trial, as plain values
Told = dict[str, float]  # what a trial was measured at
Answer = TypeVar("Answer")

PATIENCE_S, LOOK_S = 1.0, 0.02  # who asks waits so long for an answer, and asks again

NOTHING_YET: Settings = {}


class GivenUpError(RuntimeError):
    """The sweep has given a trial up, or has ended: its workers are to let go of it."""


@dataclass(frozen=True)
class News:
    """Of a trial: what it asks, or that it has ended."""

    told: Told | None = None  # what it was measured at, and whether to go on is asked
    error: str | None = None  # why it ended before its time

    @property
    def ended(self) -> bool:
        return self.told is None


class Exchange:
    """A Ray actor. Trials are put here by their processes, taken up by crews, and decided on where they are compared.

    A process that died may put its trial again; workers that were started anew take it up again, and may ask again.
    """

    def __init__(self, crews: list[str], most_deaths: int) -> None:
        self.crews, self.most_deaths = set(crews), most_deaths
        self.given: dict[str, Settings] = {}  # run_id -> of trials that have not ended
        self.queue: list[str] = []
        self.training: dict[str, str] = {}  # crew -> run_id
        self.asked: dict[str, Told] = {}
        self.verdicts: dict[str, dict[float, bool]] = {}  # run_id -> what was spent -> whether to go on
        self.ended: dict[str, News] = {}
        self.deaths = Counter[str]()  # of a trial's workers
        self.last_words: dict[str, str] = {}  # run_id -> what one of them failed with
        self.begun: set[str] = set()  # crews that have been here
        self.lost: str | None = None  # why there is no crew any more
        self.closed = False

    # for a trial's process

    async def put(self, run_id: str, given: Settings) -> None:
        """Asks for a trial to be trained, unless it is being trained."""
        if run_id in self.given:
            return
        self.given[run_id], self.verdicts[run_id] = given, {}
        self.ended.pop(run_id, None)
        self.queue.append(run_id)
        if self.lost:
            self.end_trial(run_id, self.lost)

    async def news(self, run_id: str) -> News | None:
        """What there is to know or to decide, as soon as there is anything; None where that takes longer."""
        return await waited(lambda: News(self.asked[run_id]) if run_id in self.asked else self.ended.get(run_id))

    async def answer(self, run_id: str, told: Told, goes_on: bool) -> None:
        self.verdicts[run_id][told["spent"]] = goes_on
        self.asked.pop(run_id, None)

    # for a crew

    async def next(self, crew: str) -> Settings | None:
        """The next trial for a crew, or `NOTHING_YET`; None where no more will come.

        A crew that did not end its last trial was started anew. It takes that one up again, but not without limit.
        """
        self.begun.add(crew)
        if crew in self.training:
            self.take_back(crew)
        await waited(lambda: self.closed or self.queue or None)
        if self.closed or not self.queue:
            return None if self.closed else NOTHING_YET
        self.training[crew] = self.queue.pop(0)
        return self.given[self.training[crew]]

    def take_back(self, crew: str) -> None:
        run_id = self.training.pop(crew)
        self.deaths[run_id] += 1
        if self.deaths[run_id] > self.most_deaths:
            words = f"; {self.last_words[run_id]}" if run_id in self.last_words else ""
            self.end_trial(run_id, f"its workers died {self.deaths[run_id]} times{words}")
        elif run_id in self.given:
            self.queue.insert(0, run_id)

    async def ask(self, run_id: str, told: Told) -> bool | None:
        """Whether a trial is to go on. None where that is not known yet: ask again."""
        await self.require_open(run_id)
        verdicts = self.verdicts[run_id]
        if told["spent"] not in verdicts:
            self.asked[run_id] = told
        return await waited(lambda: verdicts.get(told["spent"]))

    async def require_open(self, run_id: str) -> None:
        """Raises GivenUpError where nobody waits for a trial any more."""
        if self.closed or run_id not in self.given:
            raise GivenUpError(f"the sweep has given {run_id} up")

    async def end(self, crew: str, error: str | None = None) -> None:
        """A crew has come to the end of its trial, or fails in it. Of all its workers, the first one says so."""
        if crew in self.training:
            self.end_trial(self.training.pop(crew), error)

    async def fail(self, crew: str, error: str) -> None:
        """A worker fails in its crew's trial, maybe for no more than another one's death: it is taken up again."""
        if crew in self.training:
            self.last_words[self.training[crew]] = error

    # for the sweep's process

    async def withdraw(self, run_id: str) -> None:
        """Nobody waits for a trial any more."""
        self.end_trial(run_id, "the sweep has given it up")

    async def lose(self, crew: str, why: str) -> None:
        """A crew is no more. Another takes up its trial; where it was the last, all that wait end."""
        self.crews.discard(crew)
        if crew in self.training:
            self.queue.insert(0, self.training.pop(crew))
        if not self.crews:
            self.lost = why
            for run_id in list(self.given):
                self.end_trial(run_id, why)

    async def why_lost(self) -> str | None:
        return self.lost

    async def close(self) -> set[str]:
        """No more trials will come. Returns the crews that have to be waited for."""
        self.closed = True
        return self.begun & self.crews

    def end_trial(self, run_id: str, error: str | None = None) -> None:
        self.given.pop(run_id, None)
        self.asked.pop(run_id, None)
        self.queue = [each for each in self.queue if each != run_id]
        self.ended[run_id] = News(error=error)


async def waited(look: Callable[[], Answer | None]) -> Answer | None:
    """What there is to see, as soon as it is there; None where that takes longer."""
    for _ in range(round(PATIENCE_S / LOOK_S)):
        if (seen := look()) is not None:
            return seen
        await asyncio.sleep(LOOK_S)
    return look()
