"""Pairs, models that edit them without having learnt anything, and outcomes whose numbers are made up."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from unlatent.models.editing import EditConfig
from unlatent.models.network import PixelTransformer
from unlatent.models.presets import preset
from unlatent.models.samplers import SamplerConfig
from unlatent.platform.autoencoder_training import AutoencoderConfig, new_network
from unlatent.platform.edit_study.attempts import Attempt, Subject
from unlatent.platform.edit_study.measuring import Measured, measure
from unlatent.platform.edit_study.study import Outcome
from unlatent.platform.generation import LoadedModel
from unlatent.platform.scenes import CLASSES, EditPair, ScenePlan, read_pairs, write_scenes
from unlatent.platform.store import Store

COUNT = 40  # pairs


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Store:
    store = Store(tmp_path_factory.mktemp("scenes") / "out")
    write_scenes(ScenePlan(images=30, pairs=COUNT, image_size=64), store, 1, lambda done, total: None)
    return store


@pytest.fixture(scope="session")
def pairs(scenes) -> list[EditPair]:
    return list(read_pairs(scenes))


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    return untrained("pixels")


@pytest.fixture(scope="session")
def latent_model(tmp_path_factory) -> LoadedModel:
    """One of the latents of an autoencoder of random weights."""
    folder, config = tmp_path_factory.mktemp("autoencoder"), AutoencoderConfig(width=8)
    torch.manual_seed(0)
    new_network(config).save_pretrained(folder)
    sizes = {"channels": config.latent_channels, "image_size": 8, "patch_size": 2}
    return untrained("latents", autoencoder=str(folder), **sizes)


def untrained(run_id: str, **changes: Any) -> LoadedModel:
    """A small network that reads captions, of random weights."""
    sizes = {"width": 16, "heads": 2, "patch_depth": 1, "pixel_depth": 1, "pixel_width": 4, "patch_size": 16}
    torch.manual_seed(0)
    network = PixelTransformer(preset("text_tiny", **{**sizes, **changes})).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # else its output layers are zero, and an edit does nothing
    return LoadedModel(
        network=network,
        sampler=SamplerConfig(steps=4, guidance_low=0.0),
        classes=CLASSES,
        run_id=run_id,
        checkpoint=f"checkpoints/{run_id}/1",
        checkpoint_hash=f"hash of {run_id}",
        images_seen=1,
        weights="ema",
    )


@dataclass(frozen=True)
class Made:
    """How an outcome of made-up numbers went."""

    success: float  # share of pairs
    background: float  # mean squared error, of every pair alike but for a tenth
    way: str = "free"
    n_max: int = 2


@pytest.fixture(scope="session")
def make_outcomes(pairs, model, latent_model) -> Callable[..., list[Outcome]]:
    """Outcomes of one subject by name, one for each `Made`. Images are the true targets."""
    targets = torch.from_numpy(np.stack([pair.target for pair in pairs]))
    true = measure(pairs, targets)

    def make(name: str, *made: Made) -> list[Outcome]:
        subject = Subject(name, replace(model if name == "pixels" else latent_model, run_id=name))
        return [outcome(subject, each) for each in made]

    def outcome(subject: Subject, each: Made) -> Outcome:
        edit = None if each.way == "reconstructed" else EditConfig(steps=4, n_max=each.n_max)
        attempt = Attempt(subject=subject, pairs=pairs, way=each.way, edit=edit, sampler=subject.model.sampler, seed=0)
        done = np.arange(COUNT) < round(each.success * COUNT)
        uneven = np.random.default_rng(0).uniform(0.9, 1.1, COUNT)
        measured = Measured(
            background_errors=each.background * uneven / uneven.mean(),
            background_similarities=true.background_similarities,
            letters=true.letters,
            letters_right=true.letters_right,
            classes=np.where(done, true.classes, [pair.source_label for pair in pairs]),
            object_errors=true.object_errors,
        )
        return Outcome(attempt=attempt, images=targets, measured=measured, seconds=1.0, device="cpu")

    return make
