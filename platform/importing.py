"""Published PixelDiT weights as a checkpoint of ours.

A published file is a torch file, or safetensors, with tensors at the top or one level down. Class networks come from
Lightning, which puts `denoiser.` before the names of the weights as trained and `ema_denoiser.` before their average;
text networks come with `core.` before every name, the average beside the weights in a mapping of its own. Compilation
and data-parallel training leave marks in names, too. Only tensors are read: what would run code is refused.
"""

import hashlib
import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.presets import PRESETS, preset
from unlatent.models.published import from_published, misfits
from unlatent.models.published_arguments import config_from_arguments
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import checkpoints
from unlatent.platform.checkpoints import Checkpoint, Weights
from unlatent.platform.config import compose_config
from unlatent.platform.store import split_address
from unlatent.platform.text_encoders import settled

AVERAGES = ("ema", "state_dict_ema", "ema_state_dict", "model_ema")  # what holds an average, in one file or another
RAW = ("state_dict", "model", "module")
MARKS = ("_orig_mod.", "module.")  # of torch.compile, and of data-parallel training
PREFIXES = {
    "ema_denoiser.": "ema",
    "denoiser.": "raw",
    "core.": None,
    "": None,
}  # the longest that fits; None: as around
TRAINING_ALONE = ("diffusion_trainer.", "_repa_projector.", "repa_projector.")  # the projector of the alignment
SHOWN = 200  # lines of what does not fit
MOST_ASPECT_RATIO = 4.0  # of the buckets that published text networks are trained on
STEPS_OF_BUCKETS = 16  # to a square's side
IMAGE_SIZES = {"class": 256, "text": 512}


@dataclass(frozen=True)
class PublishedWords:
    """What a text network's prompts are read by, which no file of weights says."""

    encoder: str | None = None  # by folder or hub id; None: by the published one's hub id
    instruction: Path | None = None  # a file with what the encoder reads before each prompt

    def applied(self, config: PixelTransformerConfig) -> PixelTransformerConfig:
        """Raises ValueError for a class's network, and where there is no such file."""
        if self == BARE:
            return config
        if config.condition == "class":
            raise ValueError("--encoder and --instruction are for text networks, and config is that of classes")
        instruction = None if self.instruction is None else str(self.instruction)
        text = replace(config.text, encoder=self.encoder or config.text.encoder, instruction=instruction)
        return replace(config, text=settled(text))


BARE = PublishedWords()


def import_checkpoint(
    file: Path,
    shape: str,
    out: str,
    image_size: int | None = None,
    class_names: Path | None = None,
    words: PublishedWords = BARE,
) -> tuple[Checkpoint, list[str]]:
    """Writes the checkpoint, and tells which weights it has, what of the file it leaves out, and what it goes without.

    `shape` is a preset's name, or a JSON file with the arguments of the published constructor.
    ValueError for a file that is none of the published layouts, tensors that do not fit the shape, or an `out` that
    holds something already; nothing is written then.
    """
    store, path = split_address(out)
    if store.list(path):
        raise ValueError(f"out={out} is not empty; a new folder would do")
    config = words.applied(published_config(shape, image_size))
    names = read_class_names(class_names, config)
    content = read_file(file)
    found, left_out = weights_in(content, file)
    weights = {kind: fitted(tensors, config, f"{file} ({kind})") for kind, tensors in found.items()}
    if len(weights) == 1:  # what there is, is what to draw from
        weights = {"ema": weights.popitem()[1]}
    meta = {
        "run_id": path.rstrip("/").rsplit("/", 1)[-1],
        "images_seen": 0,
        "classes": names,
        "source": {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "weights": [*found]},
    }
    checkpoint = checkpoints.write(store, path, weights, meta, {"config.yaml": config_yaml(config)})
    said = [f"weights: {' and '.join(found)}{'' if len(found) > 1 else ', kept as ema'}"]
    if left_out:
        said.append(f"left out, for training alone: {len(left_out)} tensors")
    if config.condition == "text" and config.text.instruction_text is None:
        said.append("no instruction before prompts: published networks have one; --instruction FILE imports it too")
    return checkpoint, said


