"""The shape of a network, and the choices that an ablation turns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from unlatent.models.condition import TOKEN_BYTES

CHOICES = {
    "condition": ("class", "text"),
    "norm": ("rms", "layer"),
    "position": ("rope", "sincos"),
    "adaln": ("pixel", "patch", "global"),
    "modulation": ("pre", "post"),
    "prediction": ("velocity", "data"),
}


@dataclass(kw_only=True)
class CompactionConfig:
    """How the pixel level reduces an image to attention tokens."""

    window: int | None = None  # pixels on a side merged into one token; None: patch_size
    width: int | None = None  # of the attention; None: the model's
    heads: int | None = None  # None: the model's
    attention: bool = True  # without it the pixel blocks are MLPs, and no pixel sees another

    def __post_init__(self) -> None:
        for name in ("window", "width", "heads"):
            value = getattr(self, name)
            if value is not None:
                require_at_least(1, f"compaction.{name}", value)


LEARNED = "bytes"


@dataclass(kw_only=True)
class TextConfig:
    """What a text is given as. The defaults are the published networks'."""

    encoder: str = "google/gemma-2-2b-it"  # of transformers, by hub id or folder; or bytes: learned with the network
    instruction: str | None = None  # a file with what such an encoder reads before each text
    instruction_text: str | None = None  # what it says, once it has been read: networks keep it
    width: int = 2304  # of the encoder's tokens
    tokens: int = 300  # at most
    mask_padding: bool = True  # published networks see padding as they see text

    def __post_init__(self) -> None:
        for name in ("width", "tokens"):
            require_at_least(1, f"text.{name}", getattr(self, name))
        if self.encoder == LEARNED and self.width % TOKEN_BYTES:
            raise ValueError(
                f"text.width={self.width} is not a multiple of {TOKEN_BYTES}, as text.encoder=bytes needs; 64 would do"
            )

    @property
    def learned(self) -> bool:
        """Whether the network reads bytes, with no encoder before it."""
        return self.encoder == LEARNED


@dataclass(kw_only=True)
class PixelTransformerConfig:
    """A PixelDiT. The defaults are the paper's XL on 256 x 256 ImageNet."""

    image_size: int = 256  # on a side, of pixels, or of latents
    channels: int = 3
    autoencoder: str | None = None  # by folder, address or hub id: the network models its latents; None: pixels
    condition: str = "class"  # class, text
    classes: int = 1000  # one more label, equal to this, means no class; without effect on a text's network
    text: TextConfig = field(default_factory=TextConfig)  # without effect on a class's
    time_scale: float = 1.0  # of the time, before it is embedded; 1000 in published text networks
    patch_size: int = 16
    width: int = 1152
    heads: int = 16
    patch_depth: int = 26
    pixel_width: int = 16
    pixel_depth: int = 4  # 0: a plain DiT on patches
    compaction: CompactionConfig = field(default_factory=CompactionConfig)
    norm: str = "rms"  # rms, layer
    position: str = "rope"  # rope, sincos; pixels carry sincos positions either way
    adaln: str = "pixel"  # what has modulations of its own in the pixel level: pixel, patch, global
    modulation: str = "pre"  # of the pixel blocks: pre (shift, scale, gate), post (scale, shift)
    prediction: str = "velocity"  # what the last layer says: velocity, data

    def __post_init__(self) -> None:
        self._require_ranges()
        if self.image_size % self.patch_size:
            raise ValueError(
                f"patch_size={self.patch_size} does not divide image_size={self.image_size}; "
                f"{listed(divisors(self.image_size))} would"
            )
        require_fours("width", self.width, f"position={self.position} needs")
        self._require_heads("heads", self.heads, "width", self.width)
        if self.pixel_depth:
            self._require_pixel_level()
        else:
            self._refuse_compaction()

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.image_size // self.patch_size

    @property
    def window(self) -> int:
        return self.compaction.window or self.patch_size

    @property
    def attention_width(self) -> int:
        return self.compaction.width or self.width

    @property
    def attention_heads(self) -> int:
        return self.compaction.heads or self.heads

    def _require_ranges(self) -> None:
        for part in fields(self):
            if part.type is int:
                require_at_least(0 if part.name == "pixel_depth" else 1, part.name, getattr(self, part.name))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known; {listed(known)} would do")

    def _require_heads(self, name: str, heads: int, width_name: str, width: int) -> None:
        multiple = 4 if self.position == "rope" else 1  # RoPE turns pairs of values, half of them per axis
        usable = [h for h in divisors(width) if width // h % multiple == 0]
        if heads not in usable:
            each = f" of a multiple of {multiple} values, as position=rope needs" if multiple > 1 else ""
            raise ValueError(
                f"{name}={heads} does not split {width_name}={width} into equal heads{each}; {listed(usable)} would"
            )

    def _require_pixel_level(self) -> None:
        require_fours("pixel_width", self.pixel_width, "the positions of pixels need")
        if not self.compaction.attention:
            if self.window != self.patch_size:
                raise ValueError(
                    f"compaction.window={self.window} has no effect with compaction.attention=False; "
                    "null would do, or attention=True"
                )
            return
        if self.patch_size % self.window:
            raise ValueError(
                f"compaction.window={self.window} does not divide patch_size={self.patch_size}; "
                f"{listed(divisors(self.patch_size))} would"
            )
        if self.position == "rope":
            require_fours("compaction.width", self.attention_width, "position=rope needs")
        self._require_heads("compaction.heads", self.attention_heads, "compaction.width", self.attention_width)

    def _refuse_compaction(self) -> None:
        for part in fields(CompactionConfig):
            value = getattr(self.compaction, part.name)
            if value != part.default and not (part.name == "window" and value == self.patch_size):
                raise ValueError(
                    f"compaction.{part.name}={value} has no effect with pixel_depth=0; "
                    f"{'null' if part.default is None else part.default} would do, or a pixel_depth of 1 or more"
                )


def config_from(said: Mapping[str, Any]) -> PixelTransformerConfig:
    """The configuration that a mapping spells out, as a preset or a checkpoint's `config.yaml` does."""
    parts = {"compaction": CompactionConfig(**said.get("compaction", {})), "text": TextConfig(**said.get("text", {}))}
    return PixelTransformerConfig(**{**said, **parts})


def require_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise ValueError(f"{name}={value} is below {least}; {least} or more would do")


def require_fours(name: str, value: int, why: str) -> None:
    if value % 4:
        below, above = value // 4 * 4, value // 4 * 4 + 4
        raise ValueError(
            f"{name}={value} is not a multiple of 4, which {why}; "
            f"{listed([near for near in (below, above) if near])} would do"
        )


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def listed(options: Iterable[object]) -> str:
    *most, last = map(str, options)
    return f"{', '.join(most)} or {last}" if most else last
