"""Conditions of a batch: put together, cut, and replaced row by row."""

import torch

from unlatent.models.condition import Text, replaced

CHOSEN = torch.tensor([False, True, False])


def test_classes_are_replaced_row_by_row():
    assert replaced(torch.tensor([3, 4, 5]), CHOSEN, torch.tensor([9])).tolist() == [3, 9, 5]


def test_texts_are_replaced_row_by_row_with_what_may_be_seen_of_them():
    text, other = torch.randn(3, 4, 2), Text(torch.randn(1, 4, 2), torch.tensor([[True, False, False, False]]))

    tokens, mask = replaced(Text(text), CHOSEN, other)

    assert torch.equal(tokens, torch.stack([text[0], other.tokens[0], text[2]]))
    assert mask.tolist() == [[True] * 4, [True, False, False, False], [True] * 4]
