"""What an image is to show, as a user says it."""

from collections.abc import Sequence
from dataclasses import dataclass

from unlatent.models.samplers import SamplerConfig
from unlatent.platform.text_encoders import TextEncoder

Prompt = int | str  # a class by its index, or a text


@dataclass(frozen=True)
class Prompts:
    """Those that a model takes: classes or, where it has an encoder, texts."""

    classes: Sequence[str]
    encoder: TextEncoder | None

    def read(self, said: str) -> Prompt:
        """Raises ValueError for what is no class, naming those there are, or for a text that is too long."""
        if self.encoder is None:
            return class_index(self.classes, said)
        count, most = self.encoder.count(said), self.encoder.tokens
        if count > most:
            raise ValueError(f"a text of {count} tokens is longer than the {most} that the model reads")
        return said

    def name(self, prompt: Prompt) -> str:
        return self.classes[prompt] if isinstance(prompt, int) else prompt

    def text_tokens(self, prompt: Prompt | None) -> int:
        return self.encoder.count(prompt) if self.encoder and isinstance(prompt, str) else 0


def require_guided(avoided: Prompt | None, settings: SamplerConfig) -> None:
    """Raises ValueError for a negative prompt where nothing is guided, for then the network is never told of it."""
    if avoided is not None and settings.most_rows == 1:
        would_do = "guidance=2" if settings.guidance == 1 else "a wider guidance interval, or more steps,"
        raise ValueError(f"negative_prompt has no effect without guidance; {would_do} would do")


def class_index(classes: Sequence[str], name: str) -> int:
    """The index of a class given by name or by index.

    Raises ValueError naming the classes there are.
    """
    if name in classes:
        return classes.index(name)
    if name.isascii() and name.isdecimal() and int(name) < len(classes):
        return int(name)
    shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
    raise ValueError(f"{name!r} is not one of the model's {len(classes)} classes: {shown}")
