"""What an image is to show: a class, or a text.

B batch   T tokens   E width of an encoder's tokens
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

TOKEN_BYTES = 8  # of a token, where the network reads bytes


class Text(NamedTuple):
    """Texts as an encoder gives them, padded to one length."""

    tokens: Tensor  # (B, T, E); or bytes, uint8 (B, T, TOKEN_BYTES), where the network is the encoder
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


def replaced(condition: Condition, rows: Tensor, other: Condition) -> Condition:  # (B,) bool
    """A batch's condition with another, of one row, in the place of some rows."""
    if not isinstance(condition, Text):
        assert isinstance(other, Tensor)
        return torch.where(rows, other, condition)
    other = as_text(other)
    tokens = torch.where(rows[:, None, None], other.tokens, condition.tokens)
    return Text(tokens, torch.where(rows[:, None], mask_of(other), mask_of(condition)))


def to_device(condition: Condition, device: torch.device) -> Condition:
    if isinstance(condition, Text):
        return Text(condition.tokens.to(device), None if condition.mask is None else condition.mask.to(device))
    return condition.to(device)


def rows_of(condition: Condition, rows: slice) -> Condition:
    """Some rows of a batch's condition."""
    if isinstance(condition, Text):
        return Text(condition.tokens[rows], None if condition.mask is None else condition.mask[rows])
    return condition[rows]


def mask_of(text: Text) -> Tensor:
    return text.mask if text.mask is not None else text.tokens.new_ones(text.tokens.shape[:2], dtype=torch.bool)
