"""A scene as pixels, with the masks of its object and its sign."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from unlatent.platform import lettering
from unlatent.platform.image_decoding import to_pixels
from unlatent.platform.lettering import Box
from unlatent.platform.scenes.scene import Scene
from unlatent.platform.scenes.shapes import COLOURS, FINER, RIM, SHAPES, WHOLE, Coverage, coverage, inset
from unlatent.platform.scenes.signs import Sign
from unlatent.platform.scenes.textures import texture

OPACITY = 232  # of 255, a plate's, whose texture shines through a little

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]  # (H, W)


@dataclass(frozen=True)
class Painting:
    """What is in neither mask is the texture alone."""

    image: Pixels  # (3, H, W)
    object_mask: Mask  # every pixel that the object touches
    sign_mask: Mask  # every pixel that the plate touches


def paint(scene: Scene) -> Painting:
    """The same scene gives the same pixels."""
    picture = Image.fromarray(texture(scene.texture, scene.image_size, scene.held_out, scene.texture_seed))
    whole = draw_object(picture, scene)
    plate = draw_sign(picture, scene.sign)
    return Painting(to_pixels(picture), np.asarray(whole) > 0, np.asarray(plate) > 0)


def draw_object(picture: Image.Image, scene: Scene) -> Coverage:
    outline, place = SHAPES[scene.shape], (scene.image_size, scene.centre, scene.radius, scene.turn_degrees)
    fill = tuple((np.array(COLOURS[scene.colour]) + scene.tint).clip(0, 255).tolist())
    rim = tuple(value // 2 for value in fill)
    whole = coverage(outline, *place)
    picture.paste(rim, mask=whole)
    picture.paste(fill, mask=coverage(inset(outline, RIM), *place))
    return whole


def draw_sign(picture: Image.Image, sign: Sign) -> Coverage:
    edge = max(1, sign.line.letter_pixels // 12)
    left, top, right, bottom = sign.plate
    plate = rounded(picture.width, sign.plate, 3 * edge)
    within = rounded(picture.width, (left + edge, top + edge, right - edge, bottom - edge), 2 * edge)
    picture.paste(sign.paper, mask=plate.point(lambda covered: covered * OPACITY // WHOLE))
    picture.paste(sign.ink, mask=ImageChops.subtract(plate, within))
    lettering.draw(picture, sign.line, sign.ink)
    return plate


def rounded(image_size: int, box: Box, radius_pixels: int) -> Coverage:
    """A box with round corners."""
    left, top, right, bottom = box
    fine = Image.new("L", (FINER * (right - left), FINER * (bottom - top)))
    corner = (fine.width - 1, fine.height - 1)
    ImageDraw.Draw(fine).rounded_rectangle(((0, 0), corner), FINER * radius_pixels, fill=WHOLE)
    whole = Image.new("L", (image_size, image_size))
    whole.paste(fine.reduce(FINER), (left, top))
    return whole
