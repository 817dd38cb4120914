"""Networks of latents beside those of pixels: trained, drawn from, edited and named by the same code."""

import json
import shutil

import numpy as np
import pytest
import torch

import unlatent
from tests.platform.conftest import SMALLEST
from unlatent.models.config import PixelTransformerConfig
from unlatent.models.editing import EditConfig
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import autoencoders, classifier, tables
from unlatent.platform.autoencoder_training import AutoencoderConfig, train_autoencoder
from unlatent.platform.config import compose_config
from unlatent.platform.datasets import DataConfig, open_dataset
from unlatent.platform.evaluation import EvaluationConfig, evaluate_checkpoint
from unlatent.platform.generation import load_model
from unlatent.platform.latent_images import encoded_once
from unlatent.platform.orders import Edit, carry_out
from unlatent.platform.runs import last_checkpoint, plan_run
from unlatent.platform.spaces import PIXELS, fitted, open_space
from unlatent.platform.store import Store
from unlatent.platform.training import Worker, train

CPU = torch.device("cpu")
PHOTOGRAPHS = ["data=photographs", "data.image_size=32", "model.patch_size=1"]


def small_autoencoder(folder, **settings) -> str:
    store = Store(folder)
    config = AutoencoderConfig(
        width=4, batch_size=8, warmup_images=8, **{"total_images": 64, "checkpoint_images": 64, **settings}
    )
    dataset = open_dataset(DataConfig(kind="photographs", image_size=32), store)
    return store.uri(train_autoencoder(config, dataset, store, CPU))


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> str:
    return small_autoencoder(tmp_path_factory.mktemp("autoencoder"))


@pytest.fixture
def latents(autoencoder):
    return open_space(PixelTransformerConfig(autoencoder=autoencoder), CPU)


@pytest.fixture
def make_latent_run(make_run, autoencoder):
    def make(*overrides):
        return make_run(*PHOTOGRAPHS, f"model.autoencoder={autoencoder}", *overrides)

    return make


def images(count: int, side: int = 32):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8))


def test_pixels_come_back_bit_for_bit():
    assert torch.equal(PIXELS.decode(PIXELS.encode(images(3))), images(3))


def test_latents_are_one_for_eight_pixels_a_side_and_as_wide_as_noise(latents, autoencoder):
    photographs = open_dataset(DataConfig(kind="photographs", image_size=32), Store(autoencoder)).train

    encoded = latents.encode(photographs.read(range(0, 4000, 20)))

    assert encoded.shape == (200, *latents.shape((3, 32, 32))) == (200, 4, 4, 4)
    assert encoded.std().item() == pytest.approx(1, abs=0.1)
    assert latents.decode(encoded[:2]).shape == (2, 3, 32, 32)


def test_many_images_are_encoded_and_decoded_a_few_at_a_time(latents, monkeypatch):
    together = latents.encode(images(5)), latents.decode(latents.encode(images(5)))
    seen, whole = [], latents.autoencoder.network.encode
    monkeypatch.setattr(autoencoders, "PIXELS_AT_ONCE", 2 * 32**2)
    monkeypatch.setattr(latents.autoencoder.network, "encode", lambda some: seen.append(len(some)) or whole(some))

    parted = latents.encode(images(5))

    assert seen == [2, 2, 1]
    torch.testing.assert_close(parted, together[0], rtol=1e-4, atol=1e-4)
    assert (latents.decode(parted).int() - together[1].int()).abs().max() <= 1


def test_latents_of_another_scale_are_others(latents, autoencoder, tmp_path):
    shutil.copytree(autoencoder, tmp_path / "rescaled")
    settings = json.loads((tmp_path / "rescaled" / "config.json").read_text())
    (tmp_path / "rescaled" / "config.json").write_text(json.dumps({**settings, "scaling_factor": 0.5}))

    rescaled = open_space(PixelTransformerConfig(autoencoder=str(tmp_path / "rescaled")), CPU)

    assert rescaled.autoencoder.sha256 == latents.autoencoder.sha256 and rescaled.identity != latents.identity


