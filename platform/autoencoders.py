"""Autoencoders of latent diffusion, as diffusers saves them (`AutoencoderKL`): data to check, never code to run.

They lie in a folder or an object store, or in the cache of the hub. Weights are safetensors; pickles are not read.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from unlatent.platform.pixel_values import to_bytes, to_floats
from unlatent.platform.pretrained import names_a_hub_model, prepare_import
from unlatent.platform.store import split_address

KIND = "AutoencoderKL"
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
FOLDERS = ("", "vae/")  # of its own, or that of a whole pipeline
PIXELS_AT_ONCE = 8 * 256**2  # of images that are encoded together; bounds what is held in memory


@dataclass(frozen=True)
class Autoencoder:
    """A network that makes latents of images, and images of latents, in float32."""

    name: str  # as it was asked for
    sha256: str  # of the file of its weights
    settings: dict[str, Any]  # its config.json
    network: nn.Module
    device: torch.device

    @property
    def factor(self) -> int:
        """Pixels on a side of an image for one of the latent."""
        config: Any = self.network.config  # the settings, and what they leave to be as it is by default
        return 2 ** (len(config.block_out_channels) - 1)

    @property
    def latent_channels(self) -> int:
        config: Any = self.network.config
        return int(config.latent_channels)

    @property
    def parameters(self) -> int:
        return sum(each.numel() for each in self.network.parameters())

    def require_size(self, image_size: int) -> None:
        """Raises ValueError for images that its latents would not fit."""
        if image_size % self.factor:
            below, above = image_size // self.factor * self.factor, -(-image_size // self.factor) * self.factor
            fitting = f"{below} or {above}" if below else f"{above}"
            raise ValueError(
                f"image_size={image_size} is not a multiple of {self.factor}, by which {self.name} shrinks images; "
                f"{fitting} would do"
            )

    @property
    def scale(self) -> float:
        """By which its latents, less `shift`, come to a variance of about 1."""
        config: Any = self.network.config
        return float(config.scaling_factor)

    @property
    def shift(self) -> float:
        config: Any = self.network.config
        return float(config.shift_factor or 0.0)

    def encode(self, images: Tensor) -> Tensor:  # (B, 3, H, W) in [-1, 1] -> (B, channels, H/f, W/f)
        """The mean of each latent's distribution, so the same for the same images."""
        network: Any = self.network
        return network.encode(images).latent_dist.mode()

    def decode(self, latents: Tensor) -> Tensor:  # (B, channels, H/f, W/f) -> (B, 3, H, W)
        network: Any = self.network
        return network.decode(latents).sample

    @torch.inference_mode()
    def reconstruct(self, images: Tensor) -> Tensor:  # uint8 (N, 3, H, W) -> uint8 (N, 3, H, W)
        """Encode, then decode."""
        _, _, height, width = images.shape
        parts = []
        for some in images.split(at_once(height, width)):
            parts.append(to_bytes(self.decode(self.encode(to_floats(some.to(self.device))))).cpu())
        return torch.cat(parts)


def at_once(height: int, width: int) -> int:
    """Images of that size that are encoded, or decoded, together: memory for hundreds is not to be had."""
    return max(1, PIXELS_AT_ONCE // (height * width))


def open_autoencoder(name: str, device: torch.device, download: bool = False) -> Autoencoder:
    """An `AutoencoderKL` from a folder, an object store's address, or by its name on the hub.

    A name on the hub is two words with a slash between; unless it may be downloaded, it has to be in the hub's cache.
    Of a whole pipeline, the folder `vae` is taken. Raises ValueError, in one line, for what is no such autoencoder, or
    where diffusers is missing.
    """
    kind = autoencoder_class()
    files = read_files(name, download)
    settings = checked_settings(name, files[CONFIG])
    network = load(kind, name, files).to(device).eval().requires_grad_(False)
    return Autoencoder(name, hashlib.sha256(files[WEIGHTS]).hexdigest(), settings, network, device)


def absolute(name: str) -> str:
    """The name by which an autoencoder is found from any working folder."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if "://" not in name and folder.is_dir() else name


def autoencoder_class() -> Any:
    """diffusers' own.

    Raises ValueError where the package is missing.
    """
    prepare_import()  # diffusers imports transformers where it is installed
    try:
        from diffusers import AutoencoderKL
    except ImportError:
        raise ValueError(
            "autoencoders need the package diffusers; pip install 'unlatent[autoencoders]' would do"
        ) from None
    return AutoencoderKL


def read_files(name: str, download: bool) -> dict[str, bytes]:
    """The two files that make an autoencoder, by their names."""
    is_local = "://" not in name
    if is_local and not Path(name).expanduser().is_dir():
        if not names_a_hub_model(name):
            raise ValueError(f"vae={name} is no folder; one with {CONFIG} and {WEIGHTS} would do")
        folder = cached_folder(name, download)
    else:
        folder = str(Path(name).expanduser().resolve()) if is_local else name
    store, path = split_address(folder)
    for part in FOLDERS:
        try:
            config = store.read_bytes(f"{path}/{part}{CONFIG}")
        except FileNotFoundError:
            continue
        try:
            return {CONFIG: config, WEIGHTS: store.read_bytes(f"{path}/{part}{WEIGHTS}")}
        except FileNotFoundError:
            raise ValueError(f"vae={name} has no {WEIGHTS}; pickled weights are not read, for they are code") from None
    raise ValueError(f"vae={name} is no autoencoder: it has no {CONFIG}")


def cached_folder(name: str, download: bool) -> str:
    """Where the hub's cache has the files of a name, which are fetched first if they may be."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = [f"{folder}{file}" for folder in FOLDERS for file in (CONFIG, WEIGHTS)]
    try:
        return snapshot_download(name, allow_patterns=wanted, local_files_only=not download)
    except LocalEntryNotFoundError:
        would = "the hub cannot be reached" if download else "--download would fetch it"
        raise ValueError(f"vae={name} is neither a folder nor in the hub's cache; {would}") from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ValueError(f"vae={name} cannot be downloaded: {' '.join(str(error).split())}") from None


def checked_settings(name: str, config: bytes) -> dict[str, Any]:
    """What config.json says. Raises ValueError for that of another network."""
    try:
        settings = json.loads(config)
    except ValueError:
        raise ValueError(f"vae={name} is no autoencoder: its {CONFIG} cannot be read") from None
    found = settings.get("_class_name") if isinstance(settings, dict) else None
    if found != KIND:
        raise ValueError(f"vae={name} is no {KIND}: its {CONFIG} is of {found or 'something else'}")
    if settings.get("in_channels", 3) != 3 or settings.get("out_channels", 3) != 3:
        raise ValueError(f"vae={name} does not make images of three colours of such")
    return settings


def load(kind: Any, name: str, files: dict[str, bytes]) -> nn.Module:
    """The network whose files were read: what was hashed is what is loaded, whatever becomes of the folder."""
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            Path(folder, file).write_bytes(content)
        # of low_cpu_mem_usage, which would need another package, nothing is gained here
        told = {"output_loading_info": True, "low_cpu_mem_usage": False, "torch_dtype": torch.float32}
        try:
            network, loaded = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True, **told)
        except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
            reason = " ".join(str(error).replace(folder, name).split())
            raise ValueError(f"vae={name} cannot be loaded: {reason}") from None
    unfit = sorted({*loaded["missing_keys"], *loaded["unexpected_keys"]})
    if unfit:
        raise ValueError(f"vae={name}: {len(unfit)} of its weights are missing or not its own, such as {unfit[0]}")
    return network
