"""Networks that others have trained, from a folder or the hub, by transformers: data to check, never code to run."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from unlatent.models.config import listed
from unlatent.platform.torchvision_shim import declare_missing_operators

WITHOUT = {"ViTModel": {"add_pooling_layer": False}}  # a layer that DINO was published without


def open_pretrained(setting: str, name: str, kinds: Mapping[str, str], dtype: torch.dtype) -> nn.Module:
    """A network from a folder as `save_pretrained` writes it, or, if there is no such folder, by its name on the hub.

    `kinds` are the kinds that would do, as config.json calls them, and the class of each. A name on the hub is two
    words with a slash between; it is downloaded unless the cache has it. Weights must be safetensors, and all there.
    Raises ValueError, in one line that begins with the setting, where that fails.
    """
    require_source(setting, name)
    try:
        return load(source_of(name), is_folder(name), kinds, dtype)
    except ImportError:
        raise ValueError(
            f"{setting}={name} needs the package transformers; pip install 'unlatent[transformers]' would do"
        ) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"{setting}={name} cannot be loaded: {' '.join(str(error).split())}") from None


def require_source(setting: str, name: str) -> None:
    if not is_folder(name) and not names_a_hub_model(name):
        raise ValueError(f"{setting}={name} is no folder; one with config.json and model.safetensors would do")


def names_a_hub_model(name: str) -> bool:
    return name.count("/") == 1 and all(name.split("/")) and name[0] not in ".~"


def is_folder(name: str) -> bool:
    return Path(name).expanduser().is_dir()


def in_full(name: str) -> str:
    """A folder's path from the root, for processes with another working folder; other names as they are."""
    return str(Path(name).expanduser().resolve()) if is_folder(name) else name


def source_of(name: str) -> str:
    return str(Path(name).expanduser()) if is_folder(name) else name


def import_transformers() -> Any:
    prepare_import()
    import transformers

    return transformers


def prepare_import() -> None:
    """To be called before transformers is imported, or what imports it."""
    declare_missing_operators()  # of torchvision, which it imports
    with torch.device("meta"):  # has PyTorch list its constructors before transformers, as it loads, replaces some:
        torch.empty(0)  # it lists them once, and tensors of those missing would never again be on a given device


def load(source: str, here: bool, kinds: Mapping[str, str], dtype: torch.dtype) -> nn.Module:
    transformers = import_transformers()
    safe = {"local_files_only": here, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(source, **safe)
    if config.model_type not in kinds:
        raise ValueError(f"its model_type is {config.model_type}; {listed(kinds)} would do")
    told = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # what does not fit, instead of a report
    kind = kinds[config.model_type]
    with without_reports(transformers):
        network, loaded = getattr(transformers, kind).from_pretrained(
            source, config=config, dtype=dtype, use_safetensors=True, **told, **safe, **WITHOUT.get(kind, {})
        )
    unfit = sorted({*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])})
    if unfit:  # they are random now
        raise ValueError(f"of its weights {len(unfit)} are missing or of another shape, such as {unfit[0]}")
    return network


@contextlib.contextmanager
def without_reports(transformers: Any) -> Iterator[None]:
    """What does not fit is a line of ours: transformers would print a table of it before."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
