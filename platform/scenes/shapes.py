"""What objects of scenes look like: five shapes in six colours, drawn with soft edges."""

import math

from PIL import Image, ImageDraw

from unlatent.platform.lettering import Colour

FINER = 4  # shapes are drawn so many times larger, and averaged
WHOLE = 255  # a pixel that is covered altogether
RIM = 0.08  # of the radius

COLOURS: dict[str, Colour] = {
    "red": (212, 38, 44),
    "orange": (244, 128, 30),
    "yellow": (250, 212, 48),
    "green": (40, 158, 70),
    "blue": (36, 94, 214),
    "purple": (138, 56, 176),
}

Coverage = Image.Image  # of one channel: how much of each pixel is covered, 255 for all of it
Corner = tuple[float, float]
Outline = list[Corner]  # clockwise, within a circle of radius 1, y downwards


def on_circle(corners: int, first_degrees: float = -90, radius: float = 1) -> Outline:
    """The corners of a regular polygon, from the upper one on."""
    turns = [math.radians(first_degrees + 360 * corner / corners) for corner in range(corners)]
    return [(radius * math.cos(turn), radius * math.sin(turn)) for turn in turns]


def star(points: int = 5, inner: float = 0.46) -> Outline:
    pairs = zip(on_circle(points), on_circle(points, -90 + 180 / points, inner), strict=True)
    return [corner for pair in pairs for corner in pair]


def cross(arm: float = 0.3, reach: float = 0.95) -> Outline:
    quarter = [(arm, -reach), (arm, -arm), (reach, -arm)]
    half = quarter + [(-y, x) for x, y in quarter]
    return half + [(-x, -y) for x, y in half]


SHAPES: dict[str, Outline] = {
    "circle": on_circle(180),
    "square": on_circle(4, -45),
    "triangle": on_circle(3),
    "star": star(),
    "cross": cross(),
}


def inset(outline: Outline, distance: float) -> Outline:
    """The outline whose edges lie so much further inwards."""
    inwards = [inward(first, second) for first, second in zip(outline, outline[1:] + outline[:1], strict=True)]
    found = []
    for (x, y), (u1, v1), (u2, v2) in zip(outline, inwards[-1:] + inwards[:-1], inwards, strict=True):
        along = distance / (1 + u1 * u2 + v1 * v2)
        found.append((x + along * (u1 + u2), y + along * (v1 + v2)))
    return found


def inward(first: Corner, second: Corner) -> tuple[float, float]:
    """The direction, of length 1, from an edge into the shape."""
    length = math.dist(first, second)
    return (first[1] - second[1]) / length, (second[0] - first[0]) / length


def coverage(
    outline: Outline, image_size: int, centre: tuple[float, float], radius: float, turn_degrees: float
) -> Coverage:
    """A shape's, around a centre (x, y) and within a radius in pixels. Exactly 0 wherever it does not reach."""
    cos, sin = math.cos(math.radians(turn_degrees)), math.sin(math.radians(turn_degrees))
    left, top = (int(middle - radius) - 1 for middle in centre)
    side = 2 * int(radius) + 5  # pixels of the part that is drawn
    x_fine, y_fine, scale = FINER * (centre[0] - left), FINER * (centre[1] - top), FINER * radius
    corners = [(x_fine + scale * (cos * x - sin * y), y_fine + scale * (sin * x + cos * y)) for x, y in outline]
    fine = Image.new("L", (FINER * side, FINER * side))
    ImageDraw.Draw(fine).polygon(corners, fill=WHOLE)
    whole = Image.new("L", (image_size, image_size))
    whole.paste(fine.reduce(FINER), (left, top))
    return whole
