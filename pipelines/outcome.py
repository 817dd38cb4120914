"""What a pipeline says at its end."""

import shutil
import sys
from pathlib import Path

from unlatent.pipelines.execution import Execution
from unlatent.platform.display import say

WORDS = {"ran": "ran", "skipped": "skipped", "failed": "failed", "not_run": "not run"}


def say_outcome(execution: Execution) -> None:
    """What the steps have to say, ran or skipped; then how the pipeline has ended, and what to try next."""
    for name in execution.pipeline.order():
        if name in execution.done and execution.done[name].message:
            say(f"\n{execution.done[name].message}")
    say(f"\n{summary(execution)}")
    if execution.failures:
        say("once that is put right, the same command goes on: it skips what is done")
    elif execution.pipeline.afterwards:
        say("\nnext:")
        for command, does in execution.pipeline.afterwards:
            say(f"  {as_callable_here(command)}\n      {does}")


def summary(execution: Execution) -> str:
    """`quickstart: 3 ran, 1 failed (train), 2 not run (evaluate, report)`."""
    parts = []
    for outcome, words in WORDS.items():
        names = [name for name in execution.pipeline.order() if execution.outcomes.get(name) == outcome]
        if names:
            named = f" ({', '.join(names)})" if outcome in ("failed", "not_run") else ""
            parts.append(f"{len(names)} {words}{named}")
    return f"{execution.pipeline.name}: {', '.join(parts)}"


def as_callable_here(command: str) -> str:
    """The command as it can be typed: with the path of the script where that is not on the search path."""
    name, _, rest = command.partition(" ")
    return command if shutil.which(name) or Path(sys.argv[0]).name != name else f"{sys.argv[0]} {rest}"
