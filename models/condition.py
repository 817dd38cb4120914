"""What an image is to show: a class, or a text.

B batch   T tokens   E width of an encoder's tokens
"""

from collections.abc import Sequence
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


def join_conditions(conditions: Sequence[Condition]) -> Condition:
    """All of them, one after the other along the batch: labels, or texts of one length."""
    tensors = [condition for condition in conditions if isinstance(condition, Tensor)]
    if len(tensors) == len(conditions):
        return torch.cat(tensors)
    texts = [as_text(condition) for condition in conditions]
    tokens = torch.cat([text.tokens for text in texts])
    if all(text.mask is None for text in texts):
        return Text(tokens)
    return Text(tokens, torch.cat([mask_of(text) for text in texts]))


def repeat_last(condition: Condition, times: int) -> Condition:
    """The condition of a batch with its last row so many times more."""
    return join_conditions([condition, *[rows_of(condition, slice(-1, None))] * times])


def rows_of(condition: Condition, rows: slice) -> Condition:
    """Some rows of a batch's condition."""
    if isinstance(condition, Text):
        return Text(condition.tokens[rows], None if condition.mask is None else condition.mask[rows])
    return condition[rows]


def mask_of(text: Text) -> Tensor:
    return text.mask if text.mask is not None else text.tokens.new_ones(text.tokens.shape[:2], dtype=torch.bool)