def test_a_latent_may_change_where_any_of_its_pixels_may(latents):
    mask = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    mask[0, 0, 8, 3] = True

    assert latents.mask(mask).tolist() == [[[[False, False], [True, False]]]]
    assert torch.equal(PIXELS.mask(mask), mask)


def test_the_network_is_fitted_to_what_it_models(autoencoder):
    config = PixelTransformerConfig(patch_size=1, image_size=32, autoencoder=autoencoder)

    fit = fitted(config, 3, 32)

    assert (fit.channels, fit.image_size, fit.patch_size) == (4, 4, 1)


@pytest.mark.parametrize(
    ("channels", "side", "complaint"),
    [(1, 32, "reads images of 3 channels, not of 1"), (3, 36, "image_size=36 is not a multiple of 8")],
)
def test_images_of_which_no_latents_are_made_are_refused(autoencoder, channels, side, complaint):
    with pytest.raises(ValueError, match=complaint):
        fitted(PixelTransformerConfig(patch_size=1, autoencoder=autoencoder), channels, side)


def test_what_is_trained_on_latents_draws_and_edits_images_of_pixels(make_latent_run, store):
    run = make_latent_run("train.run=latents")
    train(run, store, Worker())
    model = load_model(store, last_checkpoint(store, "latents").path)
    torch.manual_seed(0)
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # after so few steps it knows no class from another

    [drawn] = model.generate([model.classes[0]], [0])
    image, mask = images(1)[0], torch.zeros(1, 32, 32, dtype=torch.bool)
    config = EditConfig(steps=4, n_max=4, target_guidance=90.0)
    told = {"image": image, "source": 0, "target": 1, "seeds": [0], "config": config, "sampler": model.sampler}
    edited, kept = carry_out(model, [Edit(**told), Edit(**told, mask=mask)], 16)

    row = tables.row(store, "runs", "latents")
    assert (row["image_size"], row["channels"], row["patch_size"]) == (4, 4, 1)
    assert row["autoencoder"] == model.autoencoder
    assert drawn.size == (32, 32) and (model.image_size, model.colours) == (32, 3)
    assert edited.shape == image.shape and not torch.equal(edited, kept)
    assert torch.equal(kept, model.space.decode(model.space.encode(image[None]))[0])


@pytest.fixture(scope="module")
def trained_on_latents(tmp_path_factory):
    """The path of a checkpoint, and the store that has its autoencoder too."""
    store = Store(tmp_path_factory.mktemp("trained") / "store")
    autoencoder = small_autoencoder(store.root)
    config = compose_config([*SMALLEST, *PHOTOGRAPHS, f"model.autoencoder={autoencoder}", f"store={store.root}"])
    run = plan_run(config, open_dataset(config.data, store))
    train(run, store, Worker())
    return last_checkpoint(store, run.run_id).path, store


def test_a_measurement_tells_the_side_of_images_and_not_of_latents(trained_on_latents, monkeypatch):
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    path, store = trained_on_latents
    dataset = open_dataset(DataConfig(kind="photographs", image_size=32), store)
    config = EvaluationConfig(samples=130, reference_images=200, minimum_accuracy=0.0)

    rows = evaluate_checkpoint(store, load_model(store, path), dataset, config, SamplerConfig(steps=1))

    assert {row["image_size"] for row in rows} == {32}


def test_a_store_that_has_moved_has_its_autoencoder_with_it(trained_on_latents, tmp_path):
    path, store = trained_on_latents
    shutil.copytree(store.root, tmp_path / "moved")

    model = load_model(Store(tmp_path / "moved"), path)

    assert model.autoencoder.startswith(str(tmp_path / "moved"))
    drawn, before = (each.generate(["0"], [0])[0].tobytes() for each in (model, load_model(store, path)))
    assert drawn == before


