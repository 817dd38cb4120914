"""Texts as bytes, a word a token."""

import pytest
import torch

from unlatent.models.byte_text import GOES_ON, byte_text, pieces
from unlatent.models.condition import Text, rows_of


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", []),
        ("a red circle", [b"a", b"red", b"circle"]),
        ("  spaces\tand\nlines ", [b"spaces", b"and", b"lines"]),
        ("abcdefgh", [b"abcdefgh"]),
        ("abcdefghi", [b"abcdefgh", b"\xffi"]),
        ("abcdefghijklmnop", [b"abcdefgh", b"\xffijklmno", b"\xffp"]),
        ("Größe ☃", ["Größe".encode(), "☃".encode()]),
        ("a\0b", [b"a", b"b"]),
        ("\ud800", [b"?"]),
    ],
)
def test_a_word_is_a_token_and_a_long_one_several(text, read):
    assert pieces(text) == read


def test_a_long_word_is_not_two_words():
    assert pieces("abcdefghi") != pieces("abcdefgh i")


def test_any_text_can_be_told_from_its_tokens_but_for_spaces():
    text = "ein Wolkenkratzer aus Glas, 摩天大楼, на закате"
    joined = b""
    for piece in pieces(text):
        joined += piece[1:] if piece[0] == GOES_ON else b" " + piece

    assert joined.decode().strip() == text


def test_texts_are_padded_to_one_length_and_cut_to_it():
    tokens, mask = byte_text(["one two", "one two three four", ""], 3)

    assert (tokens.shape, tokens.dtype) == ((3, 3, 8), torch.uint8)
    assert mask.tolist() == [[True, True, False], [True, True, True], [False, False, False]]
    assert bytes(tokens[1, 2].tolist()) == b"three\0\0\0"
    assert not tokens[0, 2].any()


def test_a_text_is_read_alike_whatever_stands_beside_it():
    together, alone = byte_text(["a red circle", "blue"], 5), byte_text(["blue"], 5)

    for one, other in zip(rows_of(together, slice(1, 2)), alone, strict=True):
        assert torch.equal(one, other)
    assert isinstance(alone, Text)
