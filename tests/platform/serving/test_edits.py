"""Edits over HTTP: what comes back, what is kept, and every kind of file that is none."""

import base64
import io
import json
import zlib
from functools import partial

import numpy as np
import pytest
from fastapi import UploadFile
from PIL import Image

from unlatent.models.editing import EditConfig
from unlatent.platform.generation import to_image
from unlatent.platform.orders import Edit, carry_out
from unlatent.platform.serving.requests import EditRequest, edit_config_of

EDITS = "/v1/images/edits"


def picture(mode="L", size=(8, 8), seed=0, kind="PNG", **options) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*reversed(size), len(mode)), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(), None if mode == "L" else mode).save(file, kind, **options)
    return file.getvalue()


def mask_png(hole: tuple[slice, slice], size=(8, 8)) -> bytes:
    pixels = np.full((*size, 4), 255, np.uint8)
    pixels[(*hole, 3)] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def edit(client, image=None, mask=None, **fields):
    files = {"image": ("image.png", picture() if image is None else image)}
    if mask is not None:
        files["mask"] = ("mask.png", mask)
    return client.post(EDITS, data={"prompt": "8", **fields}, files=files)


def pixels_of(image: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["b64_json"]))).convert("RGB")).astype(int)


def edited(client, **sent) -> dict:
    response = edit(client, **sent)
    assert response.status_code == 200, response.text
    return response.json()["data"][0]


def test_an_edit_is_what_the_engine_makes_of_the_same_at_the_desk(client, model):
    sent = Image.open(io.BytesIO(picture("RGB")))
    order = Edit(
        image=to_tensor(sent),
        source=3,
        target=8,
        seeds=[5],
        config=client.generator.served.card.edit,
        sampler=model.sampler,
    )

    answer = edited(client, image=picture("RGB"), source_prompt="3", seed=5)

    [expected] = carry_out(model, [order], 16)
    assert np.abs(pixels_of(answer) - np.asarray(to_image(expected)).astype(int)).max() <= 1


def to_tensor(image):
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_equal_prompts_and_guidance_give_back_the_image_bit_for_bit(client):
    same = {"prompt": "3", "source_prompt": "3", "source_guidance": 2, "target_guidance": 2}

    answer = edited(client, image=picture("RGB"), **same)

    assert (pixels_of(answer) == pixels_of({"b64_json": base64.b64encode(picture("RGB"))})).all()


def test_the_same_seed_gives_the_same_edit_and_another_another(client):
    one, same, other = (edited(client, seed=seed)["b64_json"] for seed in (5, 5, 6))

    assert one == same != other


def test_an_edit_uses_another_noise_than_the_generation_of_its_seed(client):
    image = client.post("/v1/images/generations", json={"prompt": "3", "seed": 5}).json()["data"][0]
    sent = base64.b64decode(image["b64_json"])

    own, others = (pixels_of(edited(client, image=sent, source_prompt="3", seed=seed)) for seed in (5, 6))

    distance = [np.abs(result - pixels_of(image)).mean() for result in (own, others)]
    assert 0.3 < distance[0] / distance[1] < 3


@pytest.mark.parametrize("n_min", [0, 10])
def test_outside_a_mask_every_pixel_stays_as_it_was(client, n_min):
    hole = (slice(2, 5), slice(1, 7))

    answer = edited(client, image=picture("RGB"), mask=mask_png(hole), n_min=n_min, target_guidance=90, seed=1)

    before, after = pixels_of({"b64_json": base64.b64encode(picture("RGB"))}), pixels_of(answer)
    changed = (before != after).any(axis=2)
    assert changed[hole].mean() > 0.5
    changed[hole] = False
    assert not changed.any()


def test_an_image_that_is_transparent_somewhere_is_its_own_mask(client):
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[..., 3], pixels[2:5, 2:5, 3] = 255, 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")

    after = pixels_of(edited(client, image=file.getvalue(), target_guidance=90, seed=1))

    outside = np.ones((8, 8), bool)
    outside[2:5, 2:5] = False
    assert (after[outside] == 200).all() and (after[2:5, 2:5] != 200).any()


def test_keeping_the_background_keeps_some_pixels_and_changes_others(client):
    before = pixels_of({"b64_json": base64.b64encode(picture("RGB"))})

    free, kept = (
        pixels_of(edited(client, image=picture("RGB"), target_guidance=90, seed=1, keep_background=keep))
        for keep in ("false", "true")
    )

    assert 0 < (kept != before).any(axis=2).sum() < (free != before).any(axis=2).sum()
    assert (kept[(kept != before).any(axis=2)] == free[(kept != before).any(axis=2)]).all()


def test_several_edits_have_seeds_of_their_own_and_all_settings_come_back(client):
    response = edit(client, n=3, seed=7, source_prompt="1", n_max=20, steps=30, target_guidance=3)
    images = response.json()["data"]

    assert [image["seed"] for image in images] == [7, 8, 9] and len({image["b64_json"] for image in images}) == 3
    settings = images[0]["settings"]
    assert (settings["prompt"], settings["source_prompt"], settings["n_max"], settings["steps"]) == ("8", "1", 20, 30)
    again = edited(client, seed=8, **settings)
    assert np.abs(pixels_of(again) - pixels_of(images[1])).max() <= 1


def test_fewer_steps_edit_as_large_a_part_of_them(client):
    assert edited(client, steps=10)["settings"]["n_max"] == 7  # of 50, 33 do