def test_another_autoencoder_than_in_training_is_refused_wherever_it_lies(trained_on_latents, tmp_path):
    path, store = trained_on_latents
    own, other = load_model(store, path).autoencoder, small_autoencoder(tmp_path / "other", total_images=128)
    shutil.copytree(own, tmp_path / "same")
    refusal = r"^model\.autoencoder=\S+ is another than \S+ was trained with; its weights or their scale differ$"

    assert unlatent.load(f"{store.root}/{path}", autoencoder=str(tmp_path / "same")).image_size == 32
    with pytest.raises(ValueError, match=refusal):
        unlatent.load(f"{store.root}/{path}", autoencoder=other).generate(["0"], [0])
    shutil.copytree(store.root, tmp_path / "changed")
    shutil.copytree(other, tmp_path / "changed" / own.removeprefix(f"{store.root}/"), dirs_exist_ok=True)
    with pytest.raises(ValueError, match=refusal):
        load_model(Store(tmp_path / "changed"), path).generate(["0"], [0])


def test_a_run_on_latents_that_was_cut_off_ends_as_the_undisturbed_one(make_latent_run, trained_and_cut):
    whole, cut = make_latent_run("train.run=whole"), make_latent_run("train.run=cut")
    undisturbed, ended = trained_and_cut(whole, cut)

    assert undisturbed.sha256["model.safetensors"] == ended.sha256["model.safetensors"]


def test_an_autoencoder_is_known_by_its_weights_wherever_they_lie(make_run, autoencoder, tmp_path):
    shutil.copytree(autoencoder, tmp_path / "copy")
    other = small_autoencoder(tmp_path / "other", total_images=128)

    first, moved, another = (
        make_run(*PHOTOGRAPHS, f"model.autoencoder={place}").run_id for place in (autoencoder, tmp_path / "copy", other)
    )

    assert first == moved != another


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("model.autoencoder=nowhere", "vae=nowhere is no folder"),
        ("data.image_size=36", "image_size=36 is not a multiple of 8"),
    ],
)
def test_settings_that_do_not_go_with_latents_are_refused(make_latent_run, setting, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_latent_run(setting)


def test_latents_and_a_teacher_of_pixels_are_refused_together(make_latent_run, teacher):
    with pytest.raises(ValueError, match=r"train\.alignment\.teacher looks at pixels, and model\.autoencoder leaves"):
        make_latent_run(teacher)


def test_images_are_encoded_once_and_come_as_latents_in_the_same_order(make_latent_run, latents, store, monkeypatch):
    dataset = make_latent_run().dataset

    kept = encoded_once(dataset, latents, store, CPU)
    monkeypatch.setattr("unlatent.platform.latent_images.encode", None)  # it would be called no more
    again = encoded_once(dataset, latents, store, CPU)

    indices = np.array([3, 1000, 7])
    [read] = kept.pixels.read_parts([indices], [(32, 32)], None)
    assert np.abs(read - latents.encode(dataset.train.read(indices)).numpy()).max() < 1e-4
    assert np.array_equal(again.pixels.latents, kept.pixels.latents)
    positions = np.arange(100)
    assert np.array_equal(kept.order(0, 32).indices(positions), dataset.train.order(0, 32).indices(positions))


def test_more_latents_than_memory_is_given_to_are_encoded_as_they_come(make_latent_run, latents, store, monkeypatch):
    run = make_latent_run("train.run=coming")
    monkeypatch.setattr("unlatent.platform.latent_images.MOST_BYTES", 1000)

    assert encoded_once(run.dataset, latents, store, CPU) is None
    train(run, store, Worker())

    assert tables.row(store, "runs", "coming")["status"] == "succeeded"


def test_pixels_are_not_encoded(make_run, store):
    assert encoded_once(make_run(*PHOTOGRAPHS).dataset, PIXELS, store, CPU) is None
