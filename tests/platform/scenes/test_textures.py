import numpy as np
import pytest

from unlatent.platform.scenes.textures import PHOTOGRAPHED, TEXTURES, cut, part_of, photographed, texture


def test_no_pixel_of_a_photograph_is_in_training_and_held_out():
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None], (150, 200, 3))  # each says where it comes from

    trained, held_out = (set(part_of(columns, part).ravel().tolist()) for part in (False, True))

    assert not trained & held_out and trained | held_out == set(range(200))


def test_photographed_textures_are_cut_from_their_part_alone():
    halves = np.zeros((400, 512, 3), np.uint8)
    halves[:, 256:] = 200

    for image_size in (64, 512):
        for seed in range(20):
            generator = np.random.default_rng(seed)
            assert not cut(part_of(halves, held_out=False), image_size, generator).any()
            assert (cut(part_of(halves, held_out=True), image_size, generator) == 200).all()


@pytest.mark.parametrize("name", PHOTOGRAPHED)
def test_each_photograph_has_room_for_many_textures_in_either_part(name):
    height, width, channels = photographed(name).shape

    assert height >= 512 and width >= 512 and channels == 3
    for held_out in (False, True):
        assert len({texture(name, 64, held_out, seed).tobytes() for seed in range(50)}) == 50


@pytest.mark.parametrize("name", TEXTURES)
def test_a_texture_follows_from_its_seed(name):
    first, again, other = (texture(name, 80, False, seed) for seed in (1, 1, 2))

    assert (first.shape, first.dtype) == ((80, 80, 3), np.uint8)
    assert (first == again).all() and (first != other).any()
    assert len(np.unique(first)) > 2, "not of one colour"
