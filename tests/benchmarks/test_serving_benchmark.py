"""The benchmark of the endpoint serves, counts and looks at the images that it says it does, for moments."""

import json
import socket

import pytest

from benchmarks import serving


@pytest.mark.slow
def test_a_soak_keeps_count_of_memory_statuses_and_wrong_images(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    brief = ["--only", "soak", "--seconds", "0.5", "--first-rate", "60", "--minutes", "0.05", "--max-rows", "4"]

    serving.main([*brief, "--port", str(port), "--json", str(tmp_path / "found.json")])

    found = json.loads((tmp_path / "found.json").read_text())
    assert found.keys() == {"growth", "wrong"} and found["wrong"] == 0
    said = capsys.readouterr().out
    assert "wrong images, and refusals other than 429: 0 (goal: 0) met" in said
