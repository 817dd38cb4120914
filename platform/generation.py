"""Images from a checkpoint."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from unlatent.models.condition import Condition, to_device
from unlatent.models.config import config_from
from unlatent.models.network import PixelTransformer
from unlatent.models.samplers import SamplerConfig, sample
from unlatent.platform import checkpoints
from unlatent.platform.buckets import Sides
from unlatent.platform.image_sizes import read_size, require_drawable, trained_sides
from unlatent.platform.places import AS_TRAINED, Places, moved
from unlatent.platform.prompts import Prompt, Prompts, require_guided
from unlatent.platform.spaces import LATENTS_OF, Space, open_space
from unlatent.platform.store import Store, split_address
from unlatent.platform.text_encoders import TextEncoder, open_text_encoder


@dataclass
class LoadedModel:
    """A network with the weights of one checkpoint, and what is needed to ask it for images."""

    network: PixelTransformer
    sampler: SamplerConfig  # the settings that its run was configured with
    classes: list[str]
    run_id: str
    checkpoint: str  # relative to the store
    checkpoint_hash: str
    images_seen: int
    weights: str  # ema or raw
    trained_sides: list[Sides] = field(default_factory=list)  # height and width of images; none: it is not known
    trained_space: str | None = None  # what decides the latents that it was trained on; None: pixels, or not known

    @property
    def autoencoder(self) -> str | None:
        """Whose latents the network models; None: pixels."""
        return self.network.config.autoencoder

    @cached_property
    def space(self) -> Space:
        """What the network models of an image: its pixels, or latents.

        Raises ValueError, in one line, where the autoencoder of these cannot be loaded, or is another than in training.
        """
        space = open_space(self.network.config, self.device)
        if self.trained_space not in (None, space.identity):
            raise ValueError(
                f"model.autoencoder={self.autoencoder} is another than {self.checkpoint} was trained with; its weights "
                "or their scale differ"
            )
        return space

    @property
    def image_size(self) -> int:
        """Pixels on a side of its images."""
        return self.network.config.image_size * self.space.factor

    @property
    def sides(self) -> Sides:
        """Height and width of its images, where no other are asked for."""
        return self.image_size, self.image_size

    @property
    def sizes(self) -> list[Sides]:
        """Those that it has been trained on, or its own where that is not known: what it is served for."""
        return self.trained_sides or [self.sides]

    @property
    def colours(self) -> int:
        """Channels of its images."""
        return LATENTS_OF if self.network.config.autoencoder else self.network.config.channels

    @cached_property
    def encoder(self) -> TextEncoder | None:
        """Of a network that is conditioned on texts; opened when it is first needed.

        Raises ValueError, in one line, where it cannot be.
        """
        config = self.network.config
        return open_text_encoder(config.text, self.device) if config.condition == "text" else None

    @property
    def prompts(self) -> Prompts:
        return Prompts(self.classes, self.encoder)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def generate(
        self,
        prompts: Sequence[str | int],
        seeds: Sequence[int],
        settings: SamplerConfig | None = None,
        size: str | None = None,
        negative_prompt: str | int | None = None,
    ) -> list[Image.Image]:
        """One image for each prompt (a text; or a class, by name or index) and seed.

        Settings and size (`1280x768`: width, height) are the run's own unless given; guidance leads away from the
        negative prompt, or from nothing in particular. Raises ValueError for what is no class, a text that is too
        long, a negative prompt without guidance, or a size that is not to be drawn.
        """
        asked = [self.prompts.read(str(said)) for said in prompts]
        avoided = None if negative_prompt is None else self.prompts.read(str(negative_prompt))
        require_guided(avoided, settings or self.sampler)
        sides = None if size is None else self.read_size(size)
        return [to_image(pixels) for pixels in generate(self, asked, seeds, settings or self.sampler, sides, avoided)]

    def read_size(self, said: str) -> Sides:
        """Raises ValueError for a size that is not to be drawn."""
        sides = read_size(said)
        require_drawable(sides, self.network.config.patch_size * self.space.factor, self.image_size)
        return sides

    def noise(self, seeds: Sequence[int], sides: Sides) -> Tensor:
        """What images of that height and width begin as."""
        return draw_noise(seeds, self.space.shape((self.colours, *sides))).to(self.device)

    def condition(self, prompts: Sequence[Prompt]) -> Condition:
        """What the network is told of each."""
        if self.encoder is None:
            return torch.tensor(prompts, device=self.device)
        return to_device(self.encoder.encode([str(prompt) for prompt in prompts]), self.device)

    def unconditional(self, rows: int) -> Condition:
        """What it is told of images that are to show nothing in particular."""
        return self.network.unconditional(rows) if self.encoder is None else self.condition([""] * rows)


def load(
    checkpoint: str | Path,
    weights: str = "ema",
    device: str = "cpu",
    *,
    encoder: str | None = None,
    autoencoder: str | None = None,
) -> LoadedModel:
    """Loads a checkpoint by its folder: a path on this machine, or an object store's address.

    `encoder` and `autoencoder` are where these lie now, of a network that needs one, if not where they lay in training.
    Raises ValueError if it is no checkpoint, or a damaged one.
    """
    store, name = split_address(str(checkpoint))
    return load_model(store, name, weights, device, Places(encoder, autoencoder))


def load_model(
    store: Store, path: str, weights: str = "ema", device: str | torch.device = "cpu", places: Places = AS_TRAINED
) -> LoadedModel:
    """Loads the checkpoint at a path of a store. The files read are verified; raises ValueError if one is damaged."""
    checkpoint = checkpoints.find(store, path)
    config = yaml.safe_load(checkpoints.read(store, checkpoint, "config.yaml"))
    trained = moved(config_from(config["model"]), config.get("store"), store)
    network = PixelTransformer(places.applied(trained))
    network.load_state_dict(checkpoints.load_weights(store, checkpoint, weights))
    return LoadedModel(
        network=network.to(device).eval().requires_grad_(False),
        sampler=SamplerConfig(**config["sampler"]),
        classes=list(checkpoint.classes),
        run_id=checkpoint.run_id,
        checkpoint=path,
        checkpoint_hash=checkpoint.hash,
        images_seen=checkpoint.images_seen,
        weights=weights,
        trained_sides=trained_sides(config.get("data", {})),
        trained_space=checkpoint.space,
    )


def draw_noise(seeds: Sequence[int], shape: tuple[int, int, int]) -> Tensor:  # (C, H, W) -> (N, C, H, W)
    """Each image's noise comes from its own seed, on the CPU, so that neither batch nor device shows in it."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@torch.inference_mode()