def published_config(shape: str, image_size: int | None) -> PixelTransformerConfig:
    """The network of a preset's name or a JSON file."""
    if shape in PRESETS:
        config = preset(shape, **({"image_size": image_size} if image_size else {}))
        return replace(config, text=replace(config.text, mask_padding=False))  # as those of the JSON are
    try:
        arguments = json.loads(Path(shape).read_text())
    except FileNotFoundError:
        raise ValueError(f"config={shape} is no file, nor one of {', '.join(PRESETS)}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"config={shape} is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ValueError(f"config={shape} is not a JSON object of the published constructor's arguments")
    given = arguments.pop("image_size", None)
    try:
        probe = config_from_arguments(arguments, arguments.get("patch_size", 16))
        return config_from_arguments(arguments, image_size or given or IMAGE_SIZES[probe.condition])
    except (TypeError, ValueError) as error:
        raise ValueError(f"config={shape}: {error}") from None


def read_class_names(file: Path | None, config: PixelTransformerConfig) -> list[str]:
    """A name a line, or the numbers of the classes; none for a text network."""
    if config.condition == "text":
        return []
    if file is None:
        return [str(index) for index in range(config.classes)]
    names = file.read_text().splitlines()
    if len(names) != config.classes:
        raise ValueError(f"classes={file} has {len(names)} lines, and the network {config.classes} classes")
    return names


def read_file(file: Path) -> Mapping[str, Any]:
    """The content of a torch or safetensors file, which holds no more than tensors and plain values."""
    if not file.is_file():
        raise ValueError(f"{file} is no file")
    try:
        if file.suffix == ".safetensors":
            return load_safetensors(file.read_bytes())
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        unknown = re.search(r"GLOBAL ([\w.]+)", str(error))
        if unknown is None:
            raise ValueError(f"{file} cannot be read: it is no torch file") from None
        raise ValueError(
            f"{file} is refused: it holds {unknown[1]}, which is not a tensor; "
            "torch.save of its state_dict alone, where the file is trusted, gives one to import"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{file} holds a {type(content).__name__}, not a mapping of names to tensors")
    return content


def weights_in(content: Mapping[str, Any], file: Path) -> tuple[dict[str, Weights], list[str]]:
    """Sets of published tensors, as `raw` and `ema`, and the names of what training alone needs."""
    found: dict[str, Weights] = {}
    left_out: list[str] = []
    holders = {name: kind for kind, names in (("raw", RAW), ("ema", AVERAGES)) for name in names}
    held = [(holders[name], part) for name, part in content.items() if name in holders and isinstance(part, Mapping)]
    for around, tensors in held or [("raw", content)]:
        for name, tensor in tensors.items():
            if not isinstance(tensor, Tensor):
                continue
            kind, plain = told_apart(str(name))
            if plain is None:
                left_out.append(str(name))
            else:
                found.setdefault(kind or around, {})[plain] = tensor
    if not found:
        raise ValueError(f"{file} holds no tensors at its top, nor in any of {', '.join(holders)}")
    return dict(sorted(found.items())), left_out


def told_apart(name: str) -> tuple[str | None, str | None]:
    """Which weights a name belongs to, if it says so, and the name in the published network; None: in none."""
    for mark in MARKS:
        name = name.replace(mark, "")
    if name.startswith(TRAINING_ALONE):
        return None, None
    prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    return PREFIXES[prefix], name.removeprefix(prefix)


def fitted(tensors: Weights, config: PixelTransformerConfig, where: str) -> Weights:
    """The tensors as those of our network, in float32."""
    if lines := misfits(tensors, config):
        more = f"\n  and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        listing = "".join(f"\n  {line}" for line in lines[:SHOWN])
        raise ValueError(f"{where} does not fit the config, in {len(lines)} tensors:{listing}{more}")
    return from_published({name: tensor.float() for name, tensor in tensors.items()}, config)


def published_sizes(config: PixelTransformerConfig) -> dict[str, Any]:
    """Squares; of a text network, which is trained on other proportions as well, buckets."""
    if config.condition == "class":
        return {"image_size": config.image_size}
    steps = STEPS_OF_BUCKETS if config.grid % STEPS_OF_BUCKETS == 0 else config.grid
    buckets = {"max_aspect_ratio": MOST_ASPECT_RATIO, "bucket_step": config.image_size // steps}
    return {"image_size": config.image_size, **buckets}


def published_sampler(config: PixelTransformerConfig) -> SamplerConfig:
    """As the paper draws images of about that size."""
    if config.condition == "text":
        name = "text1024" if config.image_size >= 1024 else "text"
    else:
        name = "paper512" if config.image_size >= 512 else "paper"
    return compose_config([f"sampler={name}"]).sampler


def config_yaml(config: PixelTransformerConfig) -> bytes:
    """What a checkpoint says of itself: the network, its images' sizes, and how the published one is sampled."""
    said = {"model": asdict(config), "data": published_sizes(config), "sampler": asdict(published_sampler(config))}
    return yaml.safe_dump(said, sort_keys=False).encode()
