"""How good generated images are, in numbers computed from the features of two sets of images.

N images   D features   H, W image
"""

import contextlib
import math
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from unlatent.platform.torchvision_shim import declare_missing_operators

# Metrics that say which of two checkpoints is better, and how, by what is measured here.
DIRECTIONS = {
    "fid": "min",
    "kid": "min",
    "class_agreement": "max",
    "precision": "max",
    "recall": "max",
}

SUITES = (
    "geneval",
    "dpg",
)  # scores that are read from others' scorers; of a category, geneval_counting. More is better

BLOCK = 1 << 25  # distances held in memory at once
NEIGHBOURS = 3  # as in the paper of `precision_recall`

Features = NDArray[np.floating]


def direction(metric: str) -> str | None:
    """Which of two values is the better one, min or max; None of a metric that does not say."""
    return "max" if is_of_suite(metric) else DIRECTIONS.get(metric)


def is_of_suite(metric: str) -> bool:
    return metric.partition("_")[0] in SUITES


def how_to_measure(metric: str) -> str:
    """What a user would do for a value."""
    if is_of_suite(metric):
        return "`unlatent benchmark scores FOLDER RESULTS` records one"
    return "`unlatent evaluate RUN` measures one"


def frechet_distance(reference: Features, samples: Features) -> float:  # (N, D), (M, D)
    """FID: |m₁ − m₂|² + Tr(S₁ + S₂ − 2 (S₁S₂)^½) of the means and covariances (arXiv:1706.08500, eq. 6). 0 is best.

    Computed by clean-fid, which says nothing where its matrix square root fails; so it is computed here once more, by
    another way. Raises ValueError for too few images, ArithmeticError if the two ways disagree.
    """
    width = reference.shape[1]
    for name, features in (("reference images", reference), ("samples", samples)):
        if len(features) <= width:
            raise ValueError(
                f"{len(features)} {name} cannot give an FID of {width} features; {width + 1} or more would do"
            )
    first, second = (gaussian(features) for features in (reference, samples))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a square root that is singular, or of an old way to call SciPy
        found = float(clean_fid().frechet_distance(*first, *second))
    expected = symmetric_frechet_distance(*first, *second)
    tolerance = 1e-3 * abs(expected) + 1e-6 * float(np.trace(first[1]) + np.trace(second[1])) + 1e-6 * width
    if not abs(found - expected) <= tolerance:  # written so that a NaN fails
        raise ArithmeticError(
            f"clean-fid's FID is {found}, but by eigenvalues it is {expected}; neither can be trusted"
        )
    return found


def gaussian(features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    exact = features.astype(np.float64)
    return exact.mean(axis=0), np.cov(exact, rowvar=False)


def symmetric_frechet_distance(m1: NDArray, s1: NDArray, m2: NDArray, s2: NDArray) -> float:
    """The Fréchet distance with (S₁^½ S₂ S₁^½)^½ for the square root: symmetric, so its eigenvalues are real."""
    values, vectors = np.linalg.eigh(s1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ s2 @ root).clip(0)).sum()
    return float(((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * cross)


def kernel_distance(reference: Features, samples: Features, seed: int) -> float:
    """KID: squared MMD with a cubic kernel, unbiased, over 100 subsets (arXiv:1801.01401). 0 is best."""
    with numpy_seeded(seed):
        return clean_fid().kernel_distance(reference.astype(np.float64), samples.astype(np.float64))


def precision_recall(reference: Features, samples: Features) -> tuple[float, float]:
    """Share of samples among the real images, and of real images among the samples (arXiv:1904.06991). 1 is best.

    One image is among others if it is nearer to one of them than that one's third neighbour.
    """
    for name, features in (("reference images", reference), ("samples", samples)):
        if len(features) <= NEIGHBOURS:
            raise ValueError(
                f"{len(features)} {name} have no {NEIGHBOURS} neighbours; {NEIGHBOURS + 1} or more would do"
            )
    return share_among(reference, samples), share_among(samples, reference)


def share_among(set_of: Features, points: Features) -> float:
    """Share of points that lie within the reach of one of a set, each reaching as far as its third neighbour."""
    reach = [np.partition(block, NEIGHBOURS, axis=1)[:, NEIGHBOURS] for block in squared_distances(set_of, set_of)]
    radius = np.concatenate(reach)  # (N,); position 0 was the point itself
    inside = [(block <= radius).any(axis=1) for block in squared_distances(points, set_of)]
    return float(np.concatenate(inside).mean())


def nearest_neighbour(reference: Features, samples: Features) -> float:
    """Mean distance of a sample to the nearest reference image. Near 0, samples are copies."""
    nearest = [np.sqrt(block.min(axis=1)) for block in squared_distances(samples, reference)]
    return float(np.concatenate(nearest).mean())


def squared_distances(points: Features, others: Features) -> Iterator[NDArray[np.float64]]:
    """Blocks of rows of the (N, M) matrix of squared Euclidean distances."""
    centre = others.mean(axis=0, dtype=np.float64)  # small numbers lose less to rounding
    points, others = points - centre, others - centre
    norms = (others**2).sum(axis=1)
    rows = max(1, BLOCK // len(others))
    for start in range(0, len(points), rows):
        some = points[start : start + rows]
        yield ((some**2).sum(axis=1)[:, None] + norms - 2 * some @ others.T).clip(0)


def class_agreement(predicted: NDArray[np.int64], asked: NDArray[np.int64]) -> float:
    """Share of samples that the classifier takes for the class that was asked for. 1 is best."""
    assert len(predicted) == len(asked)
    return float((predicted == asked).mean())


def patch_period_energy(reference: NDArray, samples: NDArray, patch_size: int) -> float:  # power spectra (H, W)
    """How much of the samples' contrast repeats with every patch, relative to real images. 1 is as in those.

    A fault of models that work on patches is a grid with the patch's period; it shows in the spectrum at the
    frequencies that go a whole number of times into a patch. NaN if real images have no energy there.
    """
    usual = grid_share(reference, patch_size)
    return grid_share(samples, patch_size) / usual if usual else math.nan


def grid_share(power: NDArray, patch_size: int) -> float:
    """Share of the energy, but for that of the mean grey, at the period of the patches and its harmonics."""
    height, width = power.shape
    assert patch_size > 1 and height % patch_size == 0 and width % patch_size == 0
    contrast = power.sum() - power[0, 0]
    if contrast <= 1e-12 * power.sum():  # images of one grey
        return 0.0
    return float((power[:: height // patch_size, :: width // patch_size].sum() - power[0, 0]) / contrast)


def clean_fid() -> ModuleType:
    declare_missing_operators()
    from cleanfid import fid

    return fid


@contextlib.contextmanager
def numpy_seeded(seed: int) -> Iterator[None]:
    """Seeds the generator that all of numpy shares, which clean-fid draws from, and puts it back afterwards."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
