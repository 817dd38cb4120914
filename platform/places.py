"""Where lies what a checkpoint needs besides itself: the encoder of its texts, or the autoencoder of its latents.

A checkpoint names them as they were named in training. On another machine they may lie elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unlatent.models.config import PixelTransformerConfig
from unlatent.platform.store import Store

if TYPE_CHECKING:
    from unlatent.platform.config import Config

ENCODER, AUTOENCODER = "model.text.encoder", "model.autoencoder"


@dataclass(frozen=True)
class Places:
    """By folder, address or hub id. None: where the checkpoint says."""

    encoder: str | None = None
    autoencoder: str | None = None

    def applied(self, config: PixelTransformerConfig) -> PixelTransformerConfig:
        """A network's config with these; what it has no use for stays out of it."""
        if self.encoder and config.condition == "text" and not config.text.learned:
            config = replace(config, text=replace(config.text, encoder=self.encoder))
        if self.autoencoder and config.autoencoder:
            config = replace(config, autoencoder=self.autoencoder)
        return config


AS_TRAINED = Places()


def places_of(config: "Config", overrides: Sequence[str] | None) -> Places:
    """Those that overrides of a config name."""
    named = {text.partition("=")[0] for text in overrides or []}
    return Places(
        encoder=config.model.text.encoder if ENCODER in named else None,
        autoencoder=config.model.autoencoder if AUTOENCODER in named else None,
    )


def moved(config: PixelTransformerConfig, before: str | None, store: Store) -> PixelTransformerConfig:
    """A network's config after its store has moved, with what lay in the store `before` and lies in this one now."""
    folder = (before or "").partition("?")[0]  # an address has options behind it
    if not (config.autoencoder and folder and config.autoencoder.startswith(f"{folder}/")):
        return config
    path = config.autoencoder.partition("?")[0].removeprefix(f"{folder}/")
    return replace(config, autoencoder=store.uri(path)) if store.exists(path) else config
