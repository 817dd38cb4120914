"""What a training step holds at once."""

from collections.abc import Callable, Iterable
from itertools import accumulate, chain
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile


class Memory(NamedTuple):
    """Bytes."""

    state: int  # weights, their average, and the optimizer's moments: there between steps as well
    step: int  # what comes on top at the worst moment of a step: gradients, what the backward pass needs, scratch

    @property
    def peak(self) -> int:
        return self.state + self.step


def step_memory(step: Callable[[], object], state: Iterable[Tensor], device: torch.device) -> Memory:
    """Of one step, whatever else is on the device. Has to have run before, so that nothing is made for good."""
    of_state = total_bytes(state)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
        return Memory(of_state, torch.cuda.max_memory_allocated(device) - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        step()
    assert watched.profiler is not None and watched.profiler.kineto_results is not None
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    in_order = sorted(events, key=lambda event: event.start_ns())
    return Memory(of_state, max(accumulate((event.nbytes() for event in in_order), initial=0)))


def total_bytes(tensors: Iterable[Tensor]) -> int:
    """Each storage once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def kept_bytes(forward: Callable[[], Tensor], weights: Iterable[Tensor]) -> int:
    """What autograd keeps of `forward` for the backward pass, each storage once; the weights themselves do not count.

    For what runs uncompiled and recomputes nothing. Copies of weights in another type, as of autocast, do count.
    """
    own = {weight.untyped_storage().data_ptr() for weight in weights}
    kept: list[Tensor] = []  # holds them, for a freed storage's address may come back as another's

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach())
        return kept[-1]

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    del result
    return total_bytes(tensor for tensor in kept if tensor.untyped_storage().data_ptr() not in own)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    values = chain.from_iterable(state.values() for state in optimizer.state.values())
    return (value for value in values if isinstance(value, Tensor))
