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


def join_conditions(first: Condition, second: Condition) -> Condition:
    """Both one after the other along the batch, as for a guided step.

    Texts of different lengths are padded to the longer, and the padding masked.
    """
    if not isinstance(first, Text) and not isinstance(second, Text) and first.shape[1:] == second.shape[1:]:
        return torch.cat([first, second])
    first, second = as_text(first), as_text(second)
    longest = max(first.tokens.shape[1], second.tokens.shape[1])
    if first.mask is None and second.mask is None and first.tokens.shape[1] == second.tokens.shape[1]:
        return Text(torch.cat([first.tokens, second.tokens]))
    both = [padded(text, longest) for text in (first, second)]
    return Text(torch.cat([tokens for tokens, _ in both]), torch.cat([mask for _, mask in both]))


def padded(text: Text, length: int) -> tuple[Tensor, Tensor]:
    """Tokens and mask, filled up to `length` tokens."""
    missing = length - text.tokens.shape[1]
    mask = text.mask if text.mask is not None else text.tokens.new_ones(text.tokens.shape[:2], dtype=torch.bool)
    return torch.nn.functional.pad(text.tokens, (0, 0, 0, missing)), torch.nn.functional.pad(mask, (0, missing))
