"""GenEval (arXiv 2310.11513): are the objects there, as many, of the colours and in the places that a prompt names?

    FOLDER/00000/metadata.jsonl         the prompt's line of evaluation_metadata.jsonl
                 samples/0000.png …     its images
                 grid.png               the same, for people

Its scorer looks for the objects in each image, and writes a line of JSON for it. The score of a category is the share
of its images that are right; that of the whole is the mean over the categories.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from torch import Tensor

from unlatent.platform.generation import image_grid, to_image, to_png
from unlatent.platform.prompt_suites.plan import (
    IMAGES,
    Plan,
    Scores,
    SuitePrompt,
    hash_of,
    metric_of,
    read_lines,
    require_all,
)
from unlatent.platform.store import Store

PROMPTS = "prompts/evaluation_metadata.jsonl of github.com/djghosh13/geneval"
RESULTS = "what GenEval's evaluate_images.py writes to its --outfile"
TOLD, GRID = "metadata.jsonl", "grid.png"
IMAGE = re.compile(r"(?:^|[/\\])(\d+)[/\\]samples[/\\](\d+\.png)$")


def read_prompts(path: Path) -> list[SuitePrompt]:
    """Raises ValueError for a line that the scorer could not read."""
    told = [read_prompt(line, f"{path}, line {number}") for number, line in enumerate(read_lines(path, PROMPTS), 1)]
    return [SuitePrompt(f"{number:05d}", metadata) for number, metadata in enumerate(told)]


def read_prompt(line: str, where: str) -> dict[str, Any]:
    try:
        metadata = json.loads(line)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise ValueError(f"{where}, is no JSON that tells of a prompt; {PROMPTS} would do")
    for name, kind in (("prompt", str), ("tag", str), ("include", list)):
        if not isinstance(metadata.get(name), kind) or not metadata[name]:
            raise ValueError(f"{where}, has no {name!r} that GenEval's scorer could use; {PROMPTS} would do")
    return metadata


def samples_of(name: str) -> list[str]:
    return [f"{name}/samples/{number:04d}.png" for number in range(IMAGES)]


def paths_of(name: str) -> list[str]:
    return [f"{name}/{TOLD}", f"{name}/{GRID}", *samples_of(name)]


def write(out: Store, prompt: SuitePrompt, images: Tensor) -> None:  # uint8 (IMAGES, C, H, W)
    """A prompt's folder, which appears whole."""
    contents = {TOLD: json.dumps(prompt.metadata).encode(), GRID: to_png(image_grid(images, columns=2))}
    for path, image in zip(samples_of(prompt.name), images, strict=True):
        contents[path.removeprefix(f"{prompt.name}/")] = to_png(to_image(image))
    out.write_folder(prompt.name, contents)


@dataclass(frozen=True)
class Judged:
    """An image, by a line of the scorer's."""

    name: str  # of its prompt
    file: str
    tag: str
    correct: bool
    metadata: dict[str, Any]  # of its prompt


def read_scores(results: Path, planned: Plan) -> Scores:
    """Shares from 0 to 1, by metric.

    Raises ValueError unless every image of the folder was judged, by these prompts.
    """
    judged = [
        read_result(line, f"{results}, line {number}") for number, line in enumerate(read_lines(results, RESULTS), 1)
    ]
    drawn = [path for name in planned.names for path in samples_of(name)]
    require_all([f"{each.name}/samples/{each.file}" for each in judged], drawn, f"{results}", "images")
    if hash_of({each.name: each.metadata for each in judged}) != planned.prompts_hash:
        raise ValueError(f"{results} judges by other prompts than those that this folder's images were drawn for")
    right = defaultdict(list)
    for each in judged:
        right[metric_of("geneval", each.tag)].append(each.correct)
    scores = {metric: mean(corrects) for metric, corrects in sorted(right.items())}
    return Scores({"geneval": mean(scores.values()), **scores})


def read_result(line: str, where: str) -> Judged:
    try:
        said = json.loads(line)
        [(name, file)] = IMAGE.findall(said["filename"])
        correct, metadata = {True: True, False: False}[said["correct"]], json.loads(said["metadata"])
        return Judged(name=name, file=file, tag=metadata["tag"], correct=correct, metadata=metadata)
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{where}, tells of no image that was judged; {RESULTS} would do") from None
