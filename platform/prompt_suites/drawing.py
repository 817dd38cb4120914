"""Draws the images of a suite into a folder, as its scorer reads them; what is there already is left as it is."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch

from unlatent.models.samplers import SamplerConfig
from unlatent.platform import shard_folder
from unlatent.platform.evaluation import drawn_how, parts
from unlatent.platform.generation import LoadedModel
from unlatent.platform.orders import Generation, carry_out
from unlatent.platform.prompt_suites.plan import IMAGES, Plan, SuitePrompt, hash_of
from unlatent.platform.prompt_suites.suites import SUITES
from unlatent.platform.prompts import require_guided
from unlatent.platform.store import Store


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A suite's images, as one model draws them.

    Raises ValueError for a model of classes, for a prompt that is too long for it, and for a negative prompt without
    guidance.
    """

    suite: str
    prompts: Sequence[SuitePrompt]
    model: LoadedModel
    sampler: SamplerConfig
    seed: int
    negative_prompt: str | None = None  # what guidance leads away from, for every prompt

    def __post_init__(self) -> None:
        if self.model.encoder is None:
            raise ValueError(
                f"{self.model.checkpoint} makes images of classes, and suites have texts; one trained with "
                "model.condition=text would do"
            )
        for prompt in self.prompts:
            self.require_readable(f"prompt {prompt.name}", prompt.text)
        if self.negative_prompt is not None:
            self.require_readable("negative_prompt", self.negative_prompt)
        require_guided(self.negative_prompt, self.sampler)

    def require_readable(self, what: str, text: str) -> None:
        try:
            self.model.prompts.read(text)
        except ValueError as error:
            raise ValueError(f"{what}, {text[:40]!r}: {error}") from None

    @property
    def plan(self) -> Plan:
        """What a folder is to hold."""
        return Plan(
            suite=self.suite,
            **drawn_how(self.model, self.sampler),
            image_size=self.model.image_size,
            network_evaluations=float(self.sampler.network_evaluations()),
            seed=self.seed,
            prompts_hash=hash_of({prompt.name: prompt.metadata for prompt in self.prompts}),
            names=[prompt.name for prompt in self.prompts],
            negative_prompt=self.negative_prompt,
        )

    def order(self, prompt: SuitePrompt) -> Generation:
        seeds = [noise_seed(self.seed, prompt.name, number) for number in range(IMAGES)]
        return Generation(
            prompt=prompt.text,
            avoided=self.negative_prompt,
            seeds=seeds,
            settings=self.sampler,
            sides=self.model.sides,
        )


def draw(drawing: Drawing, out: Store, max_rows: int, on_prompts: Callable[[int, int], None]) -> None:
    """Writes what is missing. `on_prompts` is told how many prompts are done, of how many.

    Prompts are drawn in the same batches whatever is missing, so that rounding, too, is that of an undisturbed run.
    Raises ValueError for a folder that holds something else.
    """
    shard_folder.begin(out, asdict(drawing.plan))
    out.delete_unfinished("")
    suite, there = SUITES[drawing.suite], {file.path for file in out.walk()}
    for part in parts(len(drawing.prompts), max(1, max_rows // (IMAGES * drawing.sampler.most_rows))):
        prompts = drawing.prompts[part]
        missing = [prompt for prompt in prompts if not there.issuperset(suite.paths_of(prompt.name))]
        if missing:
            images = carry_out(drawing.model, [drawing.order(prompt) for prompt in prompts], max_rows)
            by_prompt = torch.stack(images).unflatten(0, (-1, IMAGES))  # (N, IMAGES, C, H, W)
            for prompt in missing:
                suite.write(out, prompt, by_prompt[prompts.index(prompt)])
        on_prompts(part.stop, len(drawing.prompts))


def noise_seed(seed: int, name: str, number: int) -> int:
    """Of one image of a prompt. Hashed, so that no noise of another seed, or of training, comes back here."""
    return int.from_bytes(hashlib.sha256(f"suite {seed} {name} {number}".encode()).digest()[:8], "big") >> 1