def generate(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    settings: SamplerConfig,
    sides: Sides | None = None,
    avoided: Prompt | None = None,
) -> Tensor:
    """Images as uint8 (N, C, H, W). Image i depends on the checkpoint, its prompt, its seed and the settings alone.

    And on their height and width, where those are not the run's own, and on what guidance leads away from.
    """
    noise, rows = model.noise(seeds, sides or model.sides), len(prompts)
    away = model.unconditional(rows) if avoided is None else model.condition([avoided] * rows)
    return model.space.decode(sample(model.network, noise, model.condition(prompts), settings, away)).cpu()


def to_image(pixels: Tensor) -> Image.Image:
    """One uint8 image (C, H, W) as a picture: grey for one channel, colour for three."""
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def from_image(picture: Image.Image) -> Tensor:  # (C, H, W)
    """Its pixels as uint8: a channel for each of its bands."""
    array = np.array(picture)
    return torch.from_numpy(array[:, :, None] if array.ndim == 2 else array).permute(2, 0, 1)


def to_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def image_grid(images: Tensor, columns: int, scale: int = 1, gap: int = 1) -> Image.Image:
    """uint8 images (N, C, H, W), row by row, `gap` pixels apart; then every pixel is drawn `scale` pixels wide."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    canvas = torch.full((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), 255, dtype=torch.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    picture = to_image(canvas)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
