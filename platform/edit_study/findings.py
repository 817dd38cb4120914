"""What came of edits, as numbers with intervals over pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from unlatent.platform.edit_study.measuring import Measured, succeeded, untouched
from unlatent.platform.edit_study.perception import LPIPS, STRUCTURE, Perceived
from unlatent.platform.fidelity import peak_signal_to_noise
from unlatent.platform.intervals import Interval, mean, proportion
from unlatent.platform.scenes import EditPair


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Means over pairs, each a column of `edits` with its interval."""

    success: Interval  # share of edits whose object looks most like the one asked for
    untouched: Interval  # share whose object still looks most like what it was
    object_mse: Interval  # to the true target, in the place of both objects
    background_mse: Interval  # to the source
    background_psnr: Interval  # dB, mean over pairs; over those whose background differs at all
    background_ssim: Interval
    legibility: Interval  # share of the signs' letters read right
    background_lpips: Interval | None = None  # to the source; None where it was not measured
    structure_distance: Interval | None = None  # of whole images to their sources

    def columns(self) -> dict[str, float | None]:
        """What is infinite or unknown is null: so the PSNR where nothing differs, and intervals of one pair."""
        found: dict[str, float | None] = {}
        for item in fields(self):
            interval: Interval | None = getattr(self, item.name)
            for name, end in (("", "value"), ("_low", "low"), ("_high", "high")):
                value = getattr(interval, end) if interval else np.nan
                found[item.name + name] = value if np.isfinite(value) else None
        return found


def find(pairs: Sequence[EditPair], measured: Measured, perceived: Mapping[str, Perceived], seed: int) -> Findings:
    """`seed` is of the resampling."""
    looks, layout = (mean(perceived[name].values, seed) if name in perceived else None for name in (LPIPS, STRUCTURE))
    errors, every = measured.background_errors, np.ones(len(measured))
    differing = errors[errors > 0]
    return Findings(
        success=proportion(succeeded(pairs, measured).astype(np.float64), every, seed),
        untouched=proportion(untouched(pairs, measured).astype(np.float64), every, seed),
        object_mse=mean(measured.object_errors, seed),
        background_mse=mean(errors, seed),
        background_psnr=mean(peak_signal_to_noise(differing), seed)
        if len(differing)
        else Interval(np.inf, np.inf, np.inf, len(measured)),
        background_ssim=mean(measured.background_similarities, seed),
        legibility=proportion(measured.letters_right, measured.letters, seed),
        background_lpips=looks,
        structure_distance=layout,
    )
