import pytest

from tests.platform.edit_study.conftest import Made
from unlatent.platform.edit_study.comparing import compare, reconstruction, share_of_reconstruction


def test_backgrounds_are_compared_at_the_success_that_both_reach(make_outcomes):
    pixels = make_outcomes("pixels", Made(0.5, 0.001), Made(0.7, 0.002), Made(0.9, 0.008))
    latents = make_outcomes("latents", Made(0.3, 0.004), Made(0.6, 0.010), Made(0.55, 0.009))

    found = compare(pixels, latents, "free")

    assert found is not None and found.level == pytest.approx(0.6)
    assert found.first.findings.success.value == pytest.approx(0.7)  # reaches it, and keeps more than the one with 0.9
    assert found.second.findings.success.value == pytest.approx(0.6)  # the only one that reaches it
    assert found.background.value == pytest.approx(0.2) and found.background.low <= 0.2 <= found.background.high


def test_it_can_say_the_opposite(make_outcomes):
    pixels, latents = make_outcomes("pixels", Made(0.8, 0.02)), make_outcomes("latents", Made(0.8, 0.005))

    found = compare(pixels, latents, "free")

    assert found is not None and found.background.low == pytest.approx(4) and found.background.value == pytest.approx(4)


def test_an_interval_of_a_ratio_is_over_pairs_that_both_have(make_outcomes):
    """Errors that rise and fall together say more of their ratio than of either mean."""
    pixels, latents = make_outcomes("pixels", Made(0.8, 0.02)), make_outcomes("latents", Made(0.8, 0.01))

    found = compare(pixels, latents, "free")

    assert found is not None and found.background.high - found.background.low < 1e-9
    assert pixels[0].findings.background_mse.high > pixels[0].findings.background_mse.low


def test_an_interval_of_a_ratio_allows_for_the_choice_of_settings(make_outcomes):
    """Whether the setting that keeps more reaches the level is one pair's affair, which other pairs may not have."""
    rarely, often = Made(20 / 40, 0.010), Made(24 / 40, 0.020)
    latents = make_outcomes("latents", Made(21 / 40, 0.020))

    alone = compare(make_outcomes("pixels", often), latents, "free")
    chosen = compare(make_outcomes("pixels", rarely, often), latents, "free")

    assert alone is not None and chosen is not None
    assert (alone.background.low, alone.background.high) == pytest.approx((1, 1))
    assert (chosen.background.value, chosen.background.low, chosen.background.high) == pytest.approx((1, 0.5, 1))


def test_without_edits_that_succeed_there_is_no_level(make_outcomes):
    pixels, latents = make_outcomes("pixels", Made(0.9, 0.02)), make_outcomes("latents", Made(0.05, 0.0001))

    assert compare(pixels, latents, "free") is None and compare(latents, pixels, "free") is None


def test_ways_are_compared_apart(make_outcomes):
    pixels = make_outcomes("pixels", Made(0.5, 0.01), Made(0.8, 0.0, "masked"))
    latents = make_outcomes("latents", Made(0.5, 0.02), Made(0.8, 0.005, "masked"), Made(0, 0.004, "reconstructed"))

    free, masked = (compare(pixels, latents, way) for way in ("free", "masked"))

    assert free is not None and masked is not None
    assert free.background.value == pytest.approx(0.5) and masked.background.value == 0
    alone = reconstruction(latents)
    assert alone is not None and share_of_reconstruction(alone, free.second).value == pytest.approx(0.2)
    assert reconstruction(pixels) is None
