"""What no well-behaved client sends, over a bare socket: the endpoint answers the next one as if nothing had been."""

import json
import socket
import time

import httpx
import pytest

BODY = json.dumps({"prompt": "3", "steps": 2}).encode()
HEAD = b"POST /v1/images/generations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
FORM = b"POST /v1/images/edits HTTP/1.1\r\nHost: here\r\nContent-Type: multipart/form-data; boundary=x\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)


def answer(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(65536):
        received += part
        if b"\r\n\r\n" in received and (b"}" in received or b"</" in received):
            return received
    return received


def assert_unharmed(client: httpx.Client) -> None:
    deadline = time.monotonic() + 10
    while client.generator.served.errands:
        assert time.monotonic() < deadline, "rows were left behind"
        time.sleep(0.01)
    assert client.post("/v1/images/generations", json={"prompt": "3"}).status_code == 200


def test_a_body_that_comes_byte_by_byte_is_waited_for_and_others_are_not_kept_waiting(client):
    with connect(client) as slow:
        slow.sendall(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n".encode())
        for byte in BODY[:-1]:
            slow.sendall(bytes([byte]))
            time.sleep(0.002)
        assert client.post("/v1/images/generations", json={"prompt": "3"}).status_code == 200
        slow.sendall(BODY[-1:])

        assert b"200 OK" in answer(slow)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/images/gen",
        HEAD,
        HEAD + b"Content-Length: 1000\r\n\r\n" + BODY,
        FORM
        + b'Content-Length: 5000\r\n\r\n--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nhalf',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"pro',
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "half an upload", "half a chunk"],
)
def test_half_a_request_is_nothing(client, sent):
    with connect(client) as half:
        half.sendall(sent)
        time.sleep(0.05)

    assert_unharmed(client)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b"Content-Length: many\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
    ],
    ids=["noise", "version", "length", "negative length", "chunk", "long address"],
)
def test_what_is_no_http_is_refused(client, sent):
    with connect(client) as odd:
        odd.sendall(sent)

        assert b" 4" in answer(odd).split(b"\r\n")[0]
    assert_unharmed(client)


def test_a_client_that_resets_in_the_middle_frees_its_rows(serve):
    client = serve(max_steps=10**5)
    body = json.dumps({"prompt": "3", "steps": 10**5, "n": 4}).encode()
    with connect(client) as leaving:
        leaving.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        while not client.generator.served.engine.under_way:
            time.sleep(0.005)
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset

    assert_unharmed(client)
