"""What is logged of a step that several workers took together."""

import pytest
import torch

from unlatent.platform.crew import Crew
from unlatent.platform.learner import Losses
from unlatent.platform.step_log import StepLog


def log_with(*others) -> StepLog:
    """Of the first worker; `others` are what further ones say: loss, alignment loss, seconds of waiting."""
    crew = Crew(0, 1 + len(others), lambda said: [said, *others])
    return StepLog("run", 0, torch.device("cpu"), 1.0, crew)


def losses(flow: float, refused: float = 0.0) -> Losses:
    return Losses(torch.tensor(flow), torch.tensor(1.0), torch.tensor(refused), torch.tensor(flow / 2))


def test_losses_are_means_over_the_workers_and_the_wait_is_the_longest():
    log = log_with((3.0, 1.5, 60.0), (5.0, 2.5, 0.0))
    log.add(losses(1.0))

    log.end_interval(64, 1, 0.1)

    [row] = log.rows
    assert (row["loss"], row["alignment_loss"]) == (3.0, 1.5)
    assert row["data_wait_share"] > 1, "sixty seconds, of far fewer that this interval took here"


@pytest.mark.parametrize("refused", [0.0, 1.0])
def test_a_step_that_was_not_taken_has_no_loss_on_any_worker(refused):
    log = log_with((None, None, 0.0) if refused else (2.0, 1.0, 0.0))
    log.add(losses(2.0, refused))

    log.end_interval(64, 1, 0.1)

    assert log.rows[0]["loss"] == (None if refused else 2.0)
