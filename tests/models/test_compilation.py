"""How many graphs a compiled network may have, whatever the version of PyTorch."""

import pytest
import torch

from unlatent.models.compilation import at_most


def test_the_limit_is_told_to_a_compiler_that_takes_one():
    assert at_most(64) == {"recompile_limit": 64}


@pytest.mark.parametrize(("before", "after"), [(8, 64), (100, 100)])
def test_the_limit_of_the_process_is_raised_where_the_compiler_takes_none(monkeypatch, before, after):
    monkeypatch.setattr(torch, "compile", lambda model, *, fullgraph=False, backend="inductor": model)

    with torch._dynamo.config.patch(recompile_limit=before):
        assert at_most(64) == {}
        assert torch._dynamo.config.recompile_limit == after
