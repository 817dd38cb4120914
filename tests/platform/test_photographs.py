import subprocess
import sys

import numpy as np
import pytest

from unlatent.platform import photographs
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.store import Store

CODE = """if True:
    import sys
    sys.modules["skimage"] = None  # as where it is not installed
    from unlatent.platform.photographs import load
    try:
        load(32)
    except ValueError as refused:
        print(refused)
"""


def test_crops_are_colour_images_of_any_small_size_and_every_class_has_as_many():
    for size in (32, 48, 64):
        pixels, labels, held_out = photographs.load(size)

        assert (pixels.shape, pixels.dtype) == ((5000, 3, size, size), np.uint8)
        assert np.bincount(labels).tolist() == [500] * 10
        assert np.bincount(labels[held_out]).tolist() == [100] * 10
        assert len({crop.tobytes() for crop in pixels}) > 4900, "but for a dark sky, none is there twice"


def test_the_same_crops_come_every_time():
    first, again = (open_dataset(DataConfig(kind="photographs", image_size=32), Store("store")) for _ in range(2))

    assert first.hash == again.hash
    assert (first.name, first.channels, len(first.classes)) == ("photographs", 3, 10)


def test_no_pixel_of_a_held_out_crop_is_in_a_crop_to_train_on():
    columns = np.arange(200, dtype=np.uint8)  # every pixel says where it comes from
    crops, held_out = photographs.crops_of(np.broadcast_to(columns[:, None], (128, 200, 3)), 32)

    trained = set(crops[~held_out].ravel().tolist())

    assert not trained & set(crops[held_out].ravel().tolist())
    assert trained | set(crops[held_out].ravel().tolist()) == set(range(200))


@pytest.mark.parametrize("size", [16, 128])
def test_what_the_photographs_cannot_give_is_refused(size):
    with pytest.raises(ValueError, match=rf"data.image_size={size}: photographs are crops of 32 to 64 pixels"):
        DataConfig(kind="photographs", image_size=size)


def test_a_missing_package_is_asked_for_in_one_line():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)

    needed = "data.kind=photographs needs the package scikit-image; pip install 'unlatent[photographs]' would do\n"
    assert done.stdout == needed
