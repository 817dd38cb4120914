"""Tries a step, as often as its definition says."""

import contextlib
import itertools

from unlatent.pipelines import attempts, records
from unlatent.pipelines.attempts import Attempt
from unlatent.pipelines.definition import Step
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.records import Record
from unlatent.pipelines.steps import ACTIONS
from unlatent.platform.display import say, speaking_as

LONGEST_BACKOFF_S = 300.0

# What another try would meet again: settings that cannot work, and mistakes in the code.
LASTING = (ValueError, TypeError, AttributeError, LookupError, AssertionError, NotImplementedError, ImportError)


def try_step(execution: Execution, step: Step, why: str, beside: bool = False) -> None:
    """Runs a step, again where it fails and may. What it says names it where it runs `beside` others.

    A failure is noted, and stops only what needs the step.
    """
    for number in itertools.count(1):
        try:
            execution.done[step.name] = run_once(execution, step, why, number, beside)
        except Exception as error:  # any step may fail in any way; the others go on
            if execution.stopping.is_set():
                return
            again = number <= step.retries and not isinstance(error, LASTING)
            pause_s = min(step.backoff_s * 2 ** (number - 1), LONGEST_BACKOFF_S)
            after = f"; try {number + 1} of {step.retries + 1} in {pause_s:g} s" if again else ""
            say(f"{step.name}: failed: {one_line(error)}{after}")
            if not again or execution.stopping.wait(pause_s):
                execution.failures.append(f"step {step.name} failed: {one_line(error)}")
                execution.outcomes[step.name] = "failed"
                return
        else:
            execution.outcomes[step.name] = "ran"
            return


def run_once(execution: Execution, step: Step, why: str, number: int, beside: bool) -> Record:
    """One try, which leaves a row however it ends."""
    store, name = execution.store, execution.pipeline.name
    attempt = attempts.begin(store, name, step.name, why, execution.basis(step).key, number)
    execution.attempts[step.name] = attempt
    try:
        with speaking_as(step.name) if beside else contextlib.nullcontext():
            record = call(execution, step, attempt)
    except Exception as error:
        attempt.end("stopped" if execution.stopping.is_set() else "failed", f"{type(error).__name__}: {error}")
        raise
    except BaseException:  # Ctrl-C, or SIGTERM
        attempt.stop()
        raise
    attempt.end("ran")
    return record


def call(execution: Execution, step: Step, attempt: Attempt) -> Record:
    """Has a step do its work, and writes down what it has left; of a passing one, only for as long as this lasts."""
    action, basis = ACTIONS[step.run], execution.basis(step)
    outputs = action.call(execution.context(step))
    if action.passing:
        return Record(basis, attempt.execution_id, outputs.values, message=outputs.message)
    return records.write(execution.store, execution.pipeline.name, step.name, basis, attempt.execution_id, outputs)


def one_line(error: Exception) -> str:
    """An error's message; of one over several lines, as Ray's are, the last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
