"""What is said of a cluster that can't be joined, before Ray tries."""

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from tests.rays import free_port, head
from unlatent.platform.cluster import ClusterConfig
from unlatent.platform.joining import minor

TOKEN = "a" * 43

# a process of its own for each: Ray reads the token once
JOIN = "import sys; from unlatent.platform.joining import find_cluster; find_cluster(sys.argv[1])"

# what the head of another release would have said of itself
PRETEND = """
import json, sys
from ray._raylet import GcsClient
about = {"ray_version": sys.argv[2], "python_version": sys.argv[3]}
GcsClient(address=sys.argv[1]).internal_kv_put(b"CLUSTER_METADATA", json.dumps(about).encode(), True, b"cluster")
"""


@pytest.fixture
def refusal(tmp_path):
    """Joins a cluster in vain. What is said of it."""

    def join(address: str, *before: str, **environment: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        surroundings = clean | {"HOME": str(tmp_path)} | environment  # no token lies there
        command = [*before, sys.executable, "-c", JOIN, address]
        joined = subprocess.run(command, env=surroundings, capture_output=True, text=True)
        assert joined.returncode, "was joined"
        return joined.stderr.splitlines()[-1].removeprefix("ValueError: ")

    return join


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A cluster that asks for a token."""
    folder = tmp_path_factory.mktemp("guarded")
    with head(folder, "--include-dashboard=false", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) as address:
        yield address


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory):
    with head(tmp_path_factory.mktemp("unguarded"), "--include-dashboard=false") as address:
        yield address


def test_an_address_of_rays_client_is_refused_when_the_config_is_made():
    with pytest.raises(ValueError, match=r"^cluster\.address=ray://head:10001 is no host:port; .*`ray job submit`$"):
        ClusterConfig(address="ray://head:10001")


def test_where_nothing_answers_one_line_says_so_within_seconds(refusal):
    started = time.monotonic()

    said = refusal(f"127.0.0.1:{free_port()}")

    assert "no Ray answers there; give the host and port of its head" in said
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_where_something_else_answers_one_line_says_so(refusal):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert "no Ray answers there" in refusal(f"127.0.0.1:{mute.getsockname()[1]}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "wants a token, and not the one given; set RAY_AUTH_MODE=token with RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_MODE": "token"}, "RAY_AUTH_MODE=token is set and no token is; set RAY_AUTH_MODE=token with"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 43}, "wants a token, and not the one given; set"),
    ],
    ids=["none", "promised", "wrong"],
)
def test_a_cluster_that_wants_a_token_says_so_in_one_line(guarded, refusal, environment, said):
    told = refusal(guarded, **environment)

    assert told.startswith(f"cluster.address={guarded}") and said in told


@pytest.mark.slow
def test_a_cluster_is_joined_with_its_token(guarded):
    with_token = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}

    subprocess.run([sys.executable, "-c", JOIN, guarded], env=with_token, check=True)


@pytest.mark.slow
def test_a_machine_that_is_no_node_of_the_cluster_is_told_how_to_become_one(unguarded, refusal):
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("only root may hide a machine's processes from one of them")

    said = refusal(unguarded, "unshare", "--pid", "--fork", "--mount-proc")

    assert "this machine is no node of that cluster; `ray start --address=" in said and "`ray job submit`" in said


@pytest.mark.slow
@pytest.mark.parametrize(("ray_version", "python_version"), [("2.59.0", sys.version.split()[0]), ("2.60.0", "3.10.4")])
def test_another_ray_or_python_is_named_in_one_line_with_both_versions(unguarded, refusal, ray_version, python_version):
    subprocess.run([sys.executable, "-c", PRETEND, unguarded, ray_version, python_version], check=True)

    theirs, ours = minor(python_version), minor(sys.version.split()[0])
    assert f"runs Ray {ray_version} on Python {theirs}, this command Ray 2.60.0 on Python {ours}; " in refusal(
        unguarded
    )
