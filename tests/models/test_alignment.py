import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unlatent.models import PixelTransformer, flow
from unlatent.models.alignment import AlignmentConfig, Projector, alignment_loss, match_grid

FEATURES = 24


class Edges(nn.Module):
    """A teacher: fixed random filters, then the mean of two by two pixels, with what all images share taken out."""

    width = FEATURES

    def __init__(self, images):
        super().__init__()
        self.filters = nn.Conv2d(1, FEATURES, 3, padding=1)
        self.register_buffer("shared", self.filtered(images).mean(dim=0))

    def filtered(self, images):
        return F.avg_pool2d(self.filters(images).relu(), 2).permute(0, 2, 3, 1)

    def forward(self, images):  # (B, 1, H, W) -> (B, H / 2, W / 2, E)
        return self.filtered(images) - self.shared


@pytest.fixture
def make_small_network(make_config):
    """Of 8 x 8 grey images and 4 x 4 patches, with its projector."""

    def make():
        config = make_config(channels=1, image_size=8, patch_size=2, pixel_width=4, pixel_depth=1)
        return PixelTransformer(config), Projector(64, 64, FEATURES)

    return make


@pytest.fixture
def digits():
    """Images to learn from and others, (N, 1, 8, 8) in [-1, 1]; and the labels of the first."""
    bundled = pytest.importorskip("sklearn.datasets").load_digits()
    images = torch.from_numpy(bundled.images).float()[:, None] / 8 - 1
    return images[:1500], images[1500:], torch.from_numpy(bundled.target)[:1500]


def test_equal_tokens_have_no_loss_whatever_their_length():
    features = torch.randn(2, 3, 4, FEATURES)

    loss = alignment_loss(5 * features.flatten(1, 2), (3, 4), features)

    torch.testing.assert_close(loss, torch.zeros(2), atol=1e-6, rtol=0)


def test_the_loss_is_one_minus_the_cosine_per_image():
    features = torch.tensor([1.0, 0.0]).expand(3, 2, 2, 2)
    projected = torch.tensor([[1.0, 1.0], [0.0, 7.0], [-3.0, 0.0]])[:, None].expand(3, 4, 2)

    loss = alignment_loss(projected, (2, 2), features)

    torch.testing.assert_close(loss, torch.tensor([1 - 0.5**0.5, 1.0, 2.0]))


@pytest.mark.parametrize(
    ("grid", "target"), [((4, 4), (2, 2)), ((4, 6), (2, 3)), ((6, 3), (4, 2)), ((5, 4), (2, 3)), ((8, 2), (3, 3))]
)
def test_a_coarser_teacher_is_compared_with_means(grid, target):
    tokens = torch.randn(2, grid[0] * grid[1], 5)

    matched = match_grid(tokens, grid, target)

    expected = F.adaptive_avg_pool2d(tokens.unflatten(1, grid).permute(0, 3, 1, 2), target)
    torch.testing.assert_close(matched, expected.flatten(2).mT)


@pytest.mark.parametrize(("grid", "target"), [((2, 2), (4, 4)), ((2, 3), (4, 6)), ((4, 2), (7, 3)), ((2, 4), (3, 3))])
def test_a_finer_teacher_is_compared_with_what_lies_between(grid, target):
    tokens = torch.randn(2, grid[0] * grid[1], 5)

    matched = match_grid(tokens, grid, target)

    expected = F.interpolate(tokens.unflatten(1, grid).permute(0, 3, 1, 2), target, mode="bilinear")
    torch.testing.assert_close(matched, expected.flatten(2).mT)


def test_equal_grids_are_compared_as_they_are():
    tokens = torch.randn(2, 6, 5)

    assert torch.equal(match_grid(tokens, (2, 3), (2, 3)), tokens)


@pytest.mark.parametrize("target", [(2, 2), (4, 4), (6, 6)])
def test_autocast_does_not_touch_the_loss(target):
    projected, features = torch.randn(2, 16, FEATURES), torch.randn(2, *target, FEATURES)

    with torch.autocast("cpu", torch.bfloat16):
        loss = alignment_loss(projected, (4, 4), features)

    assert loss.dtype == torch.float32
    assert torch.equal(loss, alignment_loss(projected, (4, 4), features))


