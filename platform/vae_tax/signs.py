"""Text that is known, on images that are one's own: random capitals of several sizes, drawn onto plates.

A plate takes its colour from the image below it, and in half of the cases its texture too, at a contrast that leaves
the letters readable. What can still be read is told by `legibility`, before and after an autoencoder.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from unlatent.platform.generation import from_image, to_image
from unlatent.platform.legibility import read
from unlatent.platform.lettering import ALPHABET, Box, Colour, Line, draw, reach, width

LETTER_PIXELS = (6, 8, 10, 12, 16, 24, 32, 48)  # heights of a capital that are tried
MOST_LETTERS = 8  # on a plate
TEXTURE = 12.0  # grey levels that a plate's texture deviates by, at most
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue


@dataclass(frozen=True)
class Sign:
    """A line of text on a plate."""

    line: Line
    ink: Colour
    paper: Colour  # mean colour of the plate


def fitting_sizes(image_size: int) -> tuple[int, ...]:
    """Those of LETTER_PIXELS whose plates find room on one image, from the smallest up."""
    sizes: list[int] = []
    for size in LETTER_PIXELS:
        if sum(map(plate_height, [*sizes, size])) > image_size or width("W", size) + 2 * margin(size) > image_size:
            break
        sizes.append(size)
    return tuple(sizes)


def margin(letter_pixels: int) -> int:
    """Pixels of plate around its text; the tail of Q reaches into it."""
    _, below = reach(letter_pixels)
    return max(3, letter_pixels // 4, below)


def plate_height(letter_pixels: int) -> int:
    return letter_pixels + 2 * margin(letter_pixels)


def add_signs(image: Tensor, seed: int, number: int) -> tuple[Tensor, list[Sign]]:  # uint8 (3, S, S)
    """The image with a plate of each size that fits, in the order of sizes; the same for the same seed and number."""
    generator = np.random.default_rng([seed, number])
    pixels, picture, signs = image.permute(1, 2, 0).numpy(), to_image(image), {}
    for line in laid_out(image.shape[-1], generator):
        paper, ink = add_plate(picture, pixels, plate_of(line), is_plain=bool(generator.random() < 0.5))
        draw(picture, line, ink)
        signs[line.letter_pixels] = Sign(line, ink, paper)
    return from_image(picture), [signs[size] for size in sorted(signs)]


def laid_out(image_size: int, generator: np.random.Generator) -> list[Line]:
    """Random lines below each other, in random order, at random distances."""
    sizes = fitting_sizes(image_size)
    room = image_size - sum(map(plate_height, sizes))
    gaps = np.diff(np.sort(generator.integers(room + 1, size=len(sizes))), prepend=0)
    top, lines = 0, []
    for size, gap in zip(generator.permutation(sizes).tolist(), gaps.tolist(), strict=True):
        text = "".join(generator.choice(list(ALPHABET), MOST_LETTERS))
        while width(text, size) + 2 * margin(size) > image_size:
            text = text[:-1]
        left = generator.integers(margin(size), image_size - width(text, size) - margin(size) + 1)
        lines.append(Line(text=text, letter_pixels=size, left=int(left), top=top + gap + margin(size)))
        top += gap + plate_height(size)
    return lines


def plate_of(line: Line) -> Box:
    edge = margin(line.letter_pixels)
    right = line.left + width(line.text, line.letter_pixels) + edge
    return line.left - edge, line.top - edge, right, line.top + line.letter_pixels + edge


def add_plate(picture: Image.Image, pixels: NDArray[np.uint8], plate: Box, is_plain: bool) -> tuple[Colour, Colour]:
    """Covers a part of the picture; returns the colour of the plate, and of the ink that is read best on it."""
    left, top, right, bottom = plate
    below = pixels[top:bottom, left:right].astype(np.float64)  # (h, w, 3)
    mean = below.mean(axis=(0, 1))
    strength = 0.0 if is_plain else TEXTURE / max(below.std(axis=(0, 1)).max(), TEXTURE)
    covering = mean + strength * (below - mean)
    picture.paste(Image.fromarray(np.rint(covering).clip(0, 255).astype(np.uint8)), (left, top))
    red, green, blue = np.rint(mean).astype(int).tolist()
    return (red, green, blue), BLACK if mean @ LUMINANCE > 127 else WHITE


def with_signs(images: Tensor, seed: int, first: int) -> tuple[Tensor, list[list[Sign]]]:  # uint8 (N, 3, S, S)
    """Images with signs each; `first` is the number of the first of them."""
    signed = [add_signs(image, seed, number) for number, image in enumerate(images, first)]
    return torch.stack([image for image, _ in signed]), [signs for _, signs in signed]


def letters_drawn(signs: list[list[Sign]]) -> NDArray[np.float64]:  # (N, sizes)
    return np.array([[len(sign.line.text) for sign in some] for some in signs], np.float64)


def letters_right(images: Tensor, signs: list[list[Sign]]) -> NDArray[np.bool_]:  # uint8 (N, 3, S, S) -> (N, sizes, 8)
    """Which letters are read right where they were drawn, or would have been; none where a line has no more of them."""
    return np.array([[right(image, sign) for sign in some] for image, some in zip(images.numpy(), signs, strict=True)])


def right(image: NDArray[np.uint8], sign: Sign) -> NDArray[np.bool_]:  # (3, S, S) -> (8,)
    reading = read(image, sign.line, sign.ink, sign.paper)
    found = [written == read_as for written, read_as in zip(reading.text, reading.read_as, strict=True)]
    return np.pad(found, (0, MOST_LETTERS - len(found)))
