"""How long a request is worth working on: until its deadline, and while its client is there."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request

from unlatent.platform.serving.errors import Refusal
from unlatent.platform.serving.served_model import Picture

Result = TypeVar("Result")


async def until_deadline(pictures: AsyncGenerator[Picture], deadline_s: float) -> AsyncGenerator[Picture]:
    """Passes the pictures on; raises Refusal 504 when they take longer than the deadline, and gives them up."""
    deadline = asyncio.get_running_loop().time() + deadline_s
    async with aclosing(pictures):
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    picture = await anext(pictures)
            except StopAsyncIteration:
                return
            except TimeoutError:
                message = f"not done within the deadline of {deadline_s:g} s; fewer steps or images would do"
                raise Refusal(504, message, code="deadline_passed") from None
            yield picture


async def while_client_waits(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, which is cancelled once the client has left; then raises Refusal 499, which nobody reads.

    The request's body must have been read: what is received after it says that the client has left.
    """
    working, leaving = asyncio.create_task(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Refusal(499, "the client has left", code="client_left")
    finally:
        working.cancel()
        leaving.cancel()
