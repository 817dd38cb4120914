from typing import get_args

import pytest

from unlatent.models.samplers import STEPS
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.gate import MAX_BODY_BYTES
from unlatent.platform.serving.requests import GenerationRequest

GENERATIONS = "/v1/images/generations"

REFUSED = [  # what is sent beside prompt="3", status, param, and what the message must say
    ({"prompt": None}, 422, "prompt", "required"),
    ({"prompt": 3}, 422, "prompt", "valid string"),
    ({"prompt": "cat"}, 400, "prompt", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    ({"prompt": "10"}, 400, "prompt", "10 classes"),
    ({"prompt": "²"}, 400, "prompt", "10 classes"),
    ({"prompt": "x" * 1001}, 422, "prompt", "1000"),
    ({"model": "dall-e-3"}, 404, "model", "digits-01234567 is"),
    ({"n": 0}, 422, "n", "greater than or equal to 1"),
    ({"n": 11}, 422, "n", "less than or equal to 10"),
    ({"n": 1.0}, 422, "n", "valid integer"),
    ({"n": "2"}, 422, "n", "valid integer"),
    ({"n": True}, 422, "n", "valid integer"),
    ({"size": "256x256"}, 400, "size", "8x8"),
    ({"size": "large"}, 422, "size", "'large'"),
    ({"response_format": "url"}, 422, "response_format", "'b64_json'"),
    ({"output_format": "gif"}, 422, "output_format", "'png', 'jpeg' or 'webp'"),
    ({"quality": "hd"}, 422, "quality", "'auto'"),
    ({"background": "transparent"}, 422, "background", "'opaque'"),
    ({"stream": "yes"}, 422, "stream", "valid boolean"),
    ({"stream": True, "partial_images": 4}, 422, "partial_images", "less than or equal to 3"),
    ({"partial_images": 1}, 400, "partial_images", "stream=true"),
    ({"seed": -1}, 422, "seed", "greater than or equal to 0"),
    ({"seed": 2**63}, 422, "seed", "9223372036854775807"),
    ({"seed": 2**80}, 422, "seed", "9223372036854775807"),
    ({"steps": 0}, 422, "steps", "greater than or equal to 1"),
    ({"steps": 1001}, 400, "steps", "limit of 1000"),
    ({"steps": 10**9, "negative_prompt": "1"}, 400, "steps", "limit of 1000"),
    ({"negative_prompt": "cat"}, 400, "negative_prompt", "10 classes"),
    ({"negative_prompt": "1", "guidance": 1}, 400, "negative_prompt", "no effect without guidance"),
    (
        {"negative_prompt": "1", "guidance": 2, "guidance_interval": [0.4, 0.4]},
        400,
        "negative_prompt",
        "a wider guidance interval, or more steps, would do",
    ),
    ({"guidance": -0.5}, 422, "guidance", "greater than or equal to 0"),
    ({"guidance": 101}, 422, "guidance", "less than or equal to 100"),
    ({"guidance_interval": [0.9, 0.1]}, 422, "guidance_interval", "0 <= low <= high <= 1"),
    ({"guidance_interval": [0.1]}, 422, "guidance_interval", "0 <= low <= high <= 1"),
    ({"guidance_interval": ["0", 1]}, 422, "guidance_interval.0", "valid number"),
    ({"sampler": "ddim"}, 422, "sampler", "'ab2', 'dpmpp_2m', 'euler' or 'heun'"),
    ({"style": "vivid"}, 422, "style", "not supported"),
    ({"moderation": "low"}, 422, "moderation", "not supported"),
    ({"output_compression": 50}, 422, "output_compression", "not supported"),
    ({"nmae": None}, 422, "nmae", "not supported"),
]


def error_of(response) -> dict:
    assert response.json().keys() == {"error"}, response.text
    assert response.json()["error"].keys() == {"message", "type", "param", "code"}
    return response.json()["error"]


@pytest.mark.parametrize(("sent", "status", "param", "said"), REFUSED, ids=lambda value: str(value)[:30])
def test_a_wrong_field_is_refused_by_name(client, sent, status, param, said):
    response = client.post(GENERATIONS, json={"prompt": "3", **sent})

    error = error_of(response)
    assert (response.status_code, error["param"]) == (status, param)
    assert said in error["message"] and error["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'"3"', b"\xff\xfe", b'{"prompt": "3", "guidance": NaN}'])
def test_a_body_that_is_no_request_is_refused(client, body):
    response = client.post(GENERATIONS, content=body, headers={"Content-Type": "application/json"})

    assert response.status_code in (400, 422)
    assert error_of(response)["type"] == "invalid_request_error"


def test_json_sent_as_text_is_refused(client):
    response = client.post(GENERATIONS, content=b'{"prompt": "3"}', headers={"Content-Type": "text/plain"})

    assert response.status_code == 400
    assert "application/json" in error_of(response)["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", GENERATIONS, 405), ("POST", "/v1/images/nothing", 404), ("GET", "/v1/models/nothing", 404)],
)
def test_a_route_that_is_not_there_is_refused_in_openais_shape(client, method, path, status):
    response = client.request(method, path)

    assert response.status_code == status
    assert path.split("/")[-1] in error_of(response)["message"]


def test_a_body_over_the_limit_is_refused(client):
    response = client.post(GENERATIONS, json={"prompt": "3" * MAX_BODY_BYTES})

    assert response.status_code == 413
    assert str(MAX_BODY_BYTES) in error_of(response)["message"]


def test_a_body_over_the_limit_is_refused_even_if_it_does_not_say_its_length(client):
    response = client.post(GENERATIONS, content=(b"x" * 1024 for _ in range(80)))

    assert response.status_code == 413
    assert error_of(response)["code"] == "body_too_large"


def test_without_a_model_the_endpoint_lives_and_is_not_ready(serve):
    client = serve()
    client.generator.served = None

    alive, ready, refused = client.get("/health"), client.get("/ready"), client.post(GENERATIONS, json={"prompt": "3"})

    assert (alive.status_code, ready.status_code, refused.status_code) == (200, 503, 503)
    assert refused.headers["Retry-After"] == "1"
    assert error_of(refused)["code"] == "model_not_loaded"


def test_a_token_is_asked_for_below_v1_and_nowhere_else(serve):
    client = serve(token="secret")

    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}, {"Authorization": "Bearer é"}):
        response = client.get("/v1/models", headers={k: v.encode() for k, v in headers.items()})
        assert response.status_code == 401
        assert error_of(response)["code"] == "invalid_api_key"
    assert client.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200
    assert client.get("/health").status_code == client.get("/").status_code == 200


def test_a_token_is_asked_for_before_the_body_is_looked_at(serve):
    response = serve(token="secret").post(GENERATIONS, content=b"x" * (MAX_BODY_BYTES + 1))

    assert response.status_code == 401


def test_the_sampler_names_are_those_there_are():
    [names, _] = get_args(GenerationRequest.model_fields["sampler"].annotation)

    assert set(get_args(names)) == set(STEPS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"host": "0.0.0.0"}, "token"),
        ({"host": "::"}, "token"),
        ({"host": "example.org"}, "token"),
        ({"port": 70000}, "port=70000"),
        ({"token": "a b"}, "token"),
        ({"max_queued_rows": -1}, "max_queued_rows=-1"),
        ({"max_rows": 0}, "max_rows=0"),
        ({"replicas": 2, "max_replicas": 1}, "max_replicas=1"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"deadline_s": 0}, "deadline_s=0"),
    ],
)
def test_a_config_that_cannot_work_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        ServeConfig(**fields)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_no_token(host):
    assert ServeConfig(host=host).token is None