@pytest.mark.parametrize("shape", [(8, 8), (4, 8)])
def test_the_gradient_reaches_network_and_projector_and_not_the_teacher(make_small_network, make_network, shape):
    network, projector = make_small_network()
    network, teacher = make_network(network.config), Edges(torch.randn(2, 1, *shape))
    images = torch.randn(2, 1, *shape)

    _, tokens = network(images, torch.rand(2), torch.arange(2), features=1)
    alignment_loss(projector(tokens), (shape[0] // 2, shape[1] // 2), teacher(images)).mean().backward()

    first, second = network.patch_blocks
    assert all(p.grad.abs().sum() > 0 for part in (network.embed_patch, first, projector) for p in part.parameters())
    assert all(p.grad is None for part in (second, network.decoder, teacher) for p in part.parameters())


def test_the_projector_has_the_sizes_published():
    projector = Projector(1152, 1152, 768)

    shapes = [tuple(parameter.shape) for parameter in projector.parameters()]

    assert shapes == [(1152, 1152), (1152,), (1152, 1152), (1152,), (768, 1152), (768,)]
    assert sum(p.numel() for p in Projector(1536, 2048, 768).parameters()) == 8_917_760  # of 1311M, in training


def test_alignment_is_off_until_there_is_a_teacher():
    assert not AlignmentConfig().active
    assert AlignmentConfig(teacher="facebook/dinov2-base").active
    assert not AlignmentConfig(teacher="facebook/dinov2-base", weight=0).active


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"weight": -1.0}, r"alignment\.weight=-1\.0 is not a finite number of 0 or more; 0 means none"),
        ({"weight": float("nan")}, r"alignment\.weight=nan is not a finite number of 0 or more"),
        ({"block": 0}, r"alignment\.block=0 is below 1; 1 or more would do"),
        ({"teacher_patch": 0}, r"alignment\.teacher_patch=0 is below 1"),
        ({"hidden_width": 0}, r"alignment\.hidden_width=0 is below 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        AlignmentConfig(**settings)


def test_a_block_that_the_network_lacks_is_refused_where_it_is_needed():
    AlignmentConfig(block=8).require_block(2)
    AlignmentConfig(block=2, teacher="folder").require_block(2)

    with pytest.raises(ValueError, match=r"alignment\.block=8 is above patch_depth=2; 2 or less would do"):
        AlignmentConfig(block=8, teacher="folder").require_block(2)


def test_training_aligns_unseen_images(make_small_network, digits):
    """More than a projector could that is trained on tokens that nothing draws towards the teacher."""
    seen, unseen, labels = digits
    teacher = Edges(seen)

    def trained(network, projector, to_network, steps):
        optimizer = torch.optim.AdamW([*network.parameters(), *projector.parameters()], lr=1e-3)
        for _ in range(steps):
            rows = torch.randint(len(seen), (64,))
            data, noise, t = seen[rows], torch.randn(64, 1, 8, 8), flow.sample_times(64, None, 1.0, 0.0, 1.0)
            velocity, tokens = network(flow.interpolate(data, noise, t), t, labels[rows], features=2)
            projected = projector(tokens if to_network else tokens.detach())
            loss = (velocity - (data - noise)).square().mean()
            loss = loss + 0.5 * alignment_loss(projected, (4, 4), teacher(data)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return network, projector

    @torch.no_grad()
    def held_out_loss(network, projector, features):
        generator = torch.Generator().manual_seed(1)
        noise, t = torch.randn(unseen.shape, generator=generator), torch.full((len(unseen),), 0.5)
        nothing = torch.full((len(unseen),), network.null_label)
        _, tokens = network(flow.interpolate(unseen, noise, t), t, nothing, features=2)
        return alignment_loss(projector(tokens), (4, 4), features).mean().item()

    new = make_small_network()
    torch.manual_seed(0)
    aligned = trained(*make_small_network(), to_network=True, steps=150)
    torch.manual_seed(0)
    apart = trained(*make_small_network(), to_network=False, steps=150)

    right, wrong = teacher(unseen), teacher(unseen.roll(1, dims=0))
    assert held_out_loss(*new, right) > 0.9
    assert held_out_loss(*aligned, right) < 0.65
    assert held_out_loss(*aligned, right) < held_out_loss(*apart, right) - 0.05
    assert held_out_loss(*aligned, right) < held_out_loss(*aligned, wrong) - 0.25  # it tells one image from another
