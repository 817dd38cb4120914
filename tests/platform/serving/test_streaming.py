import json
import time

import httpx
import pytest

GENERATIONS = "/v1/images/generations"


def events(client: httpx.Client, **request: object) -> list[dict]:
    found = []
    with client.stream("POST", GENERATIONS, json={"prompt": "3", "stream": True, **request}) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        for block in "".join(response.iter_text()).strip().split("\n\n"):
            name, data = block.split("\n")
            found.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {found[-1].get('type', 'error')}"
    return found


def test_a_stream_shows_an_image_form_and_ends_with_it(client):
    *partials, done = events(client, seed=5, steps=8, partial_images=3)

    assert [(event["type"], event["partial_image_index"]) for event in partials] == [
        ("image_generation.partial_image", index) for index in range(3)
    ]
    assert [event["steps_done"] for event in [*partials, done]] == [2, 4, 6, 8]
    assert done["type"] == "image_generation.completed"
    assert len({event["b64_json"] for event in [*partials, done]}) == 4


def test_a_stream_ends_with_the_image_that_is_made_without_one(client):
    [done] = events(client, seed=5)

    [image] = client.post(GENERATIONS, json={"prompt": "3", "seed": 5}).json()["data"]

    assert done["b64_json"] == image["b64_json"]
    assert done["settings"] == image["settings"]


def test_every_event_says_which_image_it_shows(client, card):
    found = events(client, seed=5, n=2, partial_images=1)

    assert [(event["image_index"], event["seed"]) for event in found] == [(0, 5), (1, 6)] * 2
    assert {event["checkpoint_hash"] for event in found} == {card.checkpoint_hash}


def test_a_few_steps_have_few_partials(client):
    steps = [event["steps_done"] for event in events(client, steps=2, partial_images=3)]

    assert steps == [1, 2]


@pytest.mark.parametrize(("sent", "status"), [({"prompt": "cat"}, 400), ({"n": 0}, 422)])
def test_a_stream_that_cannot_begin_is_refused_with_its_status(client, sent, status):
    response = client.post(GENERATIONS, json={"prompt": "3", "stream": True, **sent})

    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_deadline_before_the_first_picture_has_its_status(serve):
    response = serve(deadline_s=0.2, max_steps=10**5).post(
        GENERATIONS, json={"prompt": "3", "stream": True, "steps": 10**5}
    )

    assert response.status_code == 504


def test_a_deadline_in_the_middle_of_a_stream_is_its_last_event(serve):
    client = serve(deadline_s=1, max_steps=10**5)
    started = time.monotonic()
    events(client, steps=200)
    twice_the_deadline = int(200 * 2 / (time.monotonic() - started))

    *partials, last = events(client, steps=twice_the_deadline, partial_images=3)

    assert partials
    assert last["error"]["code"] == "deadline_passed"
