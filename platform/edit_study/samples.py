"""Pictures of the report: pairs chosen at random, and what became of them through each model.

Neither a measure nor an eye has a say in which pairs are shown: they follow from the study's seed.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from unlatent.platform.edit_study.attempts import DERIVED, FREE, MASKED
from unlatent.platform.edit_study.comparing import Answer, reconstruction
from unlatent.platform.edit_study.study import Outcome
from unlatent.platform.generation import image_grid, to_image, to_png
from unlatent.platform.lettering import Box
from unlatent.platform.report.thumbnails import data_uri
from unlatent.platform.report.wording import number
from unlatent.platform.scenes import CLASSES, EditPair

SHOWN = 6  # pairs
AMPLIFIED = 4  # times, of differences that are shown
NOT_COUNTED = 56  # grey level of the place of the objects in differences
AROUND = 2  # pixels around a sign's plate
TOLD = {FREE: "", MASKED: ", masked", DERIVED: ", derived mask"}
GRID_PIXELS = 160  # about as wide as an image is in the PNG
HEADER_PIXELS, FONT_PIXELS, LETTER_PIXELS = 44, 12, 7  # of its columns' names, in two lines


@dataclass(frozen=True)
class Shown:
    """One image of a pair, as data URIs of PNG files."""

    name: str
    note: str
    image: str
    sign: str
    difference: str  # to the source, beyond the place of the objects; empty for what is no edit


@dataclass(frozen=True)
class Example:
    number: int  # of the pair
    source: list[tuple[str, bool]]  # words of the caption, and whether the edit changes them
    target: list[tuple[str, bool]]
    images: list[Shown]


def chosen_pairs(answer: Answer) -> list[int]:
    """At random, by the study's seed."""
    attempt = answer.first.outcomes[0].attempt
    count = len(attempt.pairs)
    return sorted(np.random.default_rng([attempt.seed, count]).permutation(count)[:SHOWN].tolist())


def columns_of(answer: Answer) -> list[tuple[str, Outcome]]:
    """The edits that are compared, free and with masks, and what encode and decode alone make of a source."""
    found = []
    for way in answer.ways:
        found += [(f"{group.through}{TOLD[way]}", answer.shown(group, way)) for group in answer.groups]
    for group in answer.groups:
        if alone := reconstruction(group.outcomes):
            found.append((f"{group.through}, no edit", alone))
    return found


def examples(answer: Answer) -> list[Example]:
    pairs, columns = answer.first.outcomes[0].attempt.pairs, columns_of(answer)
    return [example(number, pairs[number], columns) for number in chosen_pairs(answer)]


def example(number_of: int, pair: EditPair, columns: Sequence[tuple[str, Outcome]]) -> Example:
    source, target = torch.from_numpy(pair.source.copy()), torch.from_numpy(pair.target.copy())
    images = [
        shown(pair, "source", CLASSES[pair.source_label], source, False),
        shown(pair, "true target", CLASSES[pair.target_label], target, False),
    ]
    for name, outcome in columns:
        images.append(shown(pair, name, told_of(outcome, number_of), outcome.images[number_of], True))
    words = list(zip(pair.source_caption.split(), pair.target_caption.split(), strict=True))
    return Example(
        number=number_of,
        source=[(before, before != after) for before, after in words],
        target=[(after, before != after) for before, after in words],
        images=images,
    )


def shown(pair: EditPair, name: str, note: str, image: Tensor, is_edit: bool) -> Shown:
    left, top, right, bottom = sign_box(pair)
    difference = as_uri(background_difference(pair, image)) if is_edit else ""
    return Shown(name, note, as_uri(image), as_uri(image[:, top:bottom, left:right]), difference)


def told_of(outcome: Outcome, number_of: int) -> str:
    """`red star; MSE 0.0021; 3 of 4 letters`."""
    measured = outcome.measured
    error = number(measured.background_errors[number_of], 2)
    letters = f"{measured.letters_right[number_of]:.0f} of {measured.letters[number_of]:.0f} letters"
    return f"{CLASSES[measured.classes[number_of]]}; MSE {error}; {letters}"


def sign_box(pair: EditPair) -> Box:
    size = pair.source.shape[-1]
    left, top, right, bottom = pair.scene.sign.plate
    return max(0, left - AROUND), max(0, top - AROUND), min(size, right + AROUND), min(size, bottom + AROUND)


def background_difference(pair: EditPair, image: Tensor) -> Tensor:  # uint8 (3, H, W) -> uint8 (3, H, W)
    """To the source, of each value, four times over; grey where the objects are, which does not count."""
    differs = (AMPLIFIED * np.abs(image.numpy().astype(int) - pair.source)).clip(max=255).astype(np.uint8)
    return torch.from_numpy(np.where(pair.background_mask, differs, np.uint8(NOT_COUNTED)))


def as_uri(image: Tensor) -> str:
    return data_uri(to_png(to_image(image)))


def png_grid(answer: Answer) -> bytes:
    """The same pairs as one picture, a row each, with the names of its columns on top."""
    pairs, columns = answer.first.outcomes[0].attempt.pairs, columns_of(answer)
    rows = []
    for number_of in chosen_pairs(answer):
        pair = pairs[number_of]
        rows += [torch.from_numpy(pair.source.copy()), torch.from_numpy(pair.target.copy())]
        rows += [outcome.images[number_of] for _, outcome in columns]
    names, images = ["source", "true target", *(name for name, _ in columns)], torch.stack(rows)
    scale = -(-GRID_PIXELS // images.shape[-1])
    grid = image_grid(images, len(names), scale)
    picture = Image.new("RGB", (grid.width, grid.height + HEADER_PIXELS), "white")
    picture.paste(grid, (0, HEADER_PIXELS))
    brush, step = ImageDraw.Draw(picture), scale * (images.shape[-1] + 1)
    for place, name in enumerate(names):
        told = textwrap.fill(name, step // LETTER_PIXELS)
        brush.text((place * step + 2, 4), told, "black", font=ImageFont.load_default(FONT_PIXELS))
    return to_png(picture)
