"""How a network is compiled: as one graph, which keeps for the backward pass only what is dear to compute again."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch._functorch import config
from torch.fx import GraphModule

ANY_NUMBER = 1 << 20  # of graphs of the same code, in a process that serves one network after another


def sparing(graph: GraphModule, inputs: list[Any]) -> Callable[..., Any]:
    """PyTorch's compiler, told to keep products of matrices and attention, and to compute all else again.

    Fused with what needs it, that costs next to nothing; kept, it takes twice the memory of the rest, and so do the
    weights' copies in bfloat16, which the compiler would keep as well.
    """
    with config.patch(aggressive_recomputation=True):
        return torch._inductor.compile(graph, inputs)


def at_most(graphs: int, of_its_own: bool = False) -> dict[str, Any]:
    """What torch.compile is told, so that what it compiles may have so many graphs.

    `of_its_own`: others of the same code, such as an endpoint's network before this one, have theirs beside. Before
    2.13 nothing of this is to be told: the limit is the process's, for all of the same code, and is raised.
    """
    torch._dynamo.config.accumulated_recompile_limit = ANY_NUMBER
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        return {"recompile_limit": graphs} | ({"isolate_recompiles": True} if of_its_own else {})
    torch._dynamo.config.recompile_limit = max(graphs, torch._dynamo.config.recompile_limit)
    return {}
