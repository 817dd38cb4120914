"""How many graphs a compiled network may have, whatever the version of PyTorch."""

import pytest
import torch

import unlatent.models.network
from unlatent.models.compilation import at_most
from unlatent.models.network import PixelTransformer
from unlatent.models.presets import preset


def test_the_limit_is_told_to_a_compiler_that_takes_one():
    assert at_most(64) == {"recompile_limit": 64}
    assert at_most(64, of_its_own=True) == {"recompile_limit": 64, "isolate_recompiles": True}


def test_networks_that_follow_one_another_in_a_process_each_have_graphs_of_their_own(monkeypatch):
    monkeypatch.setattr(unlatent.models.network, "MOST_SIZES", 2)
    monkeypatch.setattr(unlatent.models.network, "sparing", "eager")
    given = torch.rand(2), torch.tensor([1, 2])

    for width in (16, 32):
        network = PixelTransformer(preset("tiny", width=width, heads=2, patch_depth=1, pixel_depth=1)).eval()
        network.compile()
        with torch.no_grad():
            for height in (8, 16):
                assert network(torch.randn(2, 3, height, 8), *given).shape == (2, 3, height, 8)
            with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
                network(torch.randn(2, 3, 8, 24), *given)


@pytest.mark.parametrize(("before", "after"), [(8, 64), (100, 100)])
def test_the_limit_of_the_process_is_raised_where_the_compiler_takes_none(monkeypatch, before, after):
    monkeypatch.setattr(torch, "compile", lambda model, *, fullgraph=False, backend="inductor": model)

    with torch._dynamo.config.patch(recompile_limit=before):
        assert at_most(64) == {}
        assert torch._dynamo.config.recompile_limit == after
