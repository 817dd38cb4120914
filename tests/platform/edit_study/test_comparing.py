import pytest

from tests.platform.edit_study.conftest import Made
from unlatent.platform.edit_study.comparing import Mixture, compare, reconstruction, share_of_reconstruction


def test_backgrounds_are_compared_at_the_success_that_both_reach(make_outcomes):
    pixels = make_outcomes("pixels", Made(0.5, 0.001), Made(0.7, 0.002), Made(0.9, 0.008))
    latents = make_outcomes("latents", Made(0.3, 0.004), Made(0.6, 0.010), Made(0.55, 0.009))

    found = compare(pixels, latents, "free")

    assert found is not None and found.level == pytest.approx(0.6)
    assert [successes(found.first), successes(found.second)] == [pytest.approx([0.5, 0.7]), pytest.approx([0.6])]
    assert list(found.first.shares.values()) == pytest.approx([0.5, 0.5])  # half of each succeed in 0.6
    assert found.first.background_mse == pytest.approx(0.0015)
    assert found.background.value == pytest.approx(0.15) and found.background.low <= 0.15 <= found.background.high


def test_one_pair_more_or_less_moves_the_answer_by_little(make_outcomes):
    pixels = make_outcomes("pixels", Made(20 / 40, 0.001), Made(30 / 40, 0.010))
    ratios = []
    for right in (19, 20, 21, 22):
        found = compare(pixels, make_outcomes("latents", Made(right / 40, 0.010)), "free")
        assert found is not None
        ratios.append(found.background.value)

    assert ratios == pytest.approx([0.1, 0.1, 0.19, 0.28])


def test_a_setting_that_keeps_more_and_succeeds_more_often_is_taken_alone(make_outcomes):
    pixels = make_outcomes("pixels", Made(0.3, 0.004), Made(0.9, 0.002))

    found = compare(pixels, make_outcomes("latents", Made(0.6, 0.010)), "free")

    assert found is not None and found.first.shares == {pixels[1]: 1.0}
    assert found.background.value == pytest.approx(0.2)


def successes(mixture: Mixture) -> list[float]:
    return sorted(outcome.findings.success.value for outcome in mixture.shares)


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
    """How much of the setting that keeps more is enough is an affair of few pairs, which others may not have."""
    rarely, often = Made(20 / 40, 0.010), Made(24 / 40, 0.020)
    latents = make_outcomes("latents", Made(21 / 40, 0.020))

    alone = compare(make_outcomes("pixels", often), latents, "free")
    chosen = compare(make_outcomes("pixels", rarely, often), latents, "free")

    assert alone is not None and chosen is not None
    assert (alone.background.low, alone.background.high) == pytest.approx((1, 1))
    assert chosen.background.value == pytest.approx(0.625)  # a quarter of the pairs need the other setting
    assert (chosen.background.low, chosen.background.high) == pytest.approx((0.5, 1), abs=0.01)


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
    assert alone is not None and share_of_reconstruction(alone, free.second.main).value == pytest.approx(0.2)
    assert reconstruction(pixels) is None
