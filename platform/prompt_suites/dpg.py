"""DPG-Bench (arXiv 2403.05135): does an image show what a dense prompt says, by the answers to questions about it?

    FOLDER/<name of the prompt's file>.png     its four images as one, two by two

Its scorer writes a line for each prompt, with the share of each image and their mean; then percentages for categories,
at two levels, and for the whole. It passes over the first row of its questions, fails at the prompt whose question that
is as soon as another rests on it, and goes on: what it says is of all prompts but that one.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from torch import Tensor

from unlatent.platform.generation import image_grid, to_png
from unlatent.platform.prompt_suites.plan import IMAGES, Plan, Scores, SuitePrompt, metric_of, read_lines, require_all
from unlatent.platform.store import Store

PROMPTS = "dpg_bench/prompts of github.com/TencentQQGYLab/ELLA"
RESULTS = "the …_results.txt of compute_dpg_bench.py"
COARSE, FINE, TOTAL = "L1 category scores:", "L2 category scores:", "DPG-Bench score: "
REMARKS = ("Model: ", "Image path: ", "Save results to: ")
SUFFIX = ".png"
PASSED_OVER = "partiprompts97"  # whose question is the first row of dpg_bench.csv


def read_prompts(path: Path) -> list[SuitePrompt]:
    """Raises ValueError for a file whose questions the scorer would not find."""
    found = sorted(path.glob("*.txt")) if path.is_dir() else []
    if not found:
        raise ValueError(f"{path} is no folder with .txt files in it; {PROMPTS} would do")
    return [read_prompt(each) for each in found]


def read_prompt(path: Path) -> SuitePrompt:
    text = "\n".join(read_lines(path, PROMPTS)).strip()
    if not text:
        raise ValueError(f"{path} is empty; {PROMPTS} would do")
    if "." in path.stem:
        raise ValueError(f"{path}: to the scorer a name ends at its first dot; one without would do")
    return SuitePrompt(path.stem, {"prompt": text})


def paths_of(name: str) -> list[str]:
    return [f"{name}{SUFFIX}"]


def write(out: Store, prompt: SuitePrompt, images: Tensor) -> None:  # uint8 (IMAGES, C, H, W)
    [path] = paths_of(prompt.name)
    out.write_bytes(path, to_png(image_grid(images, columns=2, gap=0)))


@dataclass
class Results:
    """What the scorer's file says."""

    shares: list[tuple[str, list[float]]] = field(default_factory=list)  # a prompt's name, and those of its images
    coarse: dict[str, float] = field(default_factory=dict)  # percentages by category
    fine: dict[str, float] = field(default_factory=dict)
    totals: list[float] = field(default_factory=list)


def read_scores(results: Path, planned: Plan) -> Scores:
    """Percentages by metric, as the scorer worked them out. A fine category named like a coarse one is all of it.

    Raises ValueError unless every image of the folder was judged, but for those of the one prompt that the scorer
    fails at, and the score is the mean over what was judged.
    """
    found = read_results(results)
    judged = [name for name, _ in found.shares]
    unjudged = [PASSED_OVER] if judged and PASSED_OVER in set(planned.names) - set(judged) else []
    require_all(judged, [name for name in planned.names if name not in unjudged], f"{results}", "prompts")
    require_whole(found, f"{results}")
    categories = {metric_of("dpg", name): value for name, value in (found.fine | found.coarse).items()}
    return Scores({"dpg": found.totals[0], **categories}, unjudged)


def require_whole(found: Results, results: str) -> None:
    """Raises ValueError for images left out, and for numbers that do not belong together."""
    for name, shares in found.shares:
        if len(shares) != IMAGES:
            raise ValueError(f"{results} judges {len(shares)} of {IMAGES} images of {name}; PIC_NUM={IMAGES} would do")
    if len(found.totals) != 1:
        raise ValueError(f"{results} has {len(found.totals)} scores of the whole; the lines of one scoring would do")
    own = 100 * mean(mean(shares) for _, shares in found.shares)
    if not math.isclose(found.totals[0], own, abs_tol=1e-6):
        said = f"says {found.totals[0]} of the whole, and the mean over its images is {own}"
        raise ValueError(f"{results} {said}; the lines of one scoring would do")
    for category, value in (found.fine | found.coarse).items():
        if math.isnan(value):
            said = f"{category!r} is no number: its processes took categories for one another"
            raise ValueError(f"{results}: {said}; a scoring with PYTHONHASHSEED=0 would do")


def read_results(results: Path) -> Results:
    """Raises ValueError for a line that the scorer does not write."""
    found = Results()
    level = found.coarse
    for number, line in enumerate(read_lines(results, RESULTS), 1):
        level = {COARSE: found.coarse, FINE: found.fine}.get(line, level)
        try:
            read_line(line, found, level)
        except ValueError:
            raise ValueError(f"{results}, line {number}, is none that the scorer writes; {RESULTS} would do") from None
    return found


def read_line(line: str, found: Results, level: dict[str, float]) -> None:
    """Adds what a line says, percentages to a level. Raises ValueError for one that says nothing."""
    path, is_image, numbers = line.partition(f"{SUFFIX}, ")
    category, _, value = line.rpartition(": ")
    if is_image:
        *shares, _ = map(float, numbers.split(", "))
        found.shares.append((path.replace("\\", "/").rpartition("/")[2], shares))
    elif line.startswith("\t"):
        level[category.strip()] = percentage(value)
    elif line.startswith(TOTAL):
        found.totals.append(percentage(value))
    elif line and line not in (COARSE, FINE) and not line.startswith(REMARKS):
        raise ValueError(line)


def percentage(text: str) -> float:
    """NaN is one: what the scorer writes of a category without answers."""
    value = float(text)
    if value < 0 or value > 100:
        raise ValueError(f"{text} is no percentage")
    return value
