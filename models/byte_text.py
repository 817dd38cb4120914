"""Texts as their bytes, read by a network that learns to: there is nothing to download.

A word is one token, as a patch of pixels is; a long word is several.

B batch   T tokens   E width of a token
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unlatent.models.condition import TOKEN_BYTES, Text

GOES_ON = 0xFF  # first byte of a token that goes on a word; in no text, nor is 0, which fills up


def byte_text(texts: Sequence[str], tokens: int) -> Text:  # uint8 (B, tokens, TOKEN_BYTES)
    """The first so many tokens of each text. No text has none."""
    rows = (b"".join(piece.ljust(TOKEN_BYTES, b"\0") for piece in pieces(text)[:tokens]) for text in texts)
    content = bytearray(b"".join(row.ljust(tokens * TOKEN_BYTES, b"\0") for row in rows))
    read = torch.frombuffer(content, dtype=torch.uint8).view(len(texts), tokens, TOKEN_BYTES)
    return Text(read, (read != 0).any(dim=2))


def pieces(text: str) -> list[bytes]:
    """A text's words, cut so that each part fits into a token. How many spaces lie between them is not told."""
    found = []
    for word in text.replace("\0", " ").encode(errors="replace").split():
        found.append(word[:TOKEN_BYTES])
        rest = word[TOKEN_BYTES:]
        size = TOKEN_BYTES - 1
        found += [bytes([GOES_ON]) + rest[start : start + size] for start in range(0, len(rest), size)]
    return found


class ByteEmbedding(nn.Module):
    """A vector for each byte of a token, side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.byte = nn.Embedding(256, width // TOKEN_BYTES, padding_idx=0)

    def forward(self, tokens: Tensor) -> Tensor:  # uint8 (B, T, TOKEN_BYTES) -> (B, T, E)
        return self.byte(tokens.int()).flatten(2)
