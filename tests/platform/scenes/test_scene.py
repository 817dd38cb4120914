import math
import re

import pytest

from unlatent.platform.scenes.scene import CLASSES, SIZES, Scene, pair_at, scene_at
from unlatent.platform.scenes.shapes import COLOURS, SHAPES
from unlatent.platform.scenes.textures import TEXTURES

SAID = re.compile(
    r"a (?P<size>\w+) (?P<colour>\w+) (?P<shape>\w+) (in the|on the) (?P<place>\w+)"
    r" in front of (?P<texture>\w+) with a sign (?P<text>[A-Z]{3,5}) at the (?P<sign_place>\w+)"
)


def scenes(count: int, image_size: int = 64) -> list[Scene]:
    return [scene_at(0, "images", index, image_size) for index in range(count)]


def test_a_scene_follows_from_its_position_alone():
    scene = scene_at(3, "images", 5, 64)

    assert scene == scene_at(3, "images", 5, 64)
    others = [scene_at(4, "images", 5, 64), scene_at(3, "images", 6, 64), scene_at(3, "pairs", 5, 64)]
    assert len({(each.sign.line.text, each.centre) for each in [scene, *others]}) == 4


def test_captions_say_all_there_is_in_few_short_words():
    for scene in scenes(300):
        said = SAID.fullmatch(scene.caption)

        assert said, scene.caption
        for name in ("size", "colour", "shape", "place", "texture"):
            assert said[name] == getattr(scene, name)
        assert (said["text"], said["sign_place"]) == (scene.sign.line.text, scene.sign.place)
        words = scene.caption.split()
        assert scene.caption.isascii() and len(words) <= 20 and max(map(len, words)) <= 8


def test_the_words_for_places_and_sizes_are_true():
    for scene in scenes(300):
        third = 3 * scene.centre[0] / scene.image_size
        assert {"left": third < 1, "middle": 1.3 < third < 1.7, "right": third > 2}[scene.place]
        smallest, largest = SIZES[scene.size]
        assert smallest <= scene.radius / scene.image_size <= largest


@pytest.mark.parametrize("image_size", [64, 80, 112, 128, 256, 336, 512])
def test_objects_and_signs_lie_in_the_image_and_clear_of_one_another(image_size):
    for scene in scenes(300, image_size):
        (x, y), (left, top, right, bottom) = scene.centre, scene.sign.plate

        assert 0 <= left < right <= image_size and 0 <= top < bottom <= image_size
        assert scene.radius < min(x, y, image_size - x, image_size - y)
        nearest = (min(max(x, left), right), min(max(y, top), bottom))
        assert math.dist((x, y), nearest) > scene.radius + 1


def test_classes_take_turns_and_are_shape_and_colour():
    found = scenes(90)

    assert [scene.label for scene in found] == 3 * list(range(30)) and len(CLASSES) == 30
    assert {scene.texture for scene in found} == set(TEXTURES)
    assert all(CLASSES[scene.label] == f"{scene.colour} {scene.shape}" for scene in found)


def test_pairs_differ_in_the_colour_or_the_shape_and_in_nothing_else():
    changes = []
    for index in range(200):
        source, target, changed = pair_at(0, index, 64)

        differing = [name for name, value in vars(source).items() if value != getattr(target, name)]
        assert differing == [changed] and source == scene_at(0, "pairs", index, 64)
        changes.append((changed, getattr(target, changed)))

    assert set(changes) == {("colour", colour) for colour in COLOURS} | {("shape", shape) for shape in SHAPES}


@pytest.mark.parametrize("image_size", [0, 48, 72, 528])
def test_sizes_that_scenes_are_not_drawn_in_are_refused(image_size):
    refused = f"image_size={image_size} is not a multiple of 16 from 64 to 512; 64 would do"
    with pytest.raises(ValueError, match=refused):
        scene_at(0, "images", 0, image_size)
    with pytest.raises(ValueError, match=refused):
        pair_at(0, 0, image_size)
