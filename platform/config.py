"""The whole configuration: dataclasses, named choices, overrides. Only here is Hydra known."""

import difflib
import functools
import threading
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlatent.models.config import PixelTransformerConfig
from unlatent.models.editing import EditConfig
from unlatent.models.network import MOST_SIZES
from unlatent.models.presets import PRESETS
from unlatent.models.samplers import SamplerConfig
from unlatent.platform.autoencoder_training import AutoencoderConfig
from unlatent.platform.autoencoders import absolute
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.datasets import BUILT_IN, DataConfig, bucket_step, buckets_of
from unlatent.platform.edit_study.config import EditStudyConfig
from unlatent.platform.evaluation import EvaluationConfig
from unlatent.platform.metrics import DIRECTIONS, SUITES, direction
from unlatent.platform.optimization import TrainConfig
from unlatent.platform.pretrained import in_full
from unlatent.platform.refusals import UnknownSettingError
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.store import Store
from unlatent.platform.text_encoders import settled
from unlatent.platform.tuning.space import SweepConfig

CHOICES = Path(__file__).parent / "conf"
COMPOSING = threading.Lock()


@dataclass(kw_only=True)
class Config:
    """Everything that a command can be told."""

    model: PixelTransformerConfig = field(default_factory=PixelTransformerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)  # to train one
    edit: EditConfig = field(default_factory=EditConfig)
    edits: EditStudyConfig = field(default_factory=EditStudyConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    store: str = "store"  # a folder, or an object store's address: s3://bucket/folder

    def __post_init__(self) -> None:
        self.store = Store(self.store).root  # absolute at once: Ray's workers have another working folder
        self._settle_files()
        if self.model.autoencoder:
            self.model = replace(self.model, autoencoder=absolute(self.model.autoencoder))
        elif self.model.image_size != self.data.image_size:
            sizes = f"model.image_size={self.model.image_size} is not data.image_size={self.data.image_size}"
            raise ValueError(f"{sizes}; set data.image_size, which the model follows")
        if self.data.is_built_in:  # of other data sets they are known once they are opened
            images = BUILT_IN[self.data.kind]
            channels = images.CHANNELS if self.model.autoencoder is None else self.model.channels
            self.model = replace(self.model, channels=channels, classes=len(images.CLASSES))
        if buckets_of(self.data) and bucket_step(self.data) % self.model.patch_size:
            raise ValueError(
                f"model.patch_size={self.model.patch_size} does not divide data.bucket_step={bucket_step(self.data)}, "
                "of which the sides of buckets are multiples"
            )
        self._require_graphs()
        if direction(self.serve.metric) is None:
            raise ValueError(f"serve.metric={self.serve.metric!r} is not one of {', '.join([*DIRECTIONS, *SUITES])}")
        for workers in self.cluster.worker_counts:
            self._require_shares(workers)

    def _settle_files(self) -> None:
        """Reads what is named by its file, and names folders in full."""
        self.model = replace(self.model, text=settled(self.model.text))
        if self.train.alignment.teacher:
            alignment = replace(self.train.alignment, teacher=in_full(self.train.alignment.teacher))
            self.train = replace(self.train, alignment=alignment)

    def _require_graphs(self) -> None:
        """A network that is compiled has a graph for each size of images, and one for squares, that are drawn."""
        compiles = self.train.compile or (self.train.compile is None and self.cluster.gpus_per_worker > 0)
        if compiles and len(buckets_of(self.data)) >= MOST_SIZES:
            raise ValueError(
                f"data.bucket_step={bucket_step(self.data)} makes {len(buckets_of(self.data))} buckets, and a compiled "
                f"network has graphs for {MOST_SIZES} sizes; a larger step would do, or train.compile=false"
            )

    def _require_shares(self, workers: int) -> None:
        """Every worker takes as many images of a batch as every other, in parts as large as one another."""
        named = f"cluster.workers={workers}"
        if workers < self.cluster.workers:
            named = f"{workers} workers, to which cluster.min_workers={self.cluster.min_workers} lets a run come down"
        if self.train.batch_size % workers:
            raise ValueError(f"train.batch_size={self.train.batch_size} cannot be shared by {named}")
        share = self.train.batch_size // workers
        if share % self.train.accumulate:
            raise ValueError(
                f"train.accumulate={self.train.accumulate} does not divide a worker's share of a batch, {share} images "
                f"with {named}"
            )


def compose_config(overrides: Sequence[str]) -> Config:
    """The config under Hydra overrides (`train.batch_size=64`, `model=b`), checked.

    Raises UnknownSettingError for what no config could hold, and ValueError for settings that do not work together: one
    line that names the key, the value and what would do.
    """
    refuse_unknown(overrides)
    try:
        parsed = OverridesParser.create().parse_overrides([quoted(override) for override in overrides])
        choosing = {each.key_or_group: each.input_line for each in parsed if each.key_or_group in choices()}
        composed = deepcopy(with_choices(tuple(choosing.values())))
        for each in parsed:
            if each.key_or_group not in choosing:
                set_value(composed, each)
        config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise UnknownSettingError(first_line(error)) from None
    assert isinstance(config, Config)
    return config


@functools.cache
def with_choices(chosen: tuple[str, ...]) -> DictConfig:
    """The config under named choices alone, which takes Hydra most of a tenth of a second."""
    with COMPOSING:  # Hydra keeps its state in one place for all threads
        try:
            with initialize_config_dir(str(CHOICES), version_base="1.3"):
                return compose("config", list(chosen))
        finally:
            GlobalHydra.instance().clear()


def set_value(composed: DictConfig, override: Override) -> None:
    """Sets one value in a config, as Hydra does it."""
    if override.is_sweep_override():
        raise UnknownSettingError(f"{override.input_line} is several values; quotes or brackets make it one")
    OmegaConf.update(composed, override.key_or_group, override.value(), merge=True)


def quoted(override: str) -> str:
    """The override as Hydra's grammar wants it, which has no `=` or `&` in a bare value: an address may."""
    key, _, value = override.partition("=")
    if key not in ("store", "data.root", "model.autoencoder") or value in ("null", "") or value.startswith(("'", '"')):
        return override
    return "{}='{}'".format(key, value.replace("'", "\\'"))


def from_yaml(text: str) -> Config:
    """The config that `to_yaml` wrote."""
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.create(text)))
    assert isinstance(config, Config)
    return config


