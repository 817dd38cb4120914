"""What the blocks and decoders let through, and what they keep apart."""

import pytest
import torch

from unlatent.models.decoders import PatchDecoder, PixelDecoder
from unlatent.models.embeddings import rope_tokens
from unlatent.models.layout import join, split
from unlatent.models.patch_block import PatchBlock
from unlatent.models.pixel_block import CompactAttention, PixelBlock


def decoder_inputs(config, requires_grad=True):
    """A noisy image, patch tokens and time."""
    image = torch.randn(1, config.channels, config.image_size, config.image_size, requires_grad=requires_grad)
    return (
        image,
        torch.randn(1, config.grid**2, config.width, requires_grad=requires_grad),
        torch.randn(1, 1, config.width),
    )


@pytest.mark.parametrize("window", [4, 2, 1])
def test_every_pixel_sees_every_pixel_through_compaction(make_config, make_network, window):
    config = make_config({"window": window})
    image, s, time = decoder_inputs(config)

    make_network(config, PixelDecoder)(image, s, time)[0, 0, 5, 9].backward()

    assert (image.grad.abs().sum(dim=1) > 0).all()
    assert (s.grad.abs().sum(dim=2) > 0).all()


def test_without_attention_a_pixel_sees_itself_and_its_patch(make_config, make_network):
    config = make_config({"attention": False})
    image, s, time = decoder_inputs(config)

    make_network(config, PixelDecoder)(image, s, time)[0, 0, 5, 9].backward()

    seen_pixels = image.grad[0].abs().sum(dim=0).nonzero().tolist()
    seen_patches = s.grad[0].abs().sum(dim=1).nonzero().flatten().tolist()
    assert seen_pixels == [[5, 9]]
    assert seen_patches == [1 * config.grid + 2]  # row 5 and column 9 lie in patch row 1, patch column 2


@pytest.mark.parametrize("patch_size", [2, 4, 8])
def test_attention_of_windows_does_not_depend_on_the_patches_around_them(make_config, make_network, patch_size):
    attend = make_network(make_config({"window": 2}, patch_size=4), CompactAttention)
    image = torch.randn(1, 8, 16, 16)

    def through(patch):
        pixels = attend(split(image, patch, 2), rope_tokens(16, patch // 2, 8, 8))
        return join(pixels, patch, 2, 16 // patch)

    torch.testing.assert_close(through(patch_size), through(16))


def test_global_modulation_is_one_direction_for_all_patches(make_config, make_network):
    decoder = make_network(make_config(adaln="global"), PixelDecoder)
    image, s, time = decoder_inputs(decoder.config, requires_grad=False)

    torch.testing.assert_close(decoder(image, s.flip(1), time), decoder(image, s, time))


@pytest.mark.parametrize("adaln", ["patch", "global"])
def test_coarse_modulation_treats_the_pixels_of_a_patch_alike(make_config, make_network, adaln):
    decoder = make_network(make_config({"attention": False}, adaln=adaln), PixelDecoder)
    decoder.position.table.zero_()
    _, s, time = decoder_inputs(decoder.config, requires_grad=False)

    patches = split(decoder(torch.ones(1, 3, 16, 16), s, time), 4, 4)  # (1, L, P, 3)

    torch.testing.assert_close(patches, patches[:, :, :1].expand_as(patches))
    assert (len(patches.flatten(0, 1)[:, 0].unique(dim=0)) > 1) == (adaln == "patch")


def test_a_new_patch_block_is_the_identity(make_config):
    s = torch.randn(2, 16, 64)

    assert torch.equal(PatchBlock(make_config())(s, torch.randn(2, 1, 64), None), s)


@pytest.mark.parametrize(("modulation", "identity"), [("pre", True), ("post", False)])
def test_a_new_pixel_block_is_the_identity_unless_modulated_after(make_config, modulation, identity):
    x = torch.randn(2, 16, 16, 8)

    y = PixelBlock(make_config(modulation=modulation))(x, torch.randn(2, 16, 64), None)

    assert torch.equal(y, x) == identity


def test_a_plain_dit_reads_a_patch_off_its_token(make_config, make_network):
    config = make_config(pixel_depth=0)
    image, s, time = decoder_inputs(config)

    make_network(config, PatchDecoder)(image, s, time)[0, 0, 5, 9].backward()

    assert image.grad is None
    assert s.grad[0].abs().sum(dim=1).nonzero().flatten().tolist() == [1 * config.grid + 2]
