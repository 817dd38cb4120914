from dataclasses import replace

import pytest
import torch
from torch._dynamo.utils import counters

from unlatent.models import PixelTransformer, Text, TextConfig
from unlatent.models.byte_text import byte_text
from unlatent.models.recomputation import RECOMPUTATIONS


def test_a_new_network_says_zero(config, make_inputs):
    x, t, condition = make_inputs(config, 2)

    velocity = PixelTransformer(config)(x, t, condition)

    says = velocity if config.prediction == "velocity" else velocity * (1 - t[:, None, None, None]) + x
    assert says.abs().max() < 1e-6
    if config.prediction == "velocity":
        assert torch.equal(velocity, torch.zeros_like(x))


def test_every_weight_that_can_learn_matters(config, make_network, make_inputs):
    network = make_network(config)
    x, t, condition = make_inputs(config, 11)
    if config.condition == "class":
        condition = torch.arange(11)

    network(x, t, condition).square().mean().backward()

    for name, parameter in network.named_parameters():
        learns = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert learns == parameter.requires_grad, name


def rows_of(condition, rows):
    return Text(*(part[rows] for part in condition)) if isinstance(condition, Text) else condition[rows]


def test_a_row_alone_equals_the_row_among_seven_others(config, make_network, make_inputs):
    network = make_network(config)
    x, t, condition = make_inputs(config, 8)

    with torch.no_grad():
        together = network(x, t, condition)
        alone = [network(x[i : i + 1], t[i : i + 1], rows_of(condition, slice(i, i + 1))) for i in range(8)]

    alone = torch.cat(alone)
    error = (alone - together).abs()
    if config.prediction == "data":  # of the data themselves: their velocity has it up to 20 times over, near t = 1
        error = error * (1 - t).clamp(min=0.05)[:, None, None, None]
    assert error.max() < 1e-5


def test_the_network_is_one_graph_for_training_and_one_for_sampling(config, make_network, make_inputs):
    network, compiled = make_network(config), PixelTransformer(config)
    compiled.load_state_dict(network.state_dict())
    compiled.set_recompute("modulation")
    torch.compiler.reset()
    counters.clear()

    compile_eagerly(compiled)
    for count in (2, 3, 5):
        inputs = make_inputs(config, count)
        torch.testing.assert_close(compiled(*inputs), network(*inputs))
        compiled(*inputs).sum().backward()
    for count in (4, 2, 3):
        with torch.no_grad():
            compiled(*make_inputs(config, count))

    assert counters["stats"]["unique_graphs"] == 2


@pytest.mark.slow
def test_a_compiled_network_has_a_graph_for_each_size_of_images_up_to_a_limit(make_config, make_network, monkeypatch):
    monkeypatch.setattr("unlatent.models.network.sparing", "eager")
    monkeypatch.setattr("unlatent.models.network.MOST_SIZES", 2)
    torch.compiler.reset()
    network = make_network(make_config())
    patch, channels = network.config.patch_size, network.config.channels
    sizes = [(2, 2), (2, 3), (1, 4)]
    images = [torch.randn(2, channels, rows * patch, columns * patch) for rows, columns in sizes]
    t, label = torch.rand(2), torch.zeros(2, dtype=torch.long)
    truths = [network(image, t, label) for image in images]

    network.compile()

    for image, truth in zip(images[:2], truths, strict=False):
        torch.testing.assert_close(network(image, t, label), truth)
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        network(images[2], t, label)


def compile_eagerly(network):
    """As `network.compile()`, without the code that a backend would write: that takes a minute a network."""
    torch.nn.Module.compile(network, fullgraph=True, backend="eager")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_compiled_network_says_what_the_network_says(make_config, make_network, make_inputs, dtype):
    network, compiled = make_network(make_config()), PixelTransformer(make_config())
    compiled.load_state_dict(network.state_dict())
    compiled.set_recompute("modulation")
    torch.compiler.reset()
    inputs = make_inputs(network.config, 4)
    compiled.compile()
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]

    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        said = compiled(*inputs).float()
    said.square().mean().backward()
    truth = network(*inputs)
    truth.square().mean().backward()

    assert (said - truth).norm() < tolerance * truth.norm()
    for ours, theirs in zip(compiled.parameters(), network.parameters(), strict=True):
        assert (ours.grad - theirs.grad).norm() < 5 * tolerance * theirs.grad.norm() + 1e-6


