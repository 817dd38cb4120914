"""How much of a known line of text can be read from an image: which letter each place looks most like.

As a rule more than OCR would read: it knows font, size, colours and place of every letter, and that each is a capital.
It says nothing of letters where there should be none, nor of any that is more than a pixel beside its place. A letter
wider than the place it is compared at is compared by its left part.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unlatent.platform.lettering import ALPHABET, Box, Colour, Line, bounds, draw, reach

SHIFT = 1  # pixels that a letter may have moved by, in each direction
UNREAD = "?"  # where nothing at all is drawn
FLAT = 1e-9  # of a crop's energy, below which it has no contrast


@dataclass(frozen=True)
class Reading:
    text: str  # what was written
    read_as: str  # each letter as it was read; `UNREAD` where the image is flat

    @property
    def share(self) -> float:
        """Of the letters, those read right."""
        return sum(a == b for a, b in zip(self.text, self.read_as, strict=True)) / len(self.text)


def read(image: NDArray[np.uint8], line: Line, ink: Colour, paper: Colour) -> Reading:  # (3, H, W)
    """Reads a line from where it was drawn, in the colour `ink` on what is about `paper`.

    Raises ValueError for a line that lies outside the image, and for ink that is no other colour than the paper.
    """
    if ink == paper:
        raise ValueError(f"ink={ink} is the paper's colour")
    _, height, width = image.shape
    for box in line.boxes:
        if min(box) < 0 or box[2] > width or box[3] > height:
            raise ValueError(f"a letter of {line.text} lies at {box}, outside an image of {width}x{height}")
    towards_ink = np.array(ink, np.float64) - paper
    inked = np.tensordot(towards_ink, image.astype(np.float64), 1)  # (H, W), larger where it is more like ink
    padded = np.pad(inked, SHIFT, mode="edge")
    read_as = (
        read_letter(padded, letter, box, line.letter_pixels) for letter, box in zip(line.text, line.boxes, strict=True)
    )
    return Reading(line.text, "".join(read_as))


def read_letter(padded: NDArray[np.float64], written: str, box: Box, letter_pixels: int) -> str:
    """The letter whose template correlates best with any of the crops around a place."""
    left, top, right, bottom = box
    shifts = range(2 * SHIFT + 1)
    crops = np.stack([padded[top + dy : bottom + dy, left + dx : right + dx] for dy in shifts for dx in shifts])
    crops = centred(crops.reshape(len(crops), -1))  # (shifts, pixels)
    if not crops.any():
        return UNREAD
    best = (templates(written, letter_pixels) @ crops.T).max(axis=1)  # (26,)
    return ALPHABET[best.argmax()]


@functools.cache
def templates(written: str, letter_pixels: int) -> NDArray[np.float64]:  # (26, pixels)
    """Every letter as it would look in the place of one."""
    first, _, last, _ = bounds(written, letter_pixels)
    above, below = reach(letter_pixels)
    drawn = []
    for letter in ALPHABET:
        picture = Image.new("L", (last - first, above + below))
        draw(picture, Line(text=letter, letter_pixels=letter_pixels, left=-first, top=above - letter_pixels), 255)
        drawn.append(np.asarray(picture, np.float64).ravel())
    return centred(np.stack(drawn))


def centred(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row less its mean, at length 1; zeros where it is flat."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > FLAT)
