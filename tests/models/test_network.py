import torch

from unlatent.models import PixelTransformer


def test_a_new_network_says_zero(config, make_inputs):
    x, t, label = make_inputs(config, 2)

    velocity = PixelTransformer(config)(x, t, label)

    says = velocity if config.prediction == "velocity" else velocity * (1 - t[:, None, None, None]) + x
    assert says.abs().max() < 1e-6
    if config.prediction == "velocity":
        assert torch.equal(velocity, torch.zeros_like(x))


def test_every_weight_matters(config, make_network, make_inputs):
    network = make_network(config)
    x, t, _ = make_inputs(config, 11)

    network(x, t, torch.arange(11)).square().mean().backward()

    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_row_alone_equals_the_row_among_seven_others(config, make_network, make_inputs):
    network = make_network(config)
    x, t, label = make_inputs(config, 8)

    with torch.no_grad():
        together = network(x, t, label)
        alone = torch.cat([network(x[i : i + 1], t[i : i + 1], label[i : i + 1]) for i in range(8)])

    error = (alone - together).abs()
    if config.prediction == "data":  # of the data themselves: their velocity has it up to 20 times over, near t = 1
        error = error * (1 - t).clamp(min=0.05)[:, None, None, None]
    assert error.max() < 1e-5


def test_the_network_is_one_graph(config, make_network, make_inputs):
    network = make_network(config)
    inputs = make_inputs(config, 2)
    torch.compiler.reset()

    compiled = torch.compile(network, backend="eager", fullgraph=True)

    torch.testing.assert_close(compiled(*inputs), network(*inputs))


def test_label_and_time_change_the_velocity(config, make_network, make_inputs):
    network = make_network(config)
    x, t, _ = make_inputs(config, 1)
    label, other = torch.tensor([3]), torch.tensor([network.null_label])

    assert not torch.allclose(network(x, t, label), network(x, t, other))
    assert not torch.allclose(network(x, t, label), network(x, t / 2, label))


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
