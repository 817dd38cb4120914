import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

GENERATIONS = "/v1/images/generations"
LONG = {"prompt": "3", "steps": 10**5}


def create(client: httpx.Client, **request: object) -> httpx.Response:
    return client.post(GENERATIONS, json={"prompt": "3", **request})


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


def test_a_full_queue_refuses_and_says_when_to_come_back(serve):
    client = serve(max_rows=2, max_queued_rows=2, deadline_s=1, max_steps=10**5)

    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(create, client, steps=10**5) for _ in range(2)]
        wait_until(lambda: len(client.generator.served.errands) == 2)
        refused = create(client)

    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert [future.result().status_code for future in waiting] == [504, 504]


def test_a_deadline_ends_the_work_and_the_next_request_is_unharmed(serve):
    client = serve(deadline_s=0.3, max_steps=10**5)

    late = create(client, steps=10**5)

    assert late.status_code == 504
    assert "0.3 s" in late.json()["error"]["message"]
    wait_until(lambda: not client.generator.served.errands)
    assert create(client).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_work(serve, stream):
    client = serve(max_steps=10**5)

    with pytest.raises(httpx.ReadTimeout):
        client.post(GENERATIONS, json={**LONG, "stream": stream}, timeout=0.3)

    wait_until(lambda: not client.generator.served.errands)
    assert create(client).status_code == 200


def test_a_client_that_leaves_in_the_middle_of_a_stream_ends_its_work(serve):
    client = serve(max_steps=10**5)
    request = {**LONG, "steps": 8000, "stream": True, "partial_images": 3}

    with client.stream("POST", GENERATIONS, json=request, timeout=20) as response:
        next(response.iter_text())

    wait_until(lambda: not client.generator.served.errands)


def test_a_client_that_leaves_the_queue_frees_its_place(serve):
    client = serve(max_rows=2, max_queued_rows=2, deadline_s=2, max_steps=10**5)

    with ThreadPoolExecutor() as threads:
        threads.submit(create, client, steps=10**5)
        wait_until(lambda: len(client.generator.served.errands) == 1)
        with pytest.raises(httpx.ReadTimeout):
            client.post(GENERATIONS, json=LONG, timeout=0.3)
        wait_until(lambda: len(client.generator.served.errands) == 1)


def test_health_answers_while_an_image_is_made(serve):
    client = serve(deadline_s=1, max_steps=10**5)

    with ThreadPoolExecutor() as threads:
        making = threads.submit(create, client, steps=10**5)
        wait_until(lambda: client.generator.served.errands)
        started = time.monotonic()
        health = client.get("/health")

    assert health.status_code == 200 and time.monotonic() - started < 5
    assert making.result().status_code == 504


def test_first_come_first_served_where_there_is_room_for_one(serve):
    client, done = serve(max_rows=2), []

    def make(number: int) -> None:
        create(client, steps=300)
        done.append(number)

    with ThreadPoolExecutor() as threads:
        for number in range(4):
            threads.submit(make, number)
            time.sleep(0.05)

    assert done == [0, 1, 2, 3]


def test_a_failure_is_answered_without_its_details_and_does_no_harm(serve, model, monkeypatch):
    client = serve()
    monkeypatch.setattr(type(model.network), "forward", out_of_memory)

    failed = create(client)

    assert failed.status_code == 500
    assert failed.json()["error"] == {
        "message": "the server failed on this request; its log says how",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }
    monkeypatch.undo()
    assert create(client).status_code == 200


def out_of_memory(*given: object) -> None:
    raise RuntimeError("out of memory")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_has_ended_by_a_fault_is_not_sound(serve, monkeypatch):
    client = serve(deadline_s=0.5)
    served = client.generator.served
    served.require_sound()
    monkeypatch.setattr(served.engine, "step", out_of_memory)

    assert create(client).status_code == 504
    with pytest.raises(RuntimeError, match="thread has ended"):
        served.require_sound()


def test_a_device_on_which_nothing_works_is_not_sound(serve, model, monkeypatch):
    client = serve()
    monkeypatch.setattr(type(model.network), "forward", out_of_memory)

    answers = [create(client).status_code for _ in range(5)]

    assert answers == [500] * 5
    with pytest.raises(RuntimeError, match="5 steps in a row"):
        client.generator.served.require_sound()
    monkeypatch.undo()
    assert create(client).status_code == 200
    client.generator.served.require_sound()
