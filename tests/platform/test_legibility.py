import itertools

import numpy as np
import pytest
from PIL import Image, ImageFilter

from unlatent.platform.legibility import UNREAD, read
from unlatent.platform.lettering import ALPHABET, Line, draw, width

INK, PAPER = (20, 30, 60), (230, 225, 210)
SIZES = (8, 9, 10, 12, 16, 24, 32, 48)  # pixels that a capital is high


def written(text: str, letter_pixels: int, unevenness: int = 24) -> tuple[Image.Image, Line]:
    """A text on uneven paper, and its line."""
    line = Line(text=text, letter_pixels=letter_pixels, left=9, top=8)
    sides = (2 * letter_pixels + 16, width(text, letter_pixels) + 18, 3)
    paper = PAPER + np.random.default_rng(0).integers(-unevenness, unevenness + 1, sides)
    picture = Image.fromarray(paper.astype(np.uint8))
    draw(picture, line, INK)
    return picture, line


def pixels_of(picture: Image.Image):  # (3, H, W)
    return np.asarray(picture).transpose(2, 0, 1)


def share_read(letter_pixels: int, blur: float) -> float:
    picture, line = written(ALPHABET, letter_pixels)
    return read(pixels_of(picture.filter(ImageFilter.GaussianBlur(blur))), line, INK, PAPER).share


@pytest.mark.parametrize("letter_pixels", SIZES)
def test_every_letter_is_read_right_while_nothing_is_damaged(letter_pixels):
    for text in (ALPHABET, ALPHABET[::-1], "IJILLTI", "OQCGDB"):
        picture, line = written(text, letter_pixels)

        reading = read(pixels_of(picture), line, INK, PAPER)

        assert (reading.read_as, reading.share) == (text, 1.0)


def test_light_letters_on_a_dark_plate_are_read_as_well():
    line = Line(text="EMBER", letter_pixels=9, left=2, top=2)
    picture = Image.new("RGB", (80, 16), INK)
    draw(picture, line, PAPER)

    assert read(pixels_of(picture), line, ink=PAPER, paper=INK).share == 1
    assert read(pixels_of(picture), line, ink=INK, paper=PAPER).share < 1, "what is lighter is paper then"


@pytest.mark.parametrize("letter_pixels", SIZES)
def test_from_noise_as_much_is_read_as_by_chance(letter_pixels):
    _, line = written(ALPHABET, letter_pixels)
    sides = (40, 3, 2 * letter_pixels + 16, width(ALPHABET, letter_pixels) + 18)
    noise = np.random.default_rng(0).integers(0, 256, sides, dtype=np.uint8)

    share = np.mean([read(image, line, INK, PAPER).share for image in noise])

    assert 0.01 < share < 0.08, "a 26th, within four standard errors"


@pytest.mark.parametrize("letter_pixels", SIZES)
def test_the_more_blurred_the_less_is_read(letter_pixels):
    shares = [share_read(letter_pixels, blur * letter_pixels) for blur in (0.03, 0.09, 0.15, 0.2, 0.3, 0.5)]

    assert shares[0] == 1 and shares[-1] < 0.2
    assert all(later <= earlier + 2 / 26 for earlier, later in itertools.pairwise(shares)), shares


def test_of_equally_blurred_letters_the_larger_are_read_better():
    small, medium, large = (share_read(letter_pixels, blur=2) for letter_pixels in (8, 12, 24))

    assert small < medium <= large == 1


def test_a_line_may_have_moved_by_one_pixel_but_not_by_three():
    picture, line = written("NOVEMBER", 10)

    moved = [read(np.roll(pixels_of(picture), by, axis=(1, 2)), line, INK, PAPER).share for by in ((1, -1), (3, 3))]

    assert moved[0] == 1 > moved[1]


def test_other_letters_than_were_written_are_named():
    picture, line = written("CAN", 12)
    asked = Line(text="CAT", letter_pixels=12, left=line.left, top=line.top)

    reading = read(pixels_of(picture), asked, INK, PAPER)

    assert (reading.read_as, reading.share) == ("CAN", pytest.approx(2 / 3))


def test_nothing_is_read_from_a_plain_plate():
    _, line = written("ABC", 10)

    assert read(np.full((3, 40, 60), 200, np.uint8), line, INK, PAPER).read_as == 3 * UNREAD


def test_what_cannot_be_read_from_is_refused():
    picture, line = written("ABC", 10)
    with pytest.raises(ValueError, match=r"ink=\(20, 30, 60\) is the paper's colour"):
        read(pixels_of(picture), line, INK, INK)
    with pytest.raises(ValueError, match=r"a letter of ABC lies at .*, outside an image of 20x40"):
        read(np.zeros((3, 40, 20), np.uint8), line, INK, PAPER)
