import re

import pytest

from unlatent.platform.serving.app import PAGE


@pytest.mark.parametrize(("path", "says"), [("/", "Choose a class"), ("/docs", "official client")])
def test_a_page_is_served_and_may_fetch_from_here_alone(client, path, says):
    response = client.get(path)

    assert response.status_code == 200 and says in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_what_a_page_names_is_there(client, path):
    named = re.findall(r'(?:src|href)="([^"]+)"', client.get(path).text)

    assert named and all(client.get(f"/{name.removeprefix('./')}").status_code == 200 for name in named)


def test_nothing_of_the_page_names_another_host():
    for file in PAGE.iterdir():
        addresses = re.findall(r"https?://[^\s\"'`]+", file.read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file.name


def test_every_element_that_the_script_asks_for_is_on_the_page():
    ids = set(re.findall(r'id="([^"]+)"', (PAGE / "index.html").read_text()))
    scripts = "".join(script.read_text() for script in PAGE.glob("*.js"))
    asked = set(re.findall(r"\bpart\.(\w+)", scripts)) | set(re.findall(r'\bpart\["([\w-]+)"\]', scripts))

    assert asked and asked <= ids


def test_the_routes_are_described(client):
    routes = client.get("/openapi.json").json()["paths"]

    assert set(routes) == {
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/models",
        "/v1/models/{model_id}",
        "/health",
        "/ready",
    }
