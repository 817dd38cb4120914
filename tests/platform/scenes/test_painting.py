from dataclasses import replace

import numpy as np
import pytest

from unlatent.platform.legibility import read
from unlatent.platform.scenes.painting import paint
from unlatent.platform.scenes.scene import scene_at
from unlatent.platform.scenes.shapes import COLOURS, SHAPES, coverage
from unlatent.platform.scenes.textures import texture


@pytest.mark.parametrize("image_size", [64, 144])
def test_outside_the_masks_there_is_the_texture_alone(image_size):
    for index in range(60):
        scene = scene_at(0, "images", index, image_size)
        painting = paint(scene)
        behind = texture(scene.texture, image_size, False, scene.texture_seed).transpose(2, 0, 1)

        assert painting.image.shape == (3, image_size, image_size) and painting.image.dtype == np.uint8
        assert not (painting.object_mask & painting.sign_mask).any()
        outside = ~(painting.object_mask | painting.sign_mask)
        assert (painting.image[:, outside] == behind[:, outside]).all()


def test_the_masks_are_just_what_is_drawn():
    """Another colour of the object, or of the paper, changes the pixels of its mask and no others."""
    for index in range(40):
        scene = scene_at(0, "images", index, 96)
        painting = paint(scene)

        light, dark = (paint(replace(scene, colour=colour, tint=(0, 0, 0))).image for colour in ("yellow", "blue"))
        left, top, right, bottom = scene.sign.plate
        assert ((light != dark).any(axis=0) == painting.object_mask).all()
        assert painting.sign_mask[top:bottom, left:right].mean() > 0.97  # but for the round corners
        assert painting.sign_mask.sum() == painting.sign_mask[top:bottom, left:right].sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_covers_the_area_that_its_outline_encloses(shape):
    outline = np.array(SHAPES[shape])
    x, y = outline.T
    area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2  # positive: clockwise on an image

    for radius, tolerance in ((7.3, 0.08), (40.6, 0.02)):
        covered = np.asarray(coverage(SHAPES[shape], 128, (64.4, 60.7), radius, 8)).sum() / 255
        assert covered == pytest.approx(area * radius**2, rel=tolerance)
    assert np.hypot(x, y).max() == pytest.approx(1, abs=0.01)


def test_the_object_has_its_colour():
    scene = scene_at(0, "images", 0, 256)
    for name, colour in COLOURS.items():
        painting = paint(replace(scene, colour=name, tint=(0, 0, 0)))
        x, y = map(int, scene.centre)

        assert painting.image[:, y, x].tolist() == list(colour)


@pytest.mark.parametrize(("image_size", "count"), [(64, 100), (128, 60), (256, 20), (512, 12)])
def test_every_sign_can_be_read(image_size, count):
    for index in range(count):
        for split in ("images", "pairs"):
            scene = scene_at(1, split, index, image_size)

            reading = read(paint(scene).image, scene.sign.line, scene.sign.ink, scene.sign.paper)

            assert reading.read_as == scene.sign.line.text
