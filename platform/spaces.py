"""What a network models: the pixels of images, or what an autoencoder makes of them.

Pixels are what this project is for. Latents are there to be measured against: the same network, data and training, with
an autoencoder before and after.

B batch   H, W image   c channels, h, w sides of what is modelled
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from unlatent.models.config import PixelTransformerConfig
from unlatent.platform.autoencoders import Autoencoder, at_once, open_autoencoder
from unlatent.platform.pixel_values import to_bytes, to_floats

LATENTS_OF = 3  # channels of an image: autoencoders read colours


class Space(Protocol):
    @property
    def identity(self) -> str | None:
        """What decides what is modelled; None for pixels."""

    @property
    def factor(self) -> int:
        """Pixels on a side for one of what is modelled."""

    def shape(self, sides: Sequence[int]) -> tuple[int, int, int]:
        """Channels, height and width of what is modelled of images with those.

        Raises ValueError for images that nothing is made of.
        """

    def encode(self, images: Tensor) -> Tensor:  # uint8 (B, C, H, W) -> (B, c, h, w)
        """What is modelled of images, on their device."""

    def decode(self, modelled: Tensor) -> Tensor:  # (B, c, h, w) -> uint8 (B, C, H, W)
        """The images of what is modelled."""

    def mask(self, mask: Tensor) -> Tensor:  # bool (B, 1, H, W) -> bool (B, 1, h, w)
        """Where what is modelled has a part in any of the pixels of a mask."""


class PixelSpace:
    """Every pixel as it is: `decode` of `encode` gives back the same image, bit for bit."""

    identity = None
    factor = 1

    def shape(self, sides: Sequence[int]) -> tuple[int, int, int]:
        channels, height, width = sides
        return channels, height, width

    def encode(self, images: Tensor) -> Tensor:
        return to_floats(images)

    def decode(self, modelled: Tensor) -> Tensor:
        return to_bytes(modelled)

    def mask(self, mask: Tensor) -> Tensor:
        return mask


PIXELS = PixelSpace()


@dataclass(frozen=True)
class LatentSpace:
    """Means of an autoencoder's latents, scaled as its config says, to a variance of about 1."""

    autoencoder: Autoencoder

    @property
    def identity(self) -> str:
        said = f"{self.autoencoder.sha256} {self.autoencoder.scale} {self.autoencoder.shift}"
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def factor(self) -> int:
        return self.autoencoder.factor

    def shape(self, sides: Sequence[int]) -> tuple[int, int, int]:
        channels, height, width = sides
        if channels != LATENTS_OF:
            raise ValueError(
                f"model.autoencoder={self.autoencoder.name} reads images of {LATENTS_OF} channels, not of {channels}"
            )
        for side in (height, width):
            self.autoencoder.require_size(side)
        return self.autoencoder.latent_channels, height // self.factor, width // self.factor

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        parts = [self.autoencoder.encode(to_floats(some)) for some in images.split(at_once(*images.shape[2:]))]
        return (torch.cat(parts) - self.autoencoder.shift) * self.autoencoder.scale

    @torch.no_grad()
    def decode(self, modelled: Tensor) -> Tensor:
        latents = modelled / self.autoencoder.scale + self.autoencoder.shift
        height, width = (side * self.factor for side in modelled.shape[2:])
        return torch.cat([to_bytes(self.autoencoder.decode(some)) for some in latents.split(at_once(height, width))])

    def mask(self, mask: Tensor) -> Tensor:
        return F.max_pool2d(mask.float(), self.factor) > 0


def open_space(config: PixelTransformerConfig, device: torch.device) -> Space:
    """What a network models.

    Raises ValueError, in one line, where its autoencoder cannot be loaded.
    """
    return PIXELS if config.autoencoder is None else open_latents(config.autoencoder, device)


def fitted(config: PixelTransformerConfig, channels: int, image_size: int) -> PixelTransformerConfig:
    """The network for square images of so many channels, and pixels on a side.

    Raises ValueError where there is none, or its autoencoder cannot be loaded.
    """
    channels, _, side = open_space(config, torch.device("cpu")).shape((channels, image_size, image_size))
    return replace(config, channels=channels, image_size=side)


@functools.lru_cache(maxsize=2)
def open_latents(autoencoder: str, device: torch.device) -> LatentSpace:
    return LatentSpace(open_autoencoder(autoencoder, device))
