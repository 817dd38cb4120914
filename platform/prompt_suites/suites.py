"""The suites that there are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unlatent.platform.prompt_suites import dpg, geneval
from unlatent.platform.prompt_suites.plan import Plan, Scores, SuitePrompt
from unlatent.platform.store import Store


@dataclass(frozen=True)
class Suite:
    """How a suite gives its prompts, wants its images, and says its scores."""

    read_prompts: Callable[[Path], list[SuitePrompt]]
    paths_of: Callable[[str], list[str]]  # the files of a prompt, by its name
    write: Callable[[Store, SuitePrompt, Tensor], None]
    read_scores: Callable[[Path, Plan], Scores]


SUITES = {
    "geneval": Suite(geneval.read_prompts, geneval.paths_of, geneval.write, geneval.read_scores),
    "dpg": Suite(dpg.read_prompts, dpg.paths_of, dpg.write, dpg.read_scores),
}