@pytest.mark.parametrize("what", RECOMPUTATIONS)
def test_recomputation_changes_no_gradient(config, make_network, make_inputs, what):
    network, inputs = make_network(config), make_inputs(config, 2)
    network(*inputs).square().mean().backward()
    gradients = [p.grad for p in network.parameters()]
    network.zero_grad()

    network.set_recompute(what)
    network(*inputs).square().mean().backward()

    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_an_unknown_recomputation_is_refused(make_config):
    with pytest.raises(ValueError, match="recompute='all' is not known; none, modulation or blocks would do"):
        PixelTransformer(make_config()).set_recompute("all")


def test_the_pixel_stream_stays_in_bfloat16(config, make_network, make_inputs):
    network, seen = make_network(config), {}
    for name, module in network.named_modules():
        if name.endswith(("norm_mlp", "norm_attend", "decoder.norm", "attend.out", "norm_q")):
            module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.dtype}))

    with torch.autocast("cpu", torch.bfloat16):
        velocity = network(*make_inputs(config, 2))

    assert velocity.dtype == (torch.bfloat16 if config.prediction == "velocity" else torch.float32)
    assert seen and set(seen.values()) == {torch.bfloat16}


def test_features_are_what_a_patch_block_says(config, make_network, make_inputs):
    network, inputs, said = make_network(config), make_inputs(config, 2), []
    block = network.patch_blocks[0]
    block.register_forward_hook(lambda _, __, output: said.append(output))

    velocity, features = network(*inputs, features=1)

    torch.testing.assert_close(velocity, network(*inputs))
    assert features is (said[0][0] if config.condition == "text" else said[0])
    assert features.shape == (2, config.grid**2, config.width)


def test_other_sides_than_its_own_are_as_of_a_network_made_for_them(config, make_network, make_inputs):
    network = make_network(config)
    for_larger = PixelTransformer(replace(config, image_size=2 * config.image_size))
    for_larger.load_state_dict(network.state_dict())
    x, t, condition = make_inputs(for_larger.config, 2)

    torch.testing.assert_close(network(x, t, condition), for_larger(x, t, condition))