def test_a_stream_shows_an_edit_on_its_way_and_ends_with_it(client):
    data = {"prompt": "8", "stream": "true", "partial_images": 2, "seed": 5}

    with client.stream("POST", EDITS, data=data, files={"image": picture()}) as response:
        blocks = "".join(response.iter_text()).strip().split("\n\n")

    events = [json.loads(block.split("data: ")[1]) for block in blocks]
    kinds = ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert [event["type"] for event in events] == kinds
    assert [event["steps_done"] for event in events] == [28, 39, 50]
    assert events[-1]["b64_json"] == edited(client, seed=5)["b64_json"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_usual_files_are_read(client, kind, mode):
    assert edit(client, image=picture(mode, kind=kind)).status_code == 200


def bomb() -> bytes:
    """A small PNG that says it has 60,000 x 60,000 pixels."""
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    chunk = len(header[4:]).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk + picture()[33:]


def broken_chunk() -> bytes:
    """A PNG with an empty profile after its pixels."""
    whole = picture()
    chunk = (0).to_bytes(4, "big") + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big")
    return whole[:-12] + chunk + whole[-12:]


def sixteen_bits() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 20_000, np.uint16)).save(file, "PNG")
    return file.getvalue()


def test_of_fewer_steps_as_large_a_part_edits_and_draws_freely():
    defaults = EditConfig(steps=50, n_max=40, n_min=20)
    request = partial(EditRequest, prompt="8", image=UploadFile(io.BytesIO(picture())))

    found = [edit_config_of(request(**said), defaults) for said in ({"steps": 5}, {"n_max": 10}, {"n_max": 0})]

    assert [(each.steps, each.n_max, each.n_min) for each in found] == [(5, 4, 2), (50, 10, 10), (50, 0, 0)]


BAD_FILES = [
    ({"image": broken_chunk()}, 400, "image", "broken"),
    ({"image": sixteen_bits()}, 400, "image", "8 bits"),
    ({"image": b""}, 400, "image", "no image"),
    ({"image": b"not an image at all"}, 400, "image", "no image"),
    ({"image": picture()[:60]}, 400, "image", "broken"),
    ({"image": picture(kind="GIF")}, 400, "image", "PNG, JPEG or WebP"),
    ({"image": picture(size=(4, 8))}, 400, "image", "4x8"),
    ({"image": picture(size=(8, 9))}, 413, "image", "8x9"),
    ({"image": picture(size=(3000, 3000))}, 413, "image", "8x8 would do"),
    ({"image": bomb()}, 413, "image", "pixels"),
    ({"mask": picture("RGB")}, 400, "mask", "no transparency"),
    ({"mask": mask_png((slice(0, 0), slice(0, 0)))}, 400, "mask", "nowhere"),
    ({"mask": mask_png((slice(0, 2), slice(0, 2)), (4, 4))}, 400, "mask", "4x4"),
    ({"mask": b"nothing"}, 400, "mask", "no image"),
]

BAD_FIELDS = [
    ({"prompt": "cat"}, 400, "prompt", "10 classes"),
    ({"source_prompt": "cat"}, 400, "source_prompt", "10 classes"),
    ({"n_max": "many"}, 422, "n_max", "valid integer"),
    ({"n_max": 51}, 400, "n_max", "0 <= n_min <= n_max <= steps"),
    ({"n_min": 40}, 400, "n_max", "0 <= n_min <= n_max <= steps"),
    ({"n_avg": 9}, 422, "n_avg", "less than or equal to 8"),
    ({"n_avg": 8}, 400, "n_avg", "limit of 16"),
    ({"steps": 1001}, 400, "steps", "limit of 1000"),
    ({"steps": 10**400}, 400, "steps", "limit of 1000"),
    ({"size": "256x256"}, 400, "size", "8x8"),
    ({"input_fidelity": "high"}, 422, "input_fidelity", "not supported"),
    ({"negative_prompt": "1"}, 422, "negative_prompt", "not supported"),
    ({"stream": "perhaps"}, 422, "stream", "boolean"),
]


@pytest.mark.parametrize(("sent", "status", "param", "said"), BAD_FILES + BAD_FIELDS, ids=lambda value: str(value)[:40])
def test_what_cannot_be_edited_is_refused_by_name(client, sent, status, param, said):
    response = edit(client, **sent)

    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    assert said in error["message"] and error["type"] == "invalid_request_error"


@pytest.mark.parametrize("data", [{"prompt": "8"}, {"image": "data:image/png;base64,AAAA", "prompt": "8"}])
def test_an_edit_without_a_file_is_refused(client, data):
    response = client.post(EDITS, data=data)

    assert response.status_code == 422 and response.json()["error"]["param"] == "image"


def test_a_form_that_is_none_is_refused(client):
    for kind, body in (("multipart/form-data", b"--x"), ("multipart/form-data; boundary=x", b"--y\r\nnonsense"),
                       ("application/json", b'{"prompt": "8"}'), ("text/plain", b"prompt")):  # fmt: skip
        response = client.post(EDITS, content=body, headers={"Content-Type": kind})

        assert response.status_code in (400, 422), (kind, response.text)
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_an_upload_over_the_limit_is_refused_before_it_is_read(serve):
    client = serve(max_upload_bytes=10_000)

    declared = edit(client, image=b"x" * 20_000)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    undeclared = client.post(EDITS, content=(head, *[b"x" * 1024] * 20), headers=headers)

    assert declared.status_code == undeclared.status_code == 413
    assert "10000" in declared.json()["error"]["message"]
