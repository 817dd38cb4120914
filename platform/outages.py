"""An object store that fails for a while: what is tried again, and for how long.

pyarrow tries again too, but for 6 s where a connection is refused (measured; 99 s where a server does not answer).
"""

import re
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

PATIENCE_S = 120.0
LONGEST_WAIT_S = 15.0  # between two tries: from half a second, doubled each time, and then any part of it

# As pyarrow words them. A bucket that is not there, a key that is refused: those stay as they are.
PASSING = re.compile(
    "NETWORK_CONNECTION|REQUEST_TIMEOUT|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|INTERNAL_FAILURE"
    r"|HTTP status (429|5\d\d)|UNAVAILABLE:|DEADLINE_EXCEEDED:"
)

Result = TypeVar("Result")


class OutageError(OSError):
    """An object store has not answered for PATIENCE_S."""


def outlast(where: str, call: Callable[[], Result]) -> Result:
    """What `call` returns, which is made again while its error may pass; one line says so, and one that it passed.

    Raises OutageError once PATIENCE_S are over, and at once an error that waiting cannot mend.
    """
    retrying = Retrying(
        retry=retry_if_exception(may_pass),
        stop=stop_after_delay(PATIENCE_S),
        wait=wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT_S),
        before_sleep=lambda state: say_once(where, state),
        reraise=True,
    )
    try:
        result = retrying(call)
    except OSError as error:
        if not may_pass(error):
            raise
        waited_s = retrying.statistics["delay_since_first_attempt"]
        raise OutageError(f"store={where} has not answered for {waited_s:.0f} s: {error}") from error
    if retrying.statistics["attempt_number"] > 1:
        waited_s = retrying.statistics["delay_since_first_attempt"]
        print(f"store={where} answers again, after {waited_s:.0f} s", flush=True)
    return result


def may_pass(error: BaseException) -> bool:
    """Whether an error of an object store is one of those that go away by themselves."""
    passing = isinstance(error, OSError) and not isinstance(error, FileNotFoundError | PermissionError)
    return passing and PASSING.search(str(error)) is not None


def say_once(where: str, state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        error = str(state.outcome.exception())
        print(f"store={where} does not answer; trying again for {PATIENCE_S:.0f} s: {error}", flush=True)
