"""Requests made up from the endpoint's own description, by Schemathesis: right ones, and wrong ones of every kind."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from unlatent.platform.serving.errors import ErrorAnswer

READING = ["/v1/models", "/v1/models/{model_id}", "/health", "/ready"]
WRITING = ["/v1/images/generations", "/v1/images/edits"]
ASKED = [(path, "GET", GenerationMode.POSITIVE) for path in READING] + [
    (path, "POST", mode) for path in WRITING for mode in GenerationMode
]


@pytest.fixture(scope="session")
def description(client):
    return schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")


@pytest.mark.parametrize(("path", "method", "mode"), ASKED)
def test_no_request_makes_the_endpoint_fail_or_answer_otherwise_than_described(description, path, method, mode):
    statuses, described = set(), description[path][method].definition.raw["responses"]

    @given(case=description[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case):
        response = case.call(timeout=60)
        statuses.add(response.status_code)
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            assert str(response.status_code) in described
            assert ErrorAnswer.model_validate_json(response.text, strict=True)

    ask()
    assert statuses
