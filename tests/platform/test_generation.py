import numpy as np
import pytest
import torch

import unlatent
from unlatent.models.samplers import SamplerConfig
from unlatent.platform import checkpoints, runs
from unlatent.platform.generation import draw_noise, generate, image_grid
from unlatent.platform.orders import Generation, carry_out
from unlatent.platform.pixel_values import to_bytes
from unlatent.platform.prompts import class_index
from unlatent.platform.training import Worker, train


@pytest.fixture
def model(store, make_run):
    run = make_run("train.run=mine")
    train(run, store, Worker())
    return unlatent.load(store.local(runs.last_checkpoint(store, "mine").path))


def test_a_checkpoint_loads_by_its_folder_and_generates(model):
    images = model.generate(["3", 7], seeds=[0, 1])

    assert [image.size for image in images] == [(8, 8), (8, 8)]
    assert model.classes == [str(digit) for digit in range(10)] and model.images_seen == 256


def test_an_image_depends_on_its_own_class_and_seed_alone(model):
    labels, seeds = [3, 1, 4, 1, 5, 9, 2, 6], [7, 8, 9, 10, 11, 12, 13, 14]

    together = generate(model, labels, seeds, model.sampler)
    alone = generate(model, labels[4:5], seeds[4:5], model.sampler)

    assert (together[4].int() - alone[0].int()).abs().max() <= 1


@pytest.mark.parametrize("avoided", ["1", 1])
def test_guidance_leads_away_from_a_negative_prompt_as_in_the_engine(model, avoided):
    settings = SamplerConfig(steps=4, guidance=3.0)
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # so short a run has hardly learnt to tell classes apart
    order = Generation(prompt=3, avoided=1, seeds=[5, 6], settings=settings, sides=model.sides)

    plain = model.generate(["3", "3"], [5, 6], settings)
    away = model.generate(["3", "3"], [5, 6], settings, negative_prompt=avoided)

    for image, by_engine, before in zip(away, carry_out(model, [order], 8), plain, strict=True):
        assert np.abs(np.asarray(image).astype(int) - by_engine[0].numpy()).max() <= 1
        assert np.abs(np.asarray(image).astype(int) - np.asarray(before)).max() > 1


@pytest.mark.parametrize(
    ("settings", "avoided", "said"),
    [
        (SamplerConfig(steps=4), "1", "negative_prompt has no effect without guidance; guidance=2 would do"),
        (SamplerConfig(steps=4, guidance=2.0), "blurry", "'blurry' is not one of the model's 10 classes"),
    ],
)
def test_a_negative_prompt_that_would_change_nothing_is_refused(model, settings, avoided, said):
    with pytest.raises(ValueError, match=said):
        model.generate(["3"], [5], settings, negative_prompt=avoided)


def test_raw_and_averaged_weights_differ(store, model):
    found = runs.last_checkpoint(store, "mine")

    raw, ema = (checkpoints.load_weights(store, found, kind) for kind in ("raw", "ema"))

    assert any(not torch.equal(raw[name], ema[name]) for name in raw)


def test_a_damaged_checkpoint_is_not_loaded(store, model):
    folder = store.local(model_path := runs.last_checkpoint(store, "mine").path)
    folder.joinpath("ema.safetensors").write_bytes(b"nothing")

    with pytest.raises(ValueError, match=f"{model_path} is damaged: ema.safetensors"):
        unlatent.load(folder)


def test_noise_comes_from_each_images_own_seed():
    assert torch.equal(draw_noise([5, 6], (1, 8, 12))[1], draw_noise([6], (1, 8, 12))[0])


def test_bytes_round_and_do_not_wrap():
    assert to_bytes(torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]


def test_classes_go_by_name_first_then_by_index():
    classes = ["cat", "0", "dog"]

    assert [class_index(classes, name) for name in ("dog", "0", "1", "2")] == [2, 1, 1, 2]
    with pytest.raises(ValueError, match="'3' is not one of the model's 3 classes: cat, 0, dog"):
        class_index(classes, "3")


def test_a_grid_places_images_row_by_row():
    images = torch.arange(3, dtype=torch.uint8).reshape(3, 1, 1, 1) * 100

    pixels = np.asarray(image_grid(images, columns=2, scale=2))

    assert pixels.shape == (6, 6)
    assert (pixels[0, 0], pixels[0, 4], pixels[4, 0], pixels[4, 4]) == (0, 100, 200, 255)
