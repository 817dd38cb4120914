"""The Inception network that published FIDs rest on, from a file that is checked before it is run.

The file is TorchScript, that is, code. It is looked for under the name that a setting gives, else in a cache folder,
and downloaded only where a setting allows it.
"""

import hashlib
import tempfile
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from torch import Tensor, nn

from unlatent.platform.features import Extractor, resize
from unlatent.platform.store import Store
from unlatent.platform.torchvision_shim import declare_missing_operators

NAME = "inception-2015-12-05.pt"
URL = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{NAME}"
SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
CACHE = "~/.cache/unlatent"
INPUT_SIZE = 299
TIMEOUT_S = 60


class NotAtHandError(ValueError):
    """The file is not there, and was not to be downloaded or could not be."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What asks for the file, and how its settings are written there: for what errors say."""

    needed_by: str = "evaluation.extractor=inception"
    file: str = "evaluation.inception_file"
    download: str = "evaluation.download=true"


class Inception(nn.Module):
    """clean-fid's features of uint8 images of any size."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, None]:  # uint8 (N, C, H, W) -> (N, 2048)
        return self.network(resize(images.expand(-1, 3, -1, -1), INPUT_SIZE)), None


def open_inception(file: str | None, download: bool, words: Words = Words()) -> Extractor:
    """Raises NotAtHandError saying which file to put where, or ValueError that the one there is not the right one."""
    content = read_file(file, words) if file else read_cache(download, words)
    declare_missing_operators()
    from cleanfid.inception_torchscript import InceptionV3W

    with tempfile.TemporaryDirectory() as folder:  # what was checked is what is loaded, whatever becomes of the file
        Path(folder, NAME).write_bytes(content)
        network = InceptionV3W(folder, download=False)
    return Extractor(name="inception", hash=SHA256, accuracy=None, network=Inception(network))


def read_file(file: str, words: Words) -> bytes:
    try:
        return verified(Path(file).expanduser().read_bytes(), file)
    except OSError as error:
        raise ValueError(f"{words.file}={file} cannot be read: {error.strerror}") from None


def read_cache(download: bool, words: Words) -> bytes:
    cache = Store(CACHE)
    if not cache.exists(NAME) and not download:
        raise NotAtHandError(
            f"{words.needed_by} needs {NAME}: put it at {cache.uri(NAME)}, name it by {words.file}, or let "
            f"{words.download} fetch it from {URL}"
        )
    if not cache.exists(NAME):
        with cache.lock(f".{NAME}.lock"):  # of several processes one downloads, the others wait for it
            if not cache.exists(NAME):
                cache.write_bytes(NAME, verified(fetch(words), URL))
    return verified(cache.read_bytes(NAME), cache.uri(NAME))


def fetch(words: Words) -> bytes:
    try:
        with urllib.request.urlopen(URL, timeout=TIMEOUT_S) as response:
            return response.read()
    except (OSError, HTTPException) as error:
        place = Store(CACHE).uri(NAME)
        raise NotAtHandError(
            f"{URL} cannot be downloaded ({error}); put the file at {place}, or name it by {words.file}"
        ) from None


def verified(content: bytes, origin: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(f"{origin} is not {NAME}: its sha256 is {found}, not {SHA256}; the one at {URL} would do")
    return content
