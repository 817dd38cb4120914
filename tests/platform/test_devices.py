import torch
from torch import nn

from unlatent.models.network import PixelTransformer
from unlatent.models.presets import preset
from unlatent.platform.devices import forget_earlier_work

SIZES = {"image_size": 8, "channels": 1, "classes": 10, "heads": 2, "patch_depth": 1, "pixel_depth": 1}


def test_more_networks_than_a_process_may_hold_graphs_of_are_compiled_one_after_another():
    noisy, t, labels = torch.randn(2, 1, 8, 8), torch.rand(2), torch.zeros(2, dtype=torch.long)

    for width in (16, 24, 32, 40):
        forget_earlier_work()
        network = PixelTransformer(preset("tiny", width=width, **SIZES))
        nn.Module.compile(network, fullgraph=True, backend="eager", recompile_limit=2)  # beyond which it is an error

        assert network(noisy, t, labels).shape == noisy.shape
