"""LPIPS, version 0.1, on AlexNet (arXiv 1801.03924): how different two images look, by a network's features.

Of each of five layers, features are normalised over their channels, and the squares of what they differ by weighted by
a linear head that was fitted to what people say. The library torchmetrics has it too, and gives a mean over the whole
image alone; `lpips`, its authors' package, is no longer kept. Our numbers are compared with the latter's by a test.

B batch   C channels of a layer
"""

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlatent.platform.pixel_values import to_floats
from unlatent.platform.torchvision_shim import declare_missing_operators

SETTING = "edits.lpips.weights"
ALEXNET, HEADS = "alexnet-owt-7be5be79.pth", "alex.pth"
SHA256 = {  # as each begins; torchvision has the first digits of its files' in their names
    ALEXNET: "7be5be79",
    HEADS: "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of values from -1 to 1, to what AlexNet was trained on
CHANNELS = {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}  # of what AlexNet's layers of these numbers give, all of them ReLUs
SMALLEST = 31  # pixels on a side: of fewer, nothing is left before the last layers
EPSILON = 1e-10  # added to the length of features

Weights = dict[str, Tensor]


@dataclass(kw_only=True)
class LpipsConfig:
    weights: str | None = None  # the folder with AlexNet and the linear heads; None: LPIPS is not measured
    any_weights: bool = False  # whether files other than the published would do; what they measure is no LPIPS

    def __post_init__(self) -> None:
        if self.weights:
            self.weights = str(Path(self.weights).expanduser().absolute())


class Lpips(nn.Module):
    """Of images of at least 31 pixels on a side; 0 where two are the same."""

    shift: Tensor
    scale: Tensor

    def __init__(self, alexnet: Weights, heads: Weights) -> None:
        """Takes what the two files hold, under the names that it has there; the rest of AlexNet is left."""
        super().__init__()
        self.features = alexnet_features()
        self.heads = nn.ParameterList(torch.empty(1, channels, 1, 1) for channels in CHANNELS.values())
        fill(ALEXNET, {f"features.{name}": each for name, each in self.features.named_parameters()}, alexnet)
        fill(HEADS, {f"lin{number}.model.1.weight": each for number, each in enumerate(self.heads)}, heads)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, images: Tensor, others: Tensor) -> Tensor:  # uint8 (B, 3, H, W) twice -> (B, H, W)
        """How different they look around each pixel: the package's `spatial=True`, whose mean is not quite LPIPS.

        Layers have fewer places than the image has pixels; what they say is interpolated, bilinear.
        """
        assert min(images.shape[2:]) >= SMALLEST, "scenes are larger"
        found = torch.zeros(len(images), 1, *images.shape[2:], device=self.shift.device)  # (B, 1, H, W)
        for layer in self.layers(images, others):
            found += F.interpolate(layer, found.shape[2:], mode="bilinear")
        return found[:, 0]

    def layers(self, images: Tensor, others: Tensor) -> list[Tensor]:  # of each layer (B, 1, h, w)
        pairs = zip(self.normalised(images), self.normalised(others), strict=True)
        return [F.conv2d((one - other) ** 2, head) for (one, other), head in zip(pairs, self.heads, strict=True)]

    def normalised(self, images: Tensor) -> list[Tensor]:  # of each layer (B, C, h, w)
        found, x = [], (to_floats(images.to(self.shift.device)) - self.shift) / self.scale  # (B, 3, H, W)
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in CHANNELS:
                found.append(x / (x.norm(dim=1, keepdim=True) + EPSILON))
        return found


def alexnet_features() -> nn.Sequential:
    """torchvision's layers before the classifier, up to the last that counts."""
    declare_missing_operators()
    from torchvision.models import alexnet

    with torch.device("meta"):  # the classifier's 58 million weights are not made
        whole = alexnet()
    features: nn.Sequential = whole.features[: max(CHANNELS) + 1].to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return features


def fill(file: str, wanted: dict[str, nn.Parameter], weights: Weights) -> None:
    """Raises ValueError for weights that are missing, or of another shape."""
    for name, parameter in wanted.items():
        found = weights.get(name)
        if found is None or found.shape != parameter.shape:
            shape = "missing" if found is None else f"of the shape {tuple(found.shape)}"
            raise ValueError(f"{file} holds other weights: {name} is {shape}, not of {tuple(parameter.shape)}")
        parameter.data.copy_(found)


def open_lpips(config: LpipsConfig) -> tuple[Lpips, str]:
    """From a folder, with the hash of both files. Raises ValueError, in one line, where it is not the published."""
    folder = Path(config.weights or "")
    contents = {file: read(folder, file) for file in (ALEXNET, HEADS)}
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    for file, found in hashes.items():
        if not found.startswith(SHA256[file]) and not config.any_weights:
            raise ValueError(
                f"{SETTING}: {folder / file} is not the published file: its sha256 is {found}, and should begin with "
                f"{SHA256[file]}; edits.lpips.any_weights=true takes it nevertheless"
            )
    try:
        network = Lpips(*(parse(file, content) for file, content in contents.items()))
    except ValueError as error:
        raise ValueError(f"{SETTING}={folder}: {error}") from None
    return network, hashlib.sha256(" ".join(hashes.values()).encode()).hexdigest()


def read(folder: Path, file: str) -> bytes:
    try:
        return (folder / file).read_bytes()
    except OSError as error:
        raise ValueError(
            f"{SETTING}={folder}: {file} cannot be read: {error.strerror}; a folder with {ALEXNET} and {HEADS} would do"
        ) from None


def parse(file: str, content: bytes) -> Weights:
    """Tensors alone: no code in a file is run."""
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError):
        raise ValueError(f"{file} cannot be read as weights") from None
    if not isinstance(weights, dict) or not all(isinstance(each, Tensor) for each in weights.values()):
        raise ValueError(f"{file} holds something else than weights")
    return weights
