import base64
import io
import json

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from unlatent.platform.serving.answers import encode
from unlatent.platform.serving.served_model import Picture

GENERATIONS = "/v1/images/generations"


def create(client: httpx.Client, **request: object) -> dict:
    response = client.post(GENERATIONS, json={"prompt": "3", **request})
    assert response.status_code == 200, response.text
    return response.json()


def opened(image: dict) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(image["b64_json"])))


def pixels(image: dict) -> np.ndarray:
    return np.asarray(opened(image)).astype(int)


def test_an_answer_has_openais_shape(client):
    answer = create(client, n=2)

    assert answer["size"] == "8x8" and answer["output_format"] == "png" and answer["created"] > 1e9
    assert [opened(image).size for image in answer["data"]] == [(8, 8), (8, 8)]


def test_the_same_seed_gives_the_same_bytes(client):
    one, same, other = (create(client, seed=seed)["data"][0] for seed in (5, 5, 6))

    assert one == same
    assert one["b64_json"] != other["b64_json"]


def test_every_image_can_be_asked_for_again_alone_by_what_came_with_it(client):
    images = create(client, n=3, seed=7, steps=5, guidance=3, guidance_interval=[0.2, 0.8], sampler="heun")["data"]

    for image in images:
        again = create(client, seed=image["seed"], **image["settings"])["data"][0]
        assert np.abs(pixels(again) - pixels(image)).max() <= 1  # batches may round differently
    assert [image["seed"] for image in images] == [7, 8, 9]


def test_a_seed_left_out_is_drawn_and_told(client):
    first, second = (create(client)["data"][0] for _ in range(2))

    assert first["seed"] != second["seed"]
    assert create(client, seed=first["seed"])["data"][0]["b64_json"] == first["b64_json"]


def test_seeds_go_round_at_their_limit(client):
    images = create(client, seed=2**63 - 1, n=2)["data"]

    assert [image["seed"] for image in images] == [2**63 - 1, 0]


def test_what_a_request_leaves_open_is_as_its_run_had_it(client):
    settings = create(client)["data"][0]["settings"]

    assert settings == {
        "prompt": "3",
        "size": "8x8",
        "steps": 4,
        "guidance": 2.0,
        "guidance_interval": [0.1, 0.9],
        "sampler": "ab2",
    }


@pytest.mark.parametrize("setting", [{"prompt": "4"}, {"steps": 9}, {"guidance": 5}, {"sampler": "euler"}])
def test_every_setting_shows_in_the_image(client, setting):
    assert create(client, seed=1)["data"][0]["b64_json"] != create(client, seed=1, **setting)["data"][0]["b64_json"]


def test_a_png_says_where_it_came_from(client, card):
    image = create(client, seed=5)["data"][0]

    text = opened(image).text

    assert (text["model"], text["checkpoint_hash"], text["seed"]) == (card.id, card.checkpoint_hash, "5")
    assert json.loads(text["settings"]) == image["settings"]


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_an_image_comes_in_the_format_asked_for(client, name):
    assert opened(create(client, output_format=name)["data"][0]).format == name.upper()


def test_webp_loses_nothing(client):
    png, webp = (create(client, seed=1, output_format=name)["data"][0] for name in ("png", "webp"))

    assert (pixels(png) == pixels(webp)).all()


def test_nulls_are_fields_left_out(client):
    assert create(client, seed=1, n=None, steps=None, size=None)["data"] == create(client, seed=1)["data"]


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_one_channel_makes_a_file_too(name):
    grey = Picture(0, torch.zeros(1, 8, 8, dtype=torch.uint8), steps_done=1)

    content = encode(grey, name, {})

    assert Image.open(io.BytesIO(content)).size == (8, 8)
