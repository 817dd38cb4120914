import numpy as np

from unlatent.platform import digits


def test_they_are_grey_images_over_the_whole_range_of_bytes():
    pixels, labels, _ = digits.load(8)

    assert (pixels.shape, pixels.dtype) == ((1797, 1, 8, 8), np.uint8)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert sorted(set(labels.tolist())) == list(range(10))


def test_a_fifth_of_every_class_is_held_out():
    _, labels, held_out = digits.load(8)

    share = np.bincount(labels[held_out]) / np.bincount(labels)

    assert (abs(share - 0.2) < 0.01).all()
