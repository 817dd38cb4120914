"""An endpoint whose model reads texts: what it draws and edits follows from them alone."""

import numpy as np
import pytest

from tests.platform.serving.test_edits import edited, picture, pixels_of
from unlatent.models.samplers import SamplerConfig
from unlatent.platform.generation import generate

SAID = "a red circle on grass"


def made(client, **request) -> dict:
    response = client.post("/v1/images/generations", json={"prompt": SAID, "seed": 5, **request})
    assert response.status_code == 200, response.text
    return response.json()


def test_an_image_is_what_the_model_makes_of_the_text_at_the_desk(text_client, text_model):
    answer = made(text_client)

    expected = generate(text_model, [SAID], [5], text_model.sampler)[0].permute(1, 2, 0).numpy()
    assert np.abs(pixels_of(answer["data"][0]) - expected.astype(int)).max() <= 1
    assert answer["data"][0]["settings"]["prompt"] == SAID


def test_another_text_makes_another_image_and_the_same_the_same(text_client):
    first, again, other = (pixels_of(made(text_client, prompt=said)["data"][0]) for said in (SAID, SAID, "blue"))

    assert (first == again).all()
    assert (first != other).any()


def test_tokens_of_the_text_are_counted(text_client):
    assert made(text_client)["usage"]["input_tokens_details"] == {"image_tokens": 0, "text_tokens": 5}
    assert made(text_client, negative_prompt="a blur")["usage"]["input_tokens"] == 7


def test_what_is_not_to_be_seen_changes_the_image_and_stands_in_its_settings(text_client):
    plain, away = made(text_client)["data"][0], made(text_client, negative_prompt="blue")["data"][0]

    assert (pixels_of(plain) != pixels_of(away)).any()
    assert (away["settings"]["negative_prompt"], "negative_prompt" in plain["settings"]) == ("blue", False)
    again = made(text_client, **away["settings"])["data"][0]
    assert (pixels_of(again) == pixels_of(away)).all()


def test_no_text_at_all_is_one_too(text_client, text_model):
    answer = made(text_client, prompt="", guidance=1)

    expected = generate(text_model, [""], [5], SamplerConfig(steps=4))[0].permute(1, 2, 0).numpy()
    assert np.abs(pixels_of(answer["data"][0]) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_text_that_is_too_long_is_refused_by_its_field(text_client, field):
    response = text_client.post(
        "/v1/images/generations", json={"prompt": SAID, field: "one two three four five six more"}
    )

    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == (field, "prompt_too_long")
    assert error["message"] == "a text of 7 tokens is longer than the 6 that the model reads"


def test_the_model_says_that_it_reads_texts(text_client, client):
    [text], [classes] = (each.get("/v1/models").json()["data"] for each in (text_client, client))

    assert (text["condition"], classes["condition"]) == ("text", "class")


def test_an_edit_between_equal_texts_gives_back_the_image_bit_for_bit(text_client):
    sent = picture("RGB")

    same = edited(text_client, image=sent, prompt=SAID, source_prompt=SAID, source_guidance=2, target_guidance=2)
    other = edited(text_client, image=sent, prompt="a blue circle on grass", source_prompt=SAID)

    kept = pixels_of(edited(text_client, image=sent, prompt=SAID, source_prompt=SAID, n_max=0))
    assert (pixels_of(same) == kept).all()
    assert (pixels_of(other) != kept).any()
    assert other["settings"]["source_prompt"] == SAID
