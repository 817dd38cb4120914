"""What a folder of a suite's images is to hold, and how they are drawn: all that their scores depend on."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlatent.platform import shard_folder
from unlatent.platform.evaluation import short_hash
from unlatent.platform.store import Store

IMAGES = 4  # of each prompt, as both suites want them
FORMAT_VERSION = 1


@dataclass(frozen=True)
class SuitePrompt:
    """A prompt, and the name that its images go by."""

    name: str
    metadata: Mapping[str, Any]  # what the suite tells of it, the text as `prompt`

    @property
    def text(self) -> str:
        return self.metadata["prompt"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Columns of `evaluations`, and the prompts. It is kept beside the images, which follow from it."""

    suite: str
    run_id: str
    checkpoint: str  # relative to the store
    checkpoint_hash: str
    weights: str
    images_seen: int
    image_size: int
    sampler: str
    steps: int
    guidance: float
    guidance_low: float
    guidance_high: float
    shift: float
    precision: str
    network_evaluations: float
    seed: int
    prompts_hash: str
    names: list[str]  # of the prompts
    negative_prompt: str | None = None
    format_version: int = FORMAT_VERSION

    @property
    def samples(self) -> int:
        """Images in all."""
        return IMAGES * len(self.names)


@dataclass(frozen=True)
class Scores:
    """What a scorer says of a folder's images."""

    values: dict[str, float]  # by metric, that of the whole first
    unjudged: list[str] = field(default_factory=list)  # names of prompts that it is known to leave out


def hash_of(metadata: Mapping[str, Mapping[str, Any]]) -> str:
    """Identity of prompts, of what is told of each by its name."""
    return short_hash(dict(metadata))


def read_plan(folder: Store) -> Plan:
    """Raises ValueError for a folder that no suite's images were drawn into."""
    try:
        return Plan(**json.loads(folder.read_bytes(shard_folder.PLAN)))
    except (FileNotFoundError, ValueError, TypeError):
        said = "holds no images of a suite; `unlatent benchmark geneval` or `dpg` draws some"
        raise ValueError(f"{folder.root} {said}") from None


def read_lines(path: Path, would_do: str) -> list[str]:
    """The lines of a file that a user has named.

    Raises ValueError, which says what would do, where it cannot be read.
    """
    try:
        return path.read_text().rstrip("\n").split("\n")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {would_do} would do") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text; {would_do} would do") from None


def metric_of(suite: str, category: str) -> str:
    """What `evaluations` calls the score of a category: `attribute - color` is dpg_attribute_color."""
    return "_".join([suite, *re.findall(r"\w+", category)])


def require_all(judged: Sequence[str], drawn: Sequence[str], results: str, what: str) -> None:
    """Raises ValueError unless all that was drawn was judged once, and nothing else."""
    counts = Counter(judged)
    if others := sorted(counts.keys() - set(drawn)):
        raise ValueError(f"{results} judges {others[0]}, which is none of the folder's {len(drawn):,} {what}")
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"{results} judges {twice[0]} {counts[twice[0]]} times; the lines of one scoring would do")
    if missing := [name for name in drawn if name not in counts]:
        raise ValueError(
            f"{results} judges {len(counts):,} of {len(drawn):,} {what}, and not {missing[0]}; those of all would do"
        )
