"""Running means of a network's weights, which sample better than the weights themselves.

A power mean weighs the weights after u of t images by (u/t)^gamma: it spans the same share of training at any t, and
is told by the profile's standard deviation over t, sigma_rel. A mean that was not kept can be put together afterwards
from snapshots of two that were (Karras et al. 2024, arXiv 2312.02696, sections 3.1 to 3.3 and appendix C).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlatent.models.config import require_at_least
from unlatent.models.sharding import local

PLAIN_MEAN = 12**-0.5  # sigma_rel at gamma = 0, where all weights count alike


def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """Keeps `decay` of each mean and fills up with the network's weight, all in one call. Buffers are copied."""
    update_emas([ema], network, [decay])


@torch.no_grad()
def update_emas(emas: Sequence[nn.Module], network: nn.Module, decays: Sequence[float]) -> None:
    """As `update_ema`, for one or more means of the same dtypes, each with its own decay, still in one call.

    The means of one weight follow each other, so that it is cast once, and may still be in the cache for the next.
    """
    assert len(emas) == len(decays) and all(0 <= decay <= 1 for decay in decays), decays
    means: list[Tensor] = []
    weights: list[Tensor] = []
    for weight, *its_means in zip(network.parameters(), *(ema.parameters() for ema in emas), strict=True):
        means += map(local, its_means)
        weights += [local(weight).to(its_means[0].dtype)] * len(its_means)
    torch._foreach_lerp_(means, weights, [1 - decay for decay in decays] * (len(means) // len(emas)))
    for original, *copies in zip(network.buffers(), *(ema.buffers() for ema in emas), strict=True):
        for copy in copies:
            copy.copy_(original)


def power_decay(sigma_rel: float, images_before: int, images_after: int) -> float:
    """What a power mean keeps of itself in the step between two positions (equation 127, for steps of any size).

    It depends on the positions alone: 0 in the first step, so that the first weights need not be right.
    ValueError if `sigma_rel` is not between 0 and 0.288, or the positions do not rise from 0 or more.
    """
    if not 0 <= images_before < images_after:
        raise ValueError(
            f"images_before={images_before} and images_after={images_after} are not a step; "
            "0 <= images_before < images_after would do"
        )
    return (images_before / images_after) ** (exponent(sigma_rel) + 1)


def exponent(sigma_rel: float) -> float:
    """The gamma of a profile (equation 126): the largest root of sigma_rel² (u³ + u²) = u - 1, at u = gamma + 2."""
    if not 0 < sigma_rel < PLAIN_MEAN:
        raise ValueError(f"sigma_rel={sigma_rel} is not between 0 and {PLAIN_MEAN:.4f}; 0.05 or 0.1 would do")
    s = sigma_rel**-2
    r = math.sqrt(3 * s + 1) / 3
    return 2 * r * math.cos(math.acos(-(18 * s + 1) / (27 * r**3)) / 3) - 7 / 3  # Viète's, for three real roots


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A power mean as it was at one position of training."""

    images_seen: int
    sigma_rel: float
    load: Callable[[], Mapping[str, Tensor]]  # its weights, of any precision, read when they are needed

    def __post_init__(self) -> None:
        require_at_least(1, "images_seen", self.images_seen)
        exponent(self.sigma_rel)


def reconstruct(
    snapshots: Sequence[Snapshot], target_sigma_rel: float, target_images: int, worst_error: float = 0.1
) -> tuple[dict[str, Tensor], float]:
    """The weights of a power mean at a position, in float32 or better, and the error of `reconstruction_weights`.

    Holds the sum and one snapshot at a time; a snapshot that adds nothing is not loaded.
    ValueError as of `reconstruction_weights`, if the error is above `worst_error`, or if the snapshots disagree on
    names or shapes.
    """
    weights, error = reconstruction_weights(snapshots, target_sigma_rel, target_images)
    if error > worst_error:
        raise ValueError(
            f"target_sigma_rel={target_sigma_rel} at target_images={target_images} has an error of {error:.3f}, above "
            f"worst_error={worst_error}; a position with snapshots, a width nearer to theirs or more of them would do"
        )
    total: dict[str, Tensor] = {}
    for snapshot, weight in zip(snapshots, weights, strict=True):
        if weight:
            add(total, snapshot, weight)
    return total, error


@torch.no_grad()
def add(total: dict[str, Tensor], snapshot: Snapshot, weight: float) -> None:
    """Adds a snapshot's share to the sum, which takes its names and shapes from the first."""
    loaded = snapshot.load()
    if not total:
        total |= {
            name: torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
            for name, tensor in loaded.items()
        }
    shapes, known = ({name: tuple(tensor.shape) for name, tensor in state.items()} for state in (loaded, total))
    if odd := sorted({name for name, _ in shapes.items() ^ known.items()}):
        raise ValueError(
            f"the snapshot of sigma_rel={snapshot.sigma_rel} at images_seen={snapshot.images_seen} differs from others "
            f"in {odd[0]} ({shapes.get(odd[0])}, not {known.get(odd[0])}); snapshots of one network would do"
        )
    for name, tensor in loaded.items():
        total[name].add_(tensor, alpha=weight)


def reconstruction_weights(
    snapshots: Sequence[Snapshot], target_sigma_rel: float, target_images: int
) -> tuple[list[float], float]:
    """What to weigh each snapshot with, so that the sum has the profile nearest to the wanted one (algorithm 3).

    The weights sum to 1: what never moved in training comes out as it is. The error is the norm of the difference of
    the two profiles over that of the wanted one: 0 is perfect, as for a snapshot's own width and position, 1 or more
    as good as nothing. Snapshots after the position help where none is at it, and hardly otherwise.
    ValueError without snapshots, for a position that is not between 1 and the last snapshot's, and for a width that
    is not between 0 and 0.288.
    """
    if not snapshots:
        raise ValueError("snapshots=[] has nothing to put together; two widths at 8 or more positions would do")
    last = max(snapshot.images_seen for snapshot in snapshots)
    if not 1 <= target_images <= last:
        raise ValueError(
            f"target_images={target_images} is not between 1 and the last snapshot's {last}; "
            "a position with snapshots would do best"
        )
    same = [(s.images_seen, s.sigma_rel) == (target_images, target_sigma_rel) for s in snapshots]
    if True in same:
        return [float(i == same.index(True)) for i in range(len(same))], 0.0
    sigmas = [*(snapshot.sigma_rel for snapshot in snapshots), target_sigma_rel]
    ends = [*(snapshot.images_seen / target_images for snapshot in snapshots), 1.0]
    products = inner_products(doubles(ends), doubles([exponent(sigma_rel) for sigma_rel in sigmas]))  # (S + 1, S + 1)

    system, right = products.clone(), products[:, -1].clone()  # least squares under a constraint, with its multiplier
    system[-1, :], system[:, -1], system[-1, -1], right[-1] = 1, 1, 0, 1
    weights = torch.linalg.lstsq(system, right[:, None], driver="gelsd").solution[:-1, 0]  # (S,)

    difference = torch.cat([weights, doubles([-1])])
    error = (difference @ products @ difference).clamp(min=0) / products[-1, -1]
    return weights.tolist(), float(error.sqrt())


def inner_products(ends: Tensor, gammas: Tensor) -> Tensor:  # (S,), (S,) -> (S, S)
    """Of power profiles that end at `ends`, each of area 1, with each other (equation 151)."""
    sums = gammas[:, None] + gammas + 1
    first, last = torch.minimum(ends[:, None], ends), torch.maximum(ends[:, None], ends)
    gamma_of_last = torch.where(ends[:, None] >= ends, gammas[:, None], gammas)
    return (gammas[:, None] + 1) * (gammas + 1) / (sums * last) * (first / last) ** gamma_of_last


def doubles(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
