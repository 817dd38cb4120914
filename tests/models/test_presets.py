import pytest
import torch

from unlatent.models import PixelTransformer
from unlatent.models.cost import parameters
from unlatent.models.presets import PRESETS, preset


@pytest.mark.parametrize(("name", "millions"), [("b", 184.7), ("l", 569.6), ("xl", 797.4), ("text", 1302.5)])
def test_published_sizes_have_the_published_number_of_parameters(name, millions):
    with torch.device("meta"):
        network = PixelTransformer(preset(name))

    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions
    assert round(parameters(preset(name)) / 1e6, 1) == millions


def test_every_preset_is_a_configuration_and_takes_changes():
    assert [preset(name, patch_size=8, image_size=64).patch_size for name in PRESETS] == [8] * len(PRESETS)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="preset='xxl' is not known; tiny, text_tiny, b, l, xl or text would do"):
        preset("xxl")
