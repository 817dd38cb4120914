"""What edits are tried, and on how many pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from unlatent.models.config import require_at_least
from unlatent.models.editing import EditConfig
from unlatent.platform.lpips import LpipsConfig
from unlatent.platform.structure import StructureConfig


@dataclass(kw_only=True)
class EditStudyConfig:
    """Every number of steps is tried with every guidance; the rest of an edit's settings are those of `edit`."""

    pairs: int = 32  # at most: the first of those held out, among which classes take turns
    n_max: list[int] = field(default_factory=lambda: [20, 30, 40])  # of edit.steps
    target_guidance: list[float] = field(default_factory=lambda: [2.0, 5.0])
    seed: int = 0  # of the edits' noise, of the intervals and of what is pictured
    max_rows: int = 128  # of one network call
    lpips: LpipsConfig = field(default_factory=LpipsConfig)
    structure: StructureConfig = field(default_factory=StructureConfig)

    def __post_init__(self) -> None:
        for name in ("pairs", "max_rows"):
            require_at_least(1, f"edits.{name}", getattr(self, name))
        for name, allowed in (("n_max", "numbers of steps of 0 or more"), ("target_guidance", "numbers of 0 or more")):
            tried = getattr(self, name)
            if not tried or not all(0 <= value < math.inf for value in tried) or len(set(tried)) < len(tried):
                raise ValueError(f"edits.{name}={tried} is not a list of {allowed}, each once")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"edits.seed={self.seed} is not between 0 and {(1 << 32) - 1}")


def settings_to_try(edit: EditConfig, study: EditStudyConfig) -> list[EditConfig]:
    """Raises ValueError for more steps than `edit.steps`, or fewer than `edit.n_min`."""
    tried: Sequence[tuple[int, float]] = list(product(study.n_max, study.target_guidance))
    return [replace(edit, n_max=n_max, target_guidance=guidance) for n_max, guidance in tried]
