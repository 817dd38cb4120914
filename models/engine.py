"""Batching by denoising step: images at different steps, of different samplers and conditions, share network calls.

An image joins at the next step when there is room, and leaves when it is done or given up: no image waits for another
to end, and none shows in another. What an image is to ask, and when, is its trajectory's own affair.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn

from unlatent.models.queries import Query, Trajectory, call, calls


@dataclass(frozen=True)
class Call:
    """One call of the network, and how it went."""

    rows: int
    failed: bool


@dataclass(eq=False)
class Job:
    """One image to be made, and how it goes."""

    trajectory: Trajectory
    most_rows: int  # that it asks the network at once
    queries: list[Query] = field(default_factory=list)  # the next ones, while it is on its way
    image: Tensor | None = None  # once it is done
    error: Exception | None = None  # what went wrong with it
    given_up: bool = False  # to be set by whoever wants it no more, from any thread

    @property
    def result(self) -> Tensor:
        assert self.image is not None, "the image is not done"
        return self.image

    def go_on(self, answers: list[Tensor] | None) -> None:
        """To the next question, or to the end."""
        self.queries = []
        try:
            self.queries = next(self.trajectory) if answers is None else self.trajectory.send(answers)
        except StopIteration as end:
            self.image = end.value
        except Exception as error:  # of this image alone: the others go on
            self.error = error


class Engine:
    """A network, and the images that it is making. First come, first served; not for several threads at once.

    `max_rows` limits the rows of one network call. Calls are padded to a size of `buckets`, rising, where there are
    any: a network that is compiled, or that keeps what it once worked out by batch size, is then quickest.
    """

    def __init__(self, network: nn.Module, precision: str, max_rows: int, buckets: Sequence[int] = ()) -> None:
        self.network, self.precision = network, precision
        self.max_rows, self.buckets = max_rows, buckets
        self.waiting: deque[Job] = deque()
        self.under_way: list[Job] = []
        self.calls: list[Call] = []  # of the last step

    def add(self, job: Job) -> None:
        """Queues an image.

        Raises ValueError for one that asks for more rows at once than the engine has.
        """
        if job.most_rows > self.max_rows:
            raise ValueError(f"an image that needs {job.most_rows} rows at once is over the limit of {self.max_rows}")
        self.waiting.append(job)

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.under_way

    @torch.inference_mode()
    def step(self) -> list[Job]:
        """Takes every image under way one step further, by a network call for each of their sizes.

        Returns those that ended: done, failed or given up.
        """
        ended = self.admit()
        self.take_further(self.under_way)
        done = [job for job in self.under_way if job.image is not None or job.error]
        self.under_way = [job for job in self.under_way if job not in done]
        return [*ended, *done]

    def admit(self) -> list[Job]:
        """Lets go of what was given up, and takes in whose turn it is while there is room. Returns what ended so.

        Nobody passes the one whose turn it is, so that many small ones cannot keep a large one waiting.
        """
        gone = [job for job in (*self.under_way, *self.waiting) if job.given_up]  # looked at once: others may set it
        self.under_way = [job for job in self.under_way if job not in gone]
        self.waiting = deque(job for job in self.waiting if job not in gone)
        ended, room = gone, self.max_rows - sum(job.most_rows for job in self.under_way)
        while self.waiting and self.waiting[0].most_rows <= room:
            job = self.waiting.popleft()
            job.go_on(None)
            if job.queries:
                self.under_way.append(job)
                room -= job.most_rows
            else:
                ended.append(job)
        return ended

    def take_further(self, jobs: Sequence[Job]) -> None:
        asked = [(job, query) for job in jobs for query in job.queries]
        answers: dict[int, Tensor] = {}
        self.calls = []
        for numbers in calls([query for _, query in asked]):
            together = [asked[number][1] for number in numbers]
            try:
                answers.update(zip(numbers, call(self.network, together, self.precision, self.rows_for), strict=True))
            except Exception as error:  # a call fails as a whole: those in it, and nobody else
                for number in numbers:
                    asked[number][0].error = error
            self.calls.append(Call(sum(len(query.x) for query in together), failed=numbers[0] not in answers))
        given = iter(range(len(asked)))
        for job in jobs:
            numbers = list(islice(given, len(job.queries)))
            if job.error is None:
                job.go_on([answers[number] for number in numbers])

    def rows_for(self, rows: int) -> int:
        """The smallest bucket that holds so many rows."""
        return next((bucket for bucket in self.buckets if bucket >= rows), rows)
