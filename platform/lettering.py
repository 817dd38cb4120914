"""Capitals of a real font on an image, and where each of them lies: DejaVu Sans Bold, which comes with matplotlib.

Letters stand at whole pixels, so a letter of a size looks the same wherever it stands. Kerning there is none.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from PIL import Image, ImageDraw, ImageFont

FONT = "DejaVuSans-Bold.ttf"
ALPHABET = ascii_uppercase
CAPITAL_SHARE = 0.729  # of the em that a capital is high
SMALLEST_LETTERS = 6  # pixels; below, hinting makes some letters one

Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two are just outside
Colour = tuple[int, int, int]  # red, green, blue, 0 … 255


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of capitals and its place on an image. Raises ValueError for what is none."""

    text: str
    letter_pixels: int  # height of a capital; the em is a good third larger
    left: int  # pixels; where the pen starts
    top: int  # pixels; of the capitals

    def __post_init__(self) -> None:
        if not self.text or set(self.text) - set(ALPHABET):
            raise ValueError(f"text={self.text!r} is not of capitals A to Z alone")
        if self.letter_pixels < SMALLEST_LETTERS:
            raise ValueError(f"letter_pixels={self.letter_pixels} is below {SMALLEST_LETTERS}")

    @property
    def boxes(self) -> list[Box]:
        """Of each letter: its own columns, the line's rows, ink below the baseline included."""
        above, below = reach(self.letter_pixels)
        baseline = self.top + self.letter_pixels
        return [
            (pen + first, baseline - above, pen + last, baseline + below)
            for pen, (first, last) in zip(self.pens(), self.columns(), strict=True)
        ]

    def columns(self) -> Iterator[tuple[int, int]]:
        """The first and the last column of each letter, from its pen."""
        for letter in self.text:
            first, _, last, _ = bounds(letter, self.letter_pixels)
            yield first, last

    def pens(self) -> Iterator[int]:
        """Where each letter's pen stands, in pixels from the image's left."""
        pen = self.left
        for letter in self.text:
            yield pen
            pen += advance(letter, self.letter_pixels)


def draw(picture: Image.Image, line: Line, colour: Colour | int) -> list[Box]:
    """Draws a line in a colour, or, on a picture of one channel, in a value. Returns the letters' boxes."""
    brush = ImageDraw.Draw(picture)
    baseline = line.top + line.letter_pixels
    for letter, pen in zip(line.text, line.pens(), strict=True):
        brush.text((pen, baseline), letter, colour, font(line.letter_pixels), anchor="ls")
    return line.boxes


def width(text: str, letter_pixels: int) -> int:
    """Pixels from the pen's start to behind the last letter."""
    spacing = advance(text[-1], letter_pixels) - bounds(text[-1], letter_pixels)[2]
    return sum(advance(letter, letter_pixels) for letter in text) - spacing


def advance(letter: str, letter_pixels: int) -> int:
    """Pixels from a letter's pen to the next one's."""
    return round(font(letter_pixels).getlength(letter)) + max(1, letter_pixels // 12)


@functools.cache
def bounds(letter: str, letter_pixels: int) -> Box:
    """Of a letter, from where its pen stands on the baseline."""
    left, top, right, bottom = font(letter_pixels).getbbox(letter, anchor="ls")
    return int(left), int(top), int(right), int(bottom)


@functools.cache
def reach(letter_pixels: int) -> tuple[int, int]:
    """Pixels that any letter reaches above and below the baseline."""
    boxes = [bounds(letter, letter_pixels) for letter in ALPHABET]
    return -min(top for _, top, _, _ in boxes), max(bottom for *_, bottom in boxes)


@functools.cache
def font(letter_pixels: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # a fifth of a second, which most processes that get here need not spend

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", FONT)
    return ImageFont.truetype(path, letter_pixels / CAPITAL_SHARE, layout_engine=ImageFont.Layout.BASIC)
