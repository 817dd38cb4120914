"""Our network, given published weights, says what the published network says."""

import pytest
import torch

from tests.golden import NETWORKS, TOLERANCE, golden, read
from unlatent.models import PixelTransformer, SamplerConfig, sample
from unlatent.models.published import from_published, misfits, to_published
from unlatent.models.published_arguments import config_from_arguments

SETTINGS = {
    "plain": {},
    "guided": {"guidance": 3.25, "guidance_low": 0.1, "guidance_high": 0.9},
    "shifted": {"guidance": 2.0, "guidance_low": 0.1, "guidance_high": 1.0, "shift": 3.0},
}


def network_of(known):
    network = PixelTransformer(known.config)
    network.load_state_dict(from_published(known.tensors, known.config))
    return network


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("precision", "compiled"), [("fp32", False), ("bf16", False), pytest.param("fp32", True, marks=pytest.mark.slow)]
)
def test_the_same_weights_give_the_same_velocity(name, compiled, precision):
    known = golden(name)
    network = network_of(known)
    if compiled:
        torch.compiler.reset()
        network.compile()

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        velocity = network(known.x, known.t, known.condition).float()

    error = velocity - known.velocity
    if precision == "fp32":
        assert error.abs().max() < TOLERANCE
    assert error.norm() < 2e-2 * known.velocity.norm()


@pytest.mark.parametrize("name", ["ab2", "euler"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_same_noise_ends_at_the_same_image(name, setting):
    network, ends = network_of(golden("class_pre_modulation")), read("samplers")
    settings = SamplerConfig(name=name, steps=8, **SETTINGS[setting])

    assert network.null_label == ends["null_label"].item()
    image = sample(network, ends["noise"], ends["labels"], settings, network.unconditional(len(ends["labels"])))

    assert (image - ends[f"{name}/{setting}"]).abs().max() < TOLERANCE


@pytest.mark.parametrize("name", NETWORKS)
def test_our_weights_turn_back_into_the_published_ones(name):
    known = golden(name)

    back = to_published(from_published(known.tensors, known.config), known.config)

    assert back.keys() == known.tensors.keys()
    for key, tensor in known.tensors.items():
        torch.testing.assert_close(back[key], tensor, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_tensors_are_all_that_is_wanted(name):
    known = golden(name)

    assert misfits(known.tensors, known.config) == []


def test_each_tensor_that_does_not_fit_is_named_with_its_shape():
    known = golden("class_pre_modulation")
    tensors = dict(known.tensors)
    tensors["patch_blocks.0.attn.surprise"] = torch.zeros(3)
    tensors["s_embedder.proj.weight"] = torch.zeros(48, 47)
    del tensors["final_layer.linear.bias"]

    assert misfits(tensors, known.config) == [
        "final_layer.linear.bias is missing, (3,)",
        "s_embedder.proj.weight is (48, 47), not (48, 48)",
        "patch_blocks.0.attn.surprise is not of this network, (3,)",
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"hidden_dim": 48}, "hidden_dim is no argument of the published class network; in_channels"),
        ({"txt_max_length": 7, "num_classes": 10}, "num_classes is no argument of the published text network"),
        ({"use_pixel_abs_pos": False}, "use_pixel_abs_pos=False is not built here; True would do"),
        ({"txt_max_length": 7, "text_rope_theta": 5.0}, "text_rope_theta=5.0 is not built here; 10000.0 would do"),
        ({"hidden_size": 50}, "width=50 is not a multiple of 4"),
    ],
)
def test_arguments_that_we_cannot_follow_are_named(arguments, complaint):
    with pytest.raises(ValueError) as refusal:
        config_from_arguments(arguments, image_size=16)

    assert complaint in str(refusal.value)
