"""A small autoencoder trained on a data set's own images: what a latent model of the same images would start from.

An `AutoencoderKL` of latent diffusion's layout, 8 pixels to one of the latent. Its loss is the mean absolute error and
a little KL divergence, as in arXiv 2112.10752 without that paper's perceptual and adversarial terms: it blurs where
those would make detail up. Published autoencoders are larger, trained for longer and on more images.

    artifacts/autoencoders/<id>/checkpoints/<images seen>   weights and optimizer, to go on from
                               /vae/config.json             the autoencoder, as diffusers reads it
                                   /diffusion_pytorch_model.safetensors
                                   /training.json           config, data, loss, seconds, FLOPs
"""

import hashlib
import io
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unlatent.platform import checkpoints
from unlatent.platform.autoencoders import autoencoder_class
from unlatent.platform.batches import batches
from unlatent.platform.buckets import Sides
from unlatent.platform.checkpoints import Checkpoint
from unlatent.platform.data_order import mix
from unlatent.platform.datasets import Dataset
from unlatent.platform.pixel_values import to_floats
from unlatent.platform.provenance import provenance
from unlatent.platform.store import Store

FORMAT_VERSION = 2  # another one trains anew
FACTOR = 8
WIDTHS = (1, 2, 4, 4)  # channels at each resolution, in multiples of the first
GROUP_CHANNELS = 4  # that are normed together at the images' own resolution, as in Stable Diffusion's
FIRST_LOG_VARIANCE = -6.0  # of the latent's distribution: at 0, noise would hide it from the decoder for long
SCALED_BY, ENCODED_AT_ONCE = 1024, 64  # images from which the scale of latents is taken
WEIGHT_DECAY, CLIP_NORM = 0.01, 1.0
AT_LEAST = {"width": GROUP_CHANNELS, "blocks": 1, "latent_channels": 1, "total_images": 1, "batch_size": 1, "seed": 0}


@dataclass(kw_only=True)
class AutoencoderConfig:
    """Of a run on two CPU cores; Stable Diffusion's autoencoder has a width of 128 and two blocks."""

    width: int = 32  # channels at the images' own resolution; four times as many at the latent's
    blocks: int = 1  # residual blocks at each resolution, one more on the way back
    latent_channels: int = 4  # 4 as in SDXL, 16 as in SD3 and FLUX
    total_images: int = 64_000
    batch_size: int = 8  # images a step
    learning_rate: float = 1e-3  # at its peak; it falls to zero along a cosine
    warmup_images: int = 1_000
    kl_weight: float = 1e-6  # of the latent's nats for each pixel value, beside the mean absolute error
    checkpoint_images: int = 8_000  # that at most are seen again after a kill
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"autoencoder.{name}={getattr(self, name)} is below {least}")
        if self.width % GROUP_CHANNELS:
            raise ValueError(f"autoencoder.width={self.width} is not a multiple of {GROUP_CHANNELS}")
        for name in ("total_images", "checkpoint_images"):
            if getattr(self, name) % self.batch_size:
                found = f"autoencoder.{name}={getattr(self, name)}"
                raise ValueError(f"{found} is not a multiple of autoencoder.batch_size={self.batch_size}")
        if not (self.learning_rate > 0 and self.warmup_images >= 0 and self.kl_weight >= 0):
            raise ValueError("autoencoder: learning_rate has to be above 0, warmup_images and kl_weight not below")

    @property
    def layout(self) -> dict[str, Any]:
        """The arguments of diffusers' constructor."""
        return {
            "block_out_channels": [self.width * times for times in WIDTHS],
            "down_block_types": ["DownEncoderBlock2D"] * len(WIDTHS),
            "up_block_types": ["UpDecoderBlock2D"] * len(WIDTHS),
            "layers_per_block": self.blocks,
            "latent_channels": self.latent_channels,
            "norm_num_groups": self.width // GROUP_CHANNELS,
        }


