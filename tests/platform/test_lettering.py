import numpy as np
import pytest
from PIL import Image

from unlatent.platform.lettering import ALPHABET, Line, draw, width

SIZES = (8, 9, 10, 13, 16, 24, 48)  # pixels that a capital is high


def inked(line: Line):
    """A line drawn in white on black (H, W), with room around it, and its letters' boxes."""
    picture = Image.new("L", (line.left + width(line.text, line.letter_pixels) + 9, line.top + 2 * line.letter_pixels))
    boxes = draw(picture, line, 255)
    return np.asarray(picture), boxes


@pytest.mark.parametrize("letter_pixels", SIZES)
def test_a_capital_is_as_high_as_asked(letter_pixels):
    pixels, _ = inked(Line(text="HILT", letter_pixels=letter_pixels, left=5, top=7))

    rows = np.flatnonzero(pixels.any(axis=1))
    assert (rows[0], rows[-1] + 1) == (7, 7 + letter_pixels)


@pytest.mark.parametrize("letter_pixels", SIZES)
def test_all_ink_of_every_letter_lies_in_its_box(letter_pixels):
    for letter in ALPHABET:
        pixels, ((left, top, right, bottom),) = inked(Line(text=letter, letter_pixels=letter_pixels, left=9, top=9))

        inside = pixels[top:bottom, left:right]
        assert inside.sum() == pixels.sum() > 0
        assert np.count_nonzero(inside.any(axis=0)) > 0.4 * (right - left), "and the box is no wider than it need be"


def test_letters_stand_apart_in_the_order_of_the_text():
    for letter_pixels in SIZES:
        alone = [inked(Line(text=letter, letter_pixels=letter_pixels, left=4, top=4))[0] for letter in "WAVY"]
        pixels, boxes = inked(Line(text="WAVY", letter_pixels=letter_pixels, left=4, top=4))

        assert pixels.sum(dtype=int) == sum(each.sum(dtype=int) for each in alone)
        assert boxes == sorted(boxes) and boxes[-1][2] <= 4 + width("WAVY", letter_pixels)


def test_a_letter_looks_the_same_wherever_it_stands():
    first, (box,) = inked(Line(text="Q", letter_pixels=11, left=3, top=4))
    again, boxes = inked(Line(text="JAQ", letter_pixels=11, left=20, top=9))

    def crop(pixels, box):
        return pixels[box[1] : box[3], box[0] : box[2]]

    assert (crop(first, box) == crop(again, boxes[-1])).all()


@pytest.mark.parametrize("text", ["", "Flow", "A B", "É", "R2"])
def test_what_is_not_of_capitals_is_refused(text):
    with pytest.raises(ValueError, match=r"is not of capitals A to Z alone"):
        Line(text=text, letter_pixels=10, left=0, top=0)


def test_letters_too_small_to_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="letter_pixels=5 is below 6"):
        Line(text="A", letter_pixels=5, left=0, top=0)
