"""What steps need so as to work at all: settings that go together, packages. It is looked at before any step runs.

Else what is wrong with the last step would be found when all that comes before it has been trained.
"""

from collections.abc import Callable
from dataclasses import replace

from unlatent.models.config import PixelTransformerConfig
from unlatent.pipelines.definition import Step
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.steps import ACTIONS
from unlatent.platform.autoencoder_training import FACTOR, require_sides
from unlatent.platform.autoencoders import autoencoder_class
from unlatent.platform.datasets import buckets_of, scene_plan
from unlatent.platform.edit_study.config import settings_to_try
from unlatent.platform.fidelity import similarity_function
from unlatent.platform.runs import require_no_pixels
from unlatent.platform.scenes import captions_of_pairs
from unlatent.platform.text_encoders import ByteEncoder


def require_workable(execution: Execution) -> None:
    """Raises ValueError, one line, for a step that would fail when its turn comes."""
    for step in execution.pipeline.steps.values():
        if step.run in CHECKS:
            try:
                CHECKS[step.run](execution, step)
            except ValueError as error:
                raise ValueError(f"step {step.name}: {error}") from None


def require_autoencoder(execution: Execution, step: Step) -> None:
    """Raises ValueError where diffusers is missing, and for images whose sides do not fit."""
    data = execution.configs[step.name].data
    require_sides(buckets_of(data) or [(data.image_size, data.image_size)])
    autoencoder_class()


def require_latents(execution: Execution, step: Step) -> None:
    """Raises ValueError for a network, or training, that does not fit the latents of the autoencoder to come."""
    config = execution.configs[step.name]
    require_no_pixels(config)
    side = config.data.image_size // FACTOR
    for need in giving(execution, step, "autoencoder"):
        try:
            replace(config.model, channels=execution.configs[need].autoencoder.latent_channels, image_size=side)
        except ValueError as error:
            raise ValueError(f"of latents of {side}x{side}, {error}") from None


def require_edits(execution: Execution, step: Step) -> None:
    """Raises ValueError for settings that cannot be tried, without pairs, for captions that are too long for a network,
    and where scikit-image is missing.

    Whether captions are too long is known of networks that read bytes.
    """
    config = execution.configs[step.name]
    settings_to_try(config.edit, config.edits)
    planned = scene_plan(execution.configs[giving(execution, step, "scenes")[0]].data)
    if planned.pairs < 1:
        raise ValueError("data.scenes.pairs=0 leaves nothing to edit; 1 or more would do")
    captions = captions_of_pairs(planned, config.edits.pairs)
    for need in giving(execution, step, "training_gflops"):  # of a checkpoint that is chosen, the network is not known
        if not any(execution.pipeline.steps[each].sweep for each in execution.pipeline.steps[need].needs):
            require_short(captions, execution.configs[need].model, need)
    similarity_function()


def require_short(captions: list[str], model: PixelTransformerConfig, step: str) -> None:
    if model.condition != "text" or not model.text.learned:
        return
    counts = {caption: ByteEncoder(model.text.tokens).count(caption) for caption in captions}
    longest = max(counts, key=counts.__getitem__)
    if counts[longest] > model.text.tokens:
        raise ValueError(
            f"model.text.tokens={model.text.tokens} of {step} is below {counts[longest]}, the tokens of a scene to be "
            f"edited ({longest!r}); {counts[longest]} would do"
        )


def giving(execution: Execution, step: Step, value: str) -> list[str]:
    """Those of the steps that a step needs that hand on a value."""
    steps = execution.pipeline.steps
    return [need for need in step.needs if value in ACTIONS[steps[need].run].gives]


CHECKS: dict[str, Callable[[Execution, Step], None]] = {  # by the action
    "train_autoencoder": require_autoencoder,
    "train_on_latents": require_latents,
    "compare_edits": require_edits,
}