def test_oblong_images_are_taken_and_broken_patches_refused(config, make_network, make_inputs):
    network = make_network(config)
    x, t, condition = make_inputs(config, 2)
    half = x[..., : config.image_size // 2]

    assert network(half, t, condition).shape == half.shape
    with pytest.raises(ValueError, match=f"is not a whole number of patches of patch_size={config.patch_size}"):
        network(x[..., 1:], t, condition)


def test_padding_of_a_text_changes_nothing(make_config, make_network, make_inputs):
    network = make_network(make_config(condition="text", text=TextConfig(width=12, tokens=7)))
    x, t, _ = make_inputs(network.config, 2)
    tokens = torch.randn(2, 4, 12)
    padding = torch.randn(2, 3, 12)
    mask = torch.tensor([[True] * 4 + [False] * 3] * 2)

    padded = network(x, t, Text(torch.cat([tokens, padding], dim=1), mask))

    torch.testing.assert_close(padded, network(x, t, tokens))


def test_how_a_network_reads_bytes_is_learned_with_it(make_config, make_network, make_inputs):
    network = make_network(make_config(condition="text", text=TextConfig(encoder="bytes", width=16, tokens=7)))
    x, t, _ = make_inputs(network.config, 2)

    velocity = network(x, t, byte_text(["a red circle", "a red square"], 7))
    velocity.square().mean().backward()

    gradient = network.embed_bytes.byte.weight.grad.abs().sum(dim=1)
    assert set(gradient.nonzero().flatten().tolist()) == set(b"aredcirclesquare")


def test_no_text_is_what_the_empty_one_is(make_config, make_network, make_inputs):
    network = make_network(make_config(condition="text", text=TextConfig(encoder="bytes", width=16, tokens=7)))
    x, t, _ = make_inputs(network.config, 2)

    torch.testing.assert_close(network(x, t, network.unconditional(2)), network(x, t, byte_text(["", "  "], 7)))


def test_padding_is_seen_where_published_weights_want_it(make_config, make_network, make_inputs):
    text = TextConfig(width=12, tokens=7, mask_padding=False)
    network = make_network(make_config(condition="text", text=text))
    x, t, _ = make_inputs(network.config, 2)
    tokens = torch.randn(2, 7, 12)

    masked = network(x, t, Text(tokens, torch.tensor([[True] * 4 + [False] * 3] * 2)))

    torch.testing.assert_close(masked, network(x, t, tokens))


def test_a_text_that_is_too_long_is_refused(make_config, make_inputs):
    network = PixelTransformer(make_config(condition="text", text=TextConfig(width=12, tokens=7)))
    x, t, _ = make_inputs(network.config, 1)

    with pytest.raises(ValueError, match=r"a text of 8 tokens is longer than text\.tokens=7"):
        network(x, t, torch.randn(1, 8, 12))


@pytest.mark.parametrize("tokens", [torch.zeros(1, 7, 13), torch.zeros(1, 12), torch.zeros(1)])
def test_tokens_of_another_shape_are_refused(make_config, make_inputs, tokens):
    network = PixelTransformer(make_config(condition="text", text=TextConfig(width=12, tokens=7)))
    x, t, _ = make_inputs(network.config, 1)

    with pytest.raises(ValueError, match=r"are not \(B, T, 12\), with text\.width=12"):
        network(x, t, tokens)


def test_condition_and_time_change_the_velocity(config, make_network, make_inputs):
    network = make_network(config)
    x, t, _ = make_inputs(config, 1)
    _, _, both = make_inputs(config, 2)
    condition, other = rows_of(both, slice(0, 1)), rows_of(both, slice(1, 2))
    if config.condition == "class":
        condition, other = torch.tensor([3]), network.unconditional(1)

    assert not torch.allclose(network(x, t, condition), network(x, t, other))
    assert not torch.allclose(network(x, t, condition), network(x, t / 2, condition))


def test_the_null_label_comes_after_the_classes(make_config):
    network = PixelTransformer(make_config(classes=7))

    assert network.null_label == 7
    assert network.embed_label.num_embeddings == 8


def test_predicted_data_become_a_velocity(make_config, make_network, make_inputs):
    says_data = make_network(make_config(prediction="data"))
    says_velocity = PixelTransformer(make_config())
    says_velocity.load_state_dict(says_data.state_dict())
    x, _, label = make_inputs(says_data.config, 3)
    t = torch.tensor([0.0, 0.6, 0.99])

    data = says_velocity(x, t, label)

    rest = torch.tensor([1.0, 0.4, 0.05])[:, None, None, None]  # never less than 0.05
    torch.testing.assert_close(says_data(x, t, label), (data - x) / rest)


def test_tables_stay_out_of_checkpoints(config):
    network = PixelTransformer(config)

    assert network.state_dict().keys() == dict(network.named_parameters()).keys()


def test_weights_start_as_published(make_config):
    network = PixelTransformer(make_config(width=128))

    assert network.embed_patch.weight.abs().max() <= (6 / (48 + 128)) ** 0.5  # Xavier, uniform
    assert network.embed_patch.bias.abs().max() == 0
    for weight in (network.embed_label.weight, network.embed_time.mlp[0].weight, network.embed_time.mlp[2].weight):
        assert abs(weight.std() - 0.02) < 0.002
