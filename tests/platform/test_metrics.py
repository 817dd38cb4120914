import numpy as np
import pytest
import torch

from unlatent.platform import metrics
from unlatent.platform.features import total_power
from unlatent.platform.torchvision_shim import declare_missing_operators


def normal(count, mean=0.0, scale=1.0, width=4, seed=0):
    return np.random.default_rng(seed).normal(mean, scale, (count, width))


def whitened(count, mean, scale, seed):
    """Points whose mean and covariance are exactly these, not only in expectation."""
    points = normal(count, seed=seed)
    points -= points.mean(axis=0)
    root = np.linalg.cholesky(np.linalg.inv(np.cov(points, rowvar=False)))
    return points @ root * scale + mean


def test_fid_of_gaussians_is_the_formula_s():
    first, second = whitened(500, 0, 1, seed=0), whitened(400, 3, 2, seed=1)

    assert metrics.frechet_distance(first, second) == pytest.approx(4 * 3**2 + 4 * (1 - 2) ** 2)


def test_fid_of_a_set_with_itself_is_nothing():
    assert metrics.frechet_distance(normal(100), normal(100)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "collapsed", [np.ones((100, 8)), normal(100, width=2) @ normal(2, width=8)], ids=["one image", "two directions"]
)
def test_fid_of_collapsed_samples_is_a_number(collapsed):
    value = metrics.frechet_distance(normal(100, width=8), collapsed)

    assert np.isfinite(value) and value > 1


def test_fid_of_too_few_images_is_refused():
    with pytest.raises(ValueError, match="4 samples cannot give an FID of 4 features; 5 or more would do"):
        metrics.frechet_distance(normal(100), normal(4))


def test_a_wrong_fid_does_not_come_back_in_silence(monkeypatch):
    declare_missing_operators()
    from cleanfid import fid

    for wrong in (7.0, float("nan")):
        monkeypatch.setattr(fid, "frechet_distance", lambda *_, wrong=wrong: wrong)

        with pytest.raises(ArithmeticError, match=f"clean-fid's FID is {wrong}, but by eigenvalues it is"):
            metrics.frechet_distance(normal(100), normal(100, mean=5))


def test_kid_is_zero_on_average_for_one_distribution_and_more_for_two():
    alike = metrics.kernel_distance(normal(200), normal(200, seed=1), seed=0)
    apart = metrics.kernel_distance(normal(200), normal(200, mean=1, seed=1), seed=0)

    assert abs(alike) < 0.2 < apart


def test_kid_repeats_and_leaves_numpys_generator_alone():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)

    values = [metrics.kernel_distance(normal(50), normal(60, seed=1), seed=3) for _ in range(2)]

    assert values[0] == values[1]
    assert np.random.rand() == expected


def test_precision_and_recall_of_a_set_with_itself_are_one():
    assert metrics.precision_recall(normal(50), normal(50)) == (1, 1)


def test_precision_and_recall_of_sets_far_apart_are_zero():
    assert metrics.precision_recall(normal(50), normal(50, mean=100)) == (0, 0)


def test_samples_of_one_mode_are_precise_but_recall_only_that():
    one, other = normal(100), normal(100, mean=50, seed=1)

    precision, recall = metrics.precision_recall(np.concatenate([one, other]), normal(100, scale=0.8, seed=2))

    assert precision > 0.9
    assert 0.2 < recall <= 0.5


def test_a_reach_ends_at_the_third_neighbour():
    real = np.array([[0.0], [1], [2], [3], [4]])  # the outer ones reach 3 far, those between 2

    among = [metrics.share_among(real, np.array([[point]])) for point in (6.9, 7.1, -2.9, -3.1)]

    assert among == [1, 0, 1, 0]


def test_precision_and_recall_need_neighbours():
    with pytest.raises(ValueError, match="3 samples have no 3 neighbours; 4 or more would do"):
        metrics.precision_recall(normal(10), normal(3))


def test_distances_in_blocks_are_those_in_one_piece(monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK", 70)
    points, others = normal(33), normal(10, seed=1)

    blocks = list(metrics.squared_distances(points, others))

    assert len(blocks) > 1
    assert np.allclose(np.concatenate(blocks), ((points[:, None] - others) ** 2).sum(axis=-1))


def test_copies_are_at_no_distance_from_what_they_copy():
    real = normal(50)

    assert metrics.nearest_neighbour(real, real[:5]) == pytest.approx(0, abs=1e-6)
    assert metrics.nearest_neighbour(np.array([[0.0], [10]]), np.array([[1.0], [13]])) == pytest.approx(2)


def test_class_agreement_is_the_share_of_classes_as_asked():
    assert metrics.class_agreement(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])) == 0.75


def test_a_grid_with_the_patch_s_period_stands_out():
    real = torch.randint(0, 256, (200, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    grid = real.float()
    grid[:, :, ::4] += 60

    usual, odd = total_power(real), total_power(grid)

    assert metrics.patch_period_energy(usual, usual, 4) == 1
    assert metrics.patch_period_energy(usual, odd, 4) > 1.3
    assert metrics.patch_period_energy(usual, usual * 7, 4) == pytest.approx(1)  # contrast alone is no grid


def test_images_of_one_grey_have_no_grid():
    grey = total_power(torch.full((3, 1, 8, 8), 90))
    real = total_power(torch.randint(0, 256, (20, 1, 8, 8)))

    assert metrics.patch_period_energy(real, grey, 2) == 0
    assert np.isnan(metrics.patch_period_energy(grey, real, 2))


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("fid", "min"),
        ("class_agreement", "max"),
        ("geneval", "max"),
        ("geneval_two_object", "max"),
        ("dpg_entity", "max"),
        ("seconds_per_image", None),
    ],
)
def test_a_metric_says_which_value_is_the_better_one_or_does_not(metric, better):
    assert metrics.direction(metric) == better