def to_yaml(config: Config) -> str:
    """What a run needs of the config, to be stored beside it: not the endpoint's part, which may hold a token."""
    return yaml.safe_dump({name: part for name, part in asdict(config).items() if name != "serve"}, sort_keys=False)


def shipped(folder: str) -> dict[str, Path]:
    """The definitions that come with the package, by name: `sweeps` or `pipelines`."""
    files = (Path(str(file)) for file in resources.files(f"unlatent.{folder}").iterdir())
    return {file.stem: file for file in sorted(files) if file.suffix == ".yaml"}


def find_definition(name: str, folder: str) -> Path:
    """A definition's file, by the name of a shipped one or by a path ending in .yaml."""
    if name in shipped(folder):
        return shipped(folder)[name]
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    raise ValueError(
        f"{name!r} is neither a definition in {folder}/ ({', '.join(shipped(folder))}) nor a .yaml file that exists"
    )


def load_sweep(name: str, overrides: Sequence[str]) -> SweepConfig:
    """A sweep's definition, with those of the overrides that begin with `sweep.`

    `name` is the name of a shipped definition, or the path of a YAML file.
    """
    path = find_definition(name, "sweeps")
    own = [override.removeprefix("sweep.") for override in overrides if override.startswith("sweep.")]
    try:
        written = OmegaConf.merge(OmegaConf.structured(SweepConfig), OmegaConf.load(path), OmegaConf.from_dotlist(own))
        written.name = written.name or path.stem
        definition = OmegaConf.to_object(written)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise UnknownSettingError(f"{path}: {first_line(error)}") from None
    assert isinstance(definition, SweepConfig)
    for key in definition.turned:
        if key not in keys():
            raise UnknownSettingError(f"{path}: sweep.knobs: {unknown(key)}")
    return definition


@functools.cache
def keys() -> list[str]:
    """Every key of the config, as an override would name it."""

    def below(kind: Any, prefix: str) -> list[str]:
        found = []
        for item in fields(kind):
            found.append(prefix + item.name)
            default = item.default_factory() if callable(item.default_factory) else item.default
            if is_dataclass(default):
                found += below(type(default), f"{prefix}{item.name}.")
        return found

    return below(Config, "")


def unknown(key: str) -> str:
    close = difflib.get_close_matches(key, keys(), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "`unlatent config train` lists them all"
    return f"{key} is not a key of the config; {hint}"


def refuse_unknown(overrides: Sequence[str]) -> None:
    """Raises UnknownSettingError for an override that sets no key of the config."""
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UnknownSettingError(f"{override!r} sets nothing; write it as key=value")
        if key not in keys():
            raise UnknownSettingError(unknown(key))
        if key in choices() and value not in choices()[key]:
            raise UnknownSettingError(f"{override} is not one of {', '.join(choices()[key])}")


@functools.cache
def choices() -> dict[str, list[str]]:
    """The named choices of each group: `sampler` has quick, paper, text and others."""
    groups = [folder for folder in CHOICES.iterdir() if folder.is_dir()]
    return {"model": list(PRESETS)} | {group.name: sorted(file.stem for file in group.iterdir()) for group in groups}


def first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    message = lines[0] if lines else type(cause).__name__
    keys_named = [line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")]
    return f"{keys_named[0]}: {message}" if keys_named else message


ConfigStore.instance().store("schema", Config)
for _name, _preset in PRESETS.items():
    ConfigStore.instance().store(_name, _preset, group="model")
