"""What an image is to show: a class, or a text.

B batch   T tokens   E width of an encoder's tokens
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Text(NamedTuple):
    """Texts as an encoder gives them, padded to one length."""

    tokens: Tensor  # (B, T, E)
    mask: Tensor | None = None  # (B, T) bool, True where a token is real; None: all of them are


Condition = Tensor | Text  # class labels (B,); texts, or their tokens alone (B, T, E)


def as_text(condition: Condition) -> Text:
    return condition if isinstance(condition, Text) else Text(condition)


def can_be_joined(first: Condition, second: Condition) -> bool:
    """Whether both can be rows of one batch: texts of two lengths cannot, for not every network masks padding."""
    if not isinstance(first, Text) and not isinstance(second, Text):
        return first.shape[1:] == second.shape[1:]
    return as_text(first).tokens.shape[1:] == as_text(second).tokens.shape[1:]


def join_conditions(first: Condition, second: Condition) -> Condition:
    """Both, one after the other along the batch, as for a guided step."""
    assert can_be_joined(first, second)
    if not isinstance(first, Text) and not isinstance(second, Text):
        return torch.cat([first, second])
    first, second = as_text(first), as_text(second)
    tokens = torch.cat([first.tokens, second.tokens])
    if first.mask is None and second.mask is None:
        return Text(tokens)
    return Text(tokens, torch.cat([mask_of(first), mask_of(second)]))


def mask_of(text: Text) -> Tensor:
    return text.mask if text.mask is not None else text.tokens.new_ones(text.tokens.shape[:2], dtype=torch.bool)
