"""An endpoint whose model was trained in buckets: it draws and edits each of their sizes, and no other."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import openai
import pytest
from PIL import ExifTags, Image

from tests.platform.serving.test_edits import edit, edited, mask_png, picture, pixels_of
from tests.platform.serving.test_generations import GENERATIONS, create, opened
from unlatent.platform.pictures import read_picture
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.generator import Generator, first_calls
from unlatent.platform.serving.metrics import Metrics
from unlatent.platform.serving.model_card import model_card
from unlatent.platform.store import Store

SIZES = ["8x12", "8x8", "12x8"]  # width, then height


def test_the_model_tells_its_own_size_and_all_others(sizes_client):
    [model] = sizes_client.get("/v1/models").json()["data"]

    assert (model["size"], model["sizes"]) == ("8x8", SIZES)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_of_each_size_is_what_the_model_makes_of_it_at_the_desk(sizes_client, sizes_model, size):
    answer = create(sizes_client, size=size, seed=5, n=2)

    [image, next_one] = answer["data"]
    width, height = map(int, size.split("x"))
    [expected] = sizes_model.generate(["3"], [5], size=size)
    assert opened(image).size == opened(next_one).size == (width, height)
    assert np.abs(pixels_of(image) - np.asarray(expected).astype(int)).max() <= 1
    assert answer["size"] == image["settings"]["size"] == json.loads(opened(image).text["settings"])["size"] == size
    assert answer["usage"]["output_tokens"] == 2 * (width // 4) * (height // 4)


def test_a_request_without_a_size_gets_the_models_own(sizes_client):
    assert create(sizes_client)["size"] == create(sizes_client, size="auto")["size"] == "8x8"


def test_images_of_different_sizes_on_their_way_together_come_out_as_alone(sizes_client):
    asked = [{"size": size, "seed": seed, "steps": 20 + 7 * seed} for seed in range(4) for size in SIZES]
    alone = [create(sizes_client, **request)["data"][0] for request in asked]

    with ThreadPoolExecutor(len(asked)) as clients:
        together = list(clients.map(lambda request: create(sizes_client, **request)["data"][0], asked))

    for one, other in zip(alone, together, strict=True):
        assert np.abs(pixels_of(one) - pixels_of(other)).max() <= 1


def test_partial_images_have_the_size_too(sizes_client):
    client = openai.OpenAI(base_url=f"{sizes_client.base_url}/v1", api_key="none")

    events = list(client.images.generate(prompt="3", size="12x8", stream=True, partial_images=2))

    assert [event.size for event in events] == ["12x8"] * 3
    assert [opened({"b64_json": event.b64_json}).size for event in events] == [(12, 8)] * 3


@pytest.mark.parametrize(
    ("size", "status", "said"),
    [
        ("16x8", 400, "size=16x8 is not what the model makes; 12x8 or auto would do"),
        ("9x9", 400, "8x8 or auto would do"),
        ("1x99999", 400, "8x12 or auto would do"),
        ("0x8", 422, "size="),
        ("8x012", 422, "size="),
        ("8 x 12", 422, "size="),
    ],
)
def test_another_size_is_refused_and_the_nearest_named(sizes_client, size, status, said):
    response = sizes_client.post(GENERATIONS, json={"prompt": "3", "size": size})

    assert response.status_code == status
    assert response.json()["error"]["param"] == "size" and said in response.json()["error"]["message"]


@pytest.mark.parametrize("sides", [(8, 12), (12, 8)])
def test_an_edit_keeps_the_size_of_its_image(sizes_client, sides):
    sent = picture("RGB", sides)
    same = {"prompt": "3", "source_prompt": "3", "source_guidance": 2, "target_guidance": 2}

    kept, changed = edited(sizes_client, image=sent, **same), edited(sizes_client, image=sent, source_prompt="3")

    assert opened(kept).size == opened(changed).size == sides
    assert (pixels_of(kept) == pixels_sent(sent)).all()
    assert (pixels_of(changed) != pixels_of(kept)).any()


def pixels_sent(content: bytes) -> np.ndarray:
    return pixels_of({"b64_json": base64.b64encode(content)})


def test_outside_its_mask_an_image_that_is_no_square_stays_as_it_was(sizes_client):
    sent, hole = picture("RGB", (12, 8)), (slice(0, 4), slice(8, 12))

    answer = edited(sizes_client, image=sent, mask=mask_png(hole, size=(8, 12)), target_guidance=90)

    changed = (pixels_of(answer) != pixels_sent(sent)).any(axis=2)
    assert changed[hole].any()
    changed[hole] = False
    assert not changed.any()


@pytest.mark.parametrize(
    ("sent", "status", "field", "said"),
    [
        ({"image": picture("RGB", (12, 4))}, 400, "image", "12x4, and 12x8 would do"),
        ({"image": picture("RGB", (12, 12))}, 400, "image", "12x12, and 8x8 would do"),
        ({"image": picture("RGB", (13, 8))}, 413, "image", "13x8, and 12x8 would do"),
        ({"image": picture("RGB", (12, 8)), "mask": mask_png((slice(2), slice(2)))}, 400, "mask", "12x8 would do"),
        ({"image": picture("RGB", (12, 8)), "size": "8x8"}, 400, "size", "that of the image, 12x8"),
        ({"image": picture("RGB", (12, 8)), "size": "16x8"}, 400, "size", "12x8 or auto would do"),
    ],
)
def test_what_does_not_go_with_the_sizes_is_refused_by_its_field(sizes_client, sent, status, field, said):
    response = edit(sizes_client, **sent)

    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == field and said in response.json()["error"]["message"]


def test_a_size_that_is_that_of_the_image_may_be_said(sizes_client):
    response = edit(sizes_client, image=picture("RGB", (12, 8)), size="12x8", stream="false")

    assert response.status_code == 200 and response.json()["size"] == "12x8"


def test_a_compiled_network_has_made_every_size_before_it_answers(sizes_model, tmp_path, monkeypatch):
    seen = set()
    sizes_model.network.register_forward_pre_hook(lambda network, given: seen.add((len(given[0]), *given[0].shape[2:])))
    generator = Generator(ServeConfig(max_rows=4, compile=True), Metrics())
    monkeypatch.setattr(type(sizes_model.network), "compile", lambda network: None)

    generator.serve(sizes_model, model_card(sizes_model, Store(tmp_path)))

    assert seen == {(2, 8, 8), (4, 8, 8), (2, 12, 8), (2, 8, 12)}


def test_a_network_that_is_not_compiled_is_tried_once(sizes_model):
    assert list(first_calls(sizes_model, ())) == [((8, 8), 1)]


def test_more_sizes_than_a_compiled_network_has_graphs_for_are_one_line(sizes_model, tmp_path):
    many = replace(sizes_model, trained_sides=[(4 * n, 8) for n in range(1, 67)])

    with pytest.raises(ValueError, match="makes images of 66 sizes, and a compiled network has graphs for 64; serve"):
        Generator(ServeConfig(compile=True), Metrics()).serve(many, model_card(many, Store(tmp_path)))


def held_upright() -> bytes:
    """A photograph stored lying, 12 pixels wide and 8 high, with a note that it is to be turned by a quarter."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return picture("RGB", (12, 8), kind="JPEG", exif=exif)


def test_a_photograph_is_edited_as_its_camera_was_held():
    pixels, _ = read_picture(held_upright(), "image", [(12, 8)], 3)

    stored = np.asarray(Image.open(io.BytesIO(held_upright())))
    assert (pixels.permute(1, 2, 0).numpy() == np.rot90(stored, -1)).all()


def test_a_photograph_that_has_a_size_only_as_it_is_stored_is_refused():
    with pytest.raises(ValueError, match="image is 8x12, and 12x8 would do"):
        read_picture(held_upright(), "image", [(8, 12)], 3)
