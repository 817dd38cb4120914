import pytest
import torch
from torch import nn

from unlatent.models.clipping import clipped_step, gradient_norm


def parameters_with_gradients(seed: int, scale: float) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    made = [nn.Parameter(torch.randn(40, 30, generator=generator)) for _ in range(3)]
    for each in made:
        each.grad = scale * torch.randn(each.shape, generator=generator)
    return made


@pytest.mark.parametrize("scale", [1e-3, 10.0])
def test_a_clipped_step_is_that_of_clip_grad_norm(scale):
    ours, theirs = (parameters_with_gradients(0, scale) for _ in range(2))

    norm = gradient_norm(ours)
    clipped_step(torch.optim.AdamW(ours, fused=True), norm, 1.0)
    nn.utils.clip_grad_norm_(theirs, 1.0)
    torch.optim.AdamW(theirs, fused=True).step()

    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


def test_a_refused_step_changes_neither_weights_nor_the_optimizer():
    parameters = parameters_with_gradients(0, 1.0)
    optimizer = torch.optim.AdamW(parameters, fused=True)
    clipped_step(optimizer, torch.tensor(1.0), 1.0)
    before = [each.detach().clone() for each in parameters]
    kept = [{name: each.clone() for name, each in optimizer.state[one].items()} for one in parameters]

    clipped_step(optimizer, torch.tensor(float("nan")), 1.0, torch.ones(()))

    assert all(torch.equal(one, other) for one, other in zip(parameters, before, strict=True))
    for one, state in zip(parameters, kept, strict=True):
        assert all(torch.equal(optimizer.state[one][name], each) for name, each in state.items())
