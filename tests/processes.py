"""Several processes that work together, one thread each.

They are forked from one that has imported what most of them need, which takes seconds, and has done nothing else.
"""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing

PRELOADED = ["torch.distributed.fsdp", "unlatent.models.sharding", "unlatent.platform.training"]


def in_processes(world: int, folder: Path, work: Callable[..., None], *given: Any) -> None:
    """Calls `work(rank, world, *given)` in each of so many processes of a group. Raises what one of them raised."""
    meeting = folder / "meeting"
    meeting.unlink(missing_ok=True)
    multiprocessing.set_forkserver_preload(PRELOADED)
    torch.multiprocessing.start_processes(
        member, (world, str(meeting), work, *given), nprocs=world, start_method="forkserver"
    )


def member(rank: int, world: int, meeting: str, work: Callable[..., None], *given: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    work(rank, world, *given)
    torch.distributed.destroy_process_group()
