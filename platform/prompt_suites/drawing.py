"""Draws the images of a suite into a folder, as its scorer reads them; what is there already is left as it is."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch

from unlatent.models.samplers import SamplerConfig
from unlatent.platform import preparing
from unlatent.platform.evaluation import drawn_how, parts
from unlatent.platform.generation import LoadedModel
from unlatent.platform.orders import Generation, carry_out
from unlatent.platform.prompt_suites.plan import IMAGES, Plan, SuitePrompt, hash_of
from unlatent.platform.prompt_suites.suites import SUITES
from unlatent.platform.store import Store


def require_readable(model: LoadedModel, prompts: Sequence[SuitePrompt]) -> None:
    """Raises ValueError for a model of classes, and for a prompt that is too long for it."""
    if model.encoder is None:
        raise ValueError(
            f"{model.checkpoint} makes images of classes, and suites have texts; one trained with "
            "model.condition=text would do"
        )
    for prompt in prompts:
        try:
            model.prompts.read(prompt.text)
        except ValueError as error:
            raise ValueError(f"prompt {prompt.name}, {prompt.text[:40]!r}: {error}") from None


def plan(suite: str, prompts: Sequence[SuitePrompt], model: LoadedModel, sampler: SamplerConfig, seed: int) -> Plan:
    """What a folder is to hold.

    Raises ValueError for a model that cannot draw it.
    """
    require_readable(model, prompts)
    return Plan(
        suite=suite,
        **drawn_how(model, sampler),
        image_size=model.network.config.image_size,
        network_evaluations=float(sampler.network_evaluations()),
        seed=seed,
        prompts_hash=hash_of({prompt.name: prompt.metadata for prompt in prompts}),
        names=[prompt.name for prompt in prompts],
    )


def draw(
    model: LoadedModel,
    sampler: SamplerConfig,
    planned: Plan,
    prompts: Sequence[SuitePrompt],
    out: Store,
    max_rows: int,
    on_prompts: Callable[[int, int], None],
) -> None:
    """Writes what is missing. `on_prompts` is told how many prompts are done, of how many.

    Prompts are drawn in the same batches whatever is missing, so that rounding, too, is that of an undisturbed run.
    Raises ValueError for a folder that holds something else.
    """
    suite, size = SUITES[planned.suite], max(1, max_rows // (IMAGES * sampler.most_rows))
    preparing.begin(out, asdict(planned))
    out.delete_unfinished("")
    there = {file.path for file in out.walk()}
    for part in parts(len(prompts), size):
        missing = [not there.issuperset(suite.paths_of(prompt.name)) for prompt in prompts[part]]
        if any(missing):
            orders = [order_of(prompt, planned.seed, sampler) for prompt in prompts[part]]
            images = torch.stack(carry_out(model, orders, max_rows)).unflatten(0, (-1, IMAGES))  # (N, IMAGES, C, H, W)
            for prompt, own, is_missing in zip(prompts[part], images, missing, strict=True):
                if is_missing:
                    suite.write(out, prompt, own)
        on_prompts(part.stop, len(prompts))


def order_of(prompt: SuitePrompt, seed: int, sampler: SamplerConfig) -> Generation:
    seeds = [noise_seed(seed, prompt.name, number) for number in range(IMAGES)]
    return Generation(prompt=prompt.text, seeds=seeds, settings=sampler)


def noise_seed(seed: int, name: str, number: int) -> int:
    """Of one image of a prompt. Hashed, so that no noise of another seed, or of training, comes back here."""
    return int.from_bytes(hashlib.sha256(f"suite {seed} {name} {number}".encode()).digest()[:8], "big") >> 1
