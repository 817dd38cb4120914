import numpy as np
import pytest
import torch
from torch import nn

from unlatent.platform.features import Extractor, measure, pack, resize, total_power, unpack


class Means(nn.Module):
    """Features are the channels' means; the class is the brightest channel."""

    def forward(self, images):
        means = images.float().mean(dim=(2, 3))
        return means, means


def random_images(count, channels=3, size=8):
    return torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_keeps_channels_and_rounds_nothing(channels):
    small = resize(random_images(2, channels, 16), 6)

    assert small.shape == (2, channels, 6, 6)
    assert not torch.equal(small, small.round())
    assert small.min() >= 0 and small.max() <= 255


def test_resizing_to_the_same_size_changes_nothing():
    images = random_images(2)

    assert torch.equal(resize(images, 8), images.float())


def test_one_grey_stays_that_grey_at_any_size():
    assert torch.allclose(resize(torch.full((1, 1, 12, 12), 77, dtype=torch.uint8), 299), torch.tensor(77.0))


def test_statistics_do_not_depend_on_the_batches():
    images, extractor = random_images(10), Extractor(name="means", hash="0", accuracy=None, network=Means())

    whole, split = (measure(extractor, images.split(size), torch.device("cpu")) for size in (10, 3))

    assert np.array_equal(whole.features, split.features)
    assert np.array_equal(whole.predicted, split.predicted)
    assert np.allclose(whole.power, split.power)
    assert whole.features.shape == (10, 3)


def test_the_spectrum_holds_the_energy_of_the_images():
    images = random_images(5)

    assert total_power(images).sum() / 64 == pytest.approx(images.double().square().sum().item() / 3)


def test_packed_arrays_come_back():
    arrays = unpack(pack({"a": np.arange(3), "device": np.array("cpu")}))

    assert arrays["a"].tolist() == [0, 1, 2]
    assert str(arrays["device"]) == "cpu"