def train_autoencoder(
    config: AutoencoderConfig,
    dataset: Dataset,
    store: Store,
    device: torch.device,
    on_images: Callable[[int, int], None] = lambda seen, total: None,
) -> str:
    """Trains on the data set's training split; returns where in the store the autoencoder is.

    The same call goes on where an earlier one was cut off, comes to the same weights on the same machine, and returns
    at once when all is done. Of several processes that make it, one trains and the others wait, on a local store.
    `on_images` is told how many images are seen, of how many. Raises ValueError where diffusers is missing, or for
    images whose sides are no multiples of 8.
    """
    buckets = dataset.train.buckets
    require_sides(buckets.sides if buckets else [(dataset.image_size, dataset.image_size)])
    folder = folder_of(config, dataset)
    with store.lock(f"{folder}/.lock"):
        for part in (folder, f"{folder}/checkpoints"):
            store.delete_unfinished(part)
        if not store.exists(f"{folder}/vae/training.json"):
            finish(config, dataset, store, folder, *train(config, dataset, store, folder, device, on_images))
        store.delete(f"{folder}/checkpoints")  # none is needed any more
    on_images(config.total_images, config.total_images)
    return f"{folder}/vae"


def require_sides(sides: Sequence[Sides]) -> None:
    """Raises ValueError for images with sides that latents do not fit."""
    for height, width in sides:
        if height % FACTOR or width % FACTOR:
            raise ValueError(
                f"images of {width}x{height} pixels do not fit an autoencoder that shrinks them by {FACTOR}; "
                f"data.image_size, and data.bucket_step where there are buckets, should be multiples of {FACTOR}"
            )


def folder_of(config: AutoencoderConfig, dataset: Dataset) -> str:
    """Of the autoencoder that this config and these images give."""
    said = json.dumps([FORMAT_VERSION, asdict(config), dataset.hash])
    return f"artifacts/autoencoders/{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def train(
    config: AutoencoderConfig,
    dataset: Dataset,
    store: Store,
    folder: str,
    device: torch.device,
    on_images: Callable[[int, int], None],
) -> tuple[nn.Module, dict[str, float]]:
    """The trained network, and how it went: the last loss, and the seconds it took."""
    network = new_network(config).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=WEIGHT_DECAY)
    images_seen, went = resume(store, folder, network, optimizer)
    positions = range(images_seen, config.total_images, config.batch_size)
    split, started = dataset.train, time.monotonic() - went["seconds"]
    for images, _ in batches(split, split.order(config.seed, config.batch_size), positions, 0, 1, decoders=0):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, images_seen)
        generator = torch.Generator(device).manual_seed(mix(config.seed, images_seen, 0))
        loss = reconstruction_loss(network, to_floats(images.to(device)), config.kl_weight, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        images_seen += config.batch_size
        on_images(images_seen, config.total_images)
        if images_seen % config.checkpoint_images == 0 or images_seen == config.total_images:
            went = {"loss": loss.item(), "seconds": time.monotonic() - started}
            save(store, folder, images_seen, network, optimizer, went)
    return network, went


def new_network(config: AutoencoderConfig) -> nn.Module:
    """The same random weights for the same seed. Leaves torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(config.seed)
        network: Any = autoencoder_class()(**config.layout)
        network.quant_conv.bias[config.latent_channels :] = FIRST_LOG_VARIANCE
    return network


def reconstruction_loss(
    network: Any, images: Tensor, kl_weight: float, generator: torch.Generator
) -> Tensor:  # (B, 1 or 3, H, W) in [-1, 1] -> ()
    """Mean absolute error of what is decoded from a sample of the latent, and the latent's divergence from noise."""
    images = images.expand(-1, 3, -1, -1)
    posterior = network.encode(images).latent_dist
    decoded = network.decode(posterior.sample(generator)).sample  # (B, 3, H, W)
    return (decoded - images).abs().mean() + kl_weight * posterior.kl().sum() / images.numel()


def learning_rate(config: AutoencoderConfig, images_seen: int) -> float:
    rising = min(1.0, (images_seen + config.batch_size) / max(config.warmup_images, config.batch_size))
    return config.learning_rate * rising * (1 + math.cos(math.pi * images_seen / config.total_images)) / 2


def save(
    store: Store, folder: str, images_seen: int, network: nn.Module, optimizer: torch.optim.Optimizer, went: dict
) -> None:
    """Writes a checkpoint, which is there as a whole or not at all, and deletes those before the last."""
    state = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "went": went}, state)
    meta = {"run_id": folder.rpartition("/")[2], "images_seen": images_seen, "classes": []}
    path = f"{folder}/checkpoints/{images_seen:012d}"
    checkpoints.write(store, path, {"raw": network.state_dict()}, meta, {"state.pt": state.getvalue()})
    for older in checkpoints.whole_in(store, f"{folder}/checkpoints")[:-2]:
        store.delete(older)


