import pytest
import torch
import torch.nn.functional as F

from unlatent.models.layout import join, patch_vectors, split


@pytest.mark.parametrize("window", [1, 2, 4])
def test_join_undoes_split(window):
    image = torch.randn(2, 3, 8, 12)

    assert torch.equal(join(split(image, 4, window), 4, window, rows=2), image)


def test_pixels_of_a_patch_stand_window_by_window():
    image = torch.arange(16.0).view(1, 1, 4, 4)

    assert split(image, 4, 2).flatten().tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    assert split(image, 4, 4).flatten().tolist() == list(range(16))
    assert split(image, 4, 1).flatten().tolist() == list(range(16))


def test_patch_vectors_are_those_of_unfold():
    image = torch.randn(2, 3, 8, 12)

    assert torch.equal(patch_vectors(image, 4), F.unfold(image, 4, stride=4).transpose(1, 2))


def test_patches_stand_in_the_same_order_as_vectors_and_as_pixels():
    image = torch.randn(1, 3, 8, 12)

    by_channel = patch_vectors(image, 4).unflatten(-1, (3, 16)).transpose(2, 3)

    assert torch.equal(split(image, 4, 4), by_channel)
