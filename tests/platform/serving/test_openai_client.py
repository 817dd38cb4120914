"""The official client, unchanged."""

import base64

import openai
import pytest


@pytest.fixture
def official(client):
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0) as official:
        yield official


def test_it_makes_images(official, card):
    answer = official.images.generate(
        prompt="3", model=card.id, n=2, size="8x8", output_format="png", user="me", extra_body={"seed": 5, "steps": 3}
    )

    assert [image.seed for image in answer.data] == [5, 6]
    assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG")
    assert answer.usage.output_tokens == answer.usage.total_tokens == 8


def test_it_streams_images(official):
    stream = official.images.generate(prompt="3", stream=True, partial_images=2, extra_body={"seed": 5})

    *partials, done = stream

    assert [type(event).__name__ for event in partials] == ["ImageGenPartialImageEvent"] * 2
    assert [event.partial_image_index for event in partials] == [0, 1]
    assert type(done).__name__ == "ImageGenCompletedEvent"
    assert (done.size, done.background, done.quality, done.seed) == ("8x8", "opaque", "auto", 5)
    assert done.usage.total_tokens == 4


def test_it_lists_models(official, card):
    assert [model.id for model in official.models.list()] == [card.id]
    assert official.models.retrieve(card.id).owned_by == "unlatent"


def test_it_understands_refusals(official):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        official.images.generate(prompt="3", n=11)
    assert (refused.value.param, refused.value.type) == ("n", "invalid_request_error")

    with pytest.raises(openai.BadRequestError, match="10 classes"):
        official.images.generate(prompt="a cat")


def test_it_understands_a_stream_that_fails(serve):
    client = serve(deadline_s=1.5, max_steps=10**5)
    official = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0)

    with pytest.raises(openai.APIStatusError) as refused:
        official.images.generate(prompt="3", stream=True, extra_body={"steps": 10**5})

    assert refused.value.status_code == 504


def test_it_sends_the_token(serve):
    url = f"{serve(token='secret').base_url}/v1"

    assert openai.OpenAI(base_url=url, api_key="secret").models.list().data
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=url, api_key="wrong").models.list()


def test_it_edits_images(official):
    made = official.images.generate(prompt="3", extra_body={"seed": 5})
    image = ("three.png", base64.b64decode(made.data[0].b64_json), "image/png")

    answer = official.images.edit(
        image=image, prompt="8", n=2, size="8x8", extra_body={"source_prompt": "3", "seed": 1}
    )

    assert [image.seed for image in answer.data] == [1, 2]
    assert answer.usage.input_tokens == 4 and answer.usage.output_tokens == 8


def test_it_streams_edits(official):
    made = official.images.generate(prompt="3", extra_body={"seed": 5})
    image = ("three.png", base64.b64decode(made.data[0].b64_json), "image/png")

    *partials, done = official.images.edit(image=image, prompt="8", stream=True, partial_images=2)

    assert [type(event).__name__ for event in partials] == ["ImageEditPartialImageEvent"] * 2
    assert type(done).__name__ == "ImageEditCompletedEvent" and done.size == "8x8"