def resume(
    store: Store, folder: str, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, float]]:
    """Puts the last whole checkpoint, if there is one, into network and optimizer; the images it had seen."""
    checkpoint = last_whole(store, f"{folder}/checkpoints")
    if checkpoint is None:
        return 0, {"loss": math.nan, "seconds": 0.0}
    network.load_state_dict(checkpoints.load_weights(store, checkpoint, "raw"))
    state = checkpoints.load_state(store, checkpoint)
    optimizer.load_state_dict(state["optimizer"])
    return checkpoint.images_seen, state["went"]


def last_whole(store: Store, folder: str) -> Checkpoint | None:
    for path in reversed(checkpoints.whole_in(store, folder)):
        try:
            checkpoint = checkpoints.find(store, path)
            checkpoints.verify(store, checkpoint)
        except ValueError:  # damaged: the one before it goes on to the same weights
            continue
        return checkpoint
    return None


def finish(
    config: AutoencoderConfig,
    dataset: Dataset,
    store: Store,
    folder: str,
    network: Any,
    went: dict[str, float],
) -> None:
    """Writes the autoencoder as diffusers does, and how it was trained."""
    network.register_to_config(scaling_factor=1 / latent_deviation(network, dataset))
    said = {
        "config": asdict(config),
        "data": {"name": dataset.name, "hash": dataset.hash, "images": len(dataset.train)},
        "parameters": sum(each.numel() for each in network.parameters()),
        "training_gflops": training_gflops(config, dataset.image_size) * config.total_images,
        **went,
        "provenance": provenance(),
    }
    with tempfile.TemporaryDirectory() as written:
        network.cpu().save_pretrained(written)
        contents = {file.name: file.read_bytes() for file in sorted(Path(written).iterdir())}
    store.write_folder(f"{folder}/vae", contents | {"training.json": json.dumps(said, indent=2).encode()})


@torch.inference_mode()
def latent_deviation(network: Any, dataset: Dataset) -> float:
    """Standard deviation of the latents of some images, evenly from those to train on."""
    split, device = dataset.train, next(network.parameters()).device
    chosen = np.unique(np.linspace(0, len(split) - 1, SCALED_BY).astype(np.int64))
    latents = [
        network.encode(to_floats(split.read(some).to(device)).expand(-1, 3, -1, -1)).latent_dist.mode()
        for some in np.array_split(chosen, -(-len(chosen) // ENCODED_AT_ONCE))
    ]
    return float(torch.cat(latents).std())


def training_gflops(config: AutoencoderConfig, image_size: int) -> float:
    """Per square image, forward and backward, of convolutions and matrix products alone: two FLOPs a multiply-add."""
    with torch.device("meta"):
        network, image = autoencoder_class()(**config.layout), torch.empty(1, 3, image_size, image_size)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.decode(network.encode(image).latent_dist.mode())
    return 3 * counter.get_total_flops() / 1e9
