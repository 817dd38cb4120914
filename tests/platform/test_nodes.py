"""What is asked of the nodes of a cluster before work begins there."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from tests.rays import head, ray_start
from unlatent.platform import runs
from unlatent.platform.nodes import misfits
from unlatent.platform.provenance import code_version
from unlatent.platform.shipping import write_wheel

OURS = {
    "python": "3.11.7",
    "ray": "2.60.0",
    "torch": "2.13.0+cpu",
    "pyarrow": "26.0.1",
    "numpy": "2.4.6",
    "rich": "15.0",
}
WANTED = [Requirement("torch==2.13.0"), Requirement("pyarrow>=17"), Requirement("rich>=13")]


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"torch": "2.12.1+cu130"}, "torch 2.12.1+cu130 there, 2.13.0+cpu here; torch==2.13.0 there would do"),
        ({"pyarrow": "25.0.0"}, "pyarrow 25.0.0 there, 26.0.1 here; pyarrow==26.* there would do"),
        ({"numpy": "1.26.4"}, "numpy 1.26.4 there, 2.4.6 here; numpy==2.* there would do"),
        ({"python": "3.12.7"}, "python 3.12.7 there, 3.11.7 here; python==3.11.* there would do"),
        ({"rich": "12.1"}, "rich 12.1 there, 15.0 here; rich>=13 there would do"),
        ({"rich": None}, "no rich there, 15.0 here; install rich>=13 there"),
        ({"torch": None}, "no torch there, 2.13.0+cpu here; install torch==2.13.0 there"),
    ],
)
def test_a_package_that_does_not_fit_is_named_with_both_versions_and_what_would_do(theirs, said):
    assert misfits(OURS, OURS | theirs, WANTED) == [said]


@pytest.mark.parametrize(
    "theirs",
    [{"torch": "2.13.0+cu130"}, {"pyarrow": "26.4.0"}, {"numpy": "2.1.0"}, {"python": "3.11.2"}, {"rich": "13.1"}],
)
def test_builds_for_another_device_and_later_fixes_may_differ(theirs):
    assert misfits(OURS, OURS | theirs, WANTED) == []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster of one node."""
    with head(tmp_path_factory.mktemp("head"), "--include-dashboard=false") as address:
        yield address


@pytest.fixture
def train(tmp_path, smallest, store):
    """Trains on a cluster as the command would, from an empty folder. The ended process."""

    def run(address: str, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
        place = [f"store={store.root}", f"cluster.address={address}", "cluster.cpus_per_worker=1", "train.run=one"]
        command = [sys.executable, "-m", "unlatent.pipelines", "train", *smallest, *place, *overrides]
        surroundings = os.environ | {"RAY_AUTH_MODE": "disabled"} | environment
        return subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True)

    return run


def second_node(folder: Path, address: str, python: str = sys.executable):
    return ray_start(folder / "second.log", f"--address={address}", "--num-cpus=1", python=python)


@pytest.fixture
def poor_python(tmp_path) -> str:
    """The Python of an environment with another PyTorch, in name, and without Hydra."""
    venv.create(tmp_path / "poor", symlinks=True)
    [packages] = (tmp_path / "poor").glob("lib/python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("hydra", "torch-", "__editable__", "_distutils", "distutils")):
            (packages / entry.name).symlink_to(entry)
    other = packages / "torch-2.12.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.12.1\n")
    return str(tmp_path / "poor" / "bin" / "python")


@pytest.mark.slow
def test_a_node_with_other_packages_is_refused_in_one_line_before_anything_starts(
    cluster, train, store, tmp_path, poor_python
):
    with second_node(tmp_path, cluster, poor_python):
        refused = train(cluster)

    [said] = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert refused.returncode == 2
    assert "torch 2.12.1 there, 2.13.0+cpu here; torch==2.13.0 there would do" in said
    assert "no hydra-core there, " in said and "install hydra-core>=1.3.2 there" in said
    assert not store.exists("results/runs")


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A copy of the package in another folder, with one line more: as a laptop's checkout with a change."""
    shutil.unpack_archive(write_wheel(tmp_path / "wheel"), tmp_path / "laptop", "zip")
    with (tmp_path / "laptop" / "unlatent" / "models" / "flow.py").open("a") as file:
        file.write("\n# tried on the laptop\n")
    return tmp_path / "laptop"


@pytest.mark.slow
def test_workers_run_the_code_of_the_command_and_not_what_is_installed_on_their_node(
    cluster, train, store, tmp_path, elsewhere
):
    done = train(cluster, PYTHONPATH=str(elsewhere))

    assert done.returncode == 0, done.stderr
    row = runs.find(store, "one")
    assert row["status"] == "succeeded" and row["code_version"] != code_version()
    code = "from unlatent.platform.provenance import code_version; print(code_version())"
    asked = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == row["code_version"]


@pytest.mark.slow
def test_a_local_store_that_a_node_does_not_see_is_refused_before_anything_starts(cluster, train, store, tmp_path):
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("only root may give a process a disk of its own")
    hidden = tmp_path / "store"
    hidden.mkdir()
    python = tmp_path / "python"  # of a node on whose disk that folder is another one
    own_disk = f'mount -t tmpfs tmpfs {hidden} && exec {sys.executable} "$@"'
    python.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{own_disk}' sh \"$@\"\n")
    python.chmod(0o755)

    with second_node(tmp_path, cluster, str(python)):
        refused = train(cluster)

    [said] = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert refused.returncode == 2
    assert f"store={store.root} is another folder there; give one that every node mounts, or an object store" in said
    assert list(hidden.iterdir()) == []


@pytest.fixture
def key(server):
    """The only key that the S3 server takes, as environment variables. The nodes of the cluster do not have it."""
    import boto3

    iam = boto3.client("iam", endpoint_url=f"http://{server}", region_name="us-east-1")
    iam.create_user(UserName="someone")
    policy = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    iam.put_user_policy(UserName="someone", PolicyName="all", PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName="someone")["AccessKey"]
    httpx.post(f"http://{server}/moto-api/reset-auth", content="0").raise_for_status()
    yield {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
    httpx.post(f"http://{server}/moto-api/reset-auth", content="Infinity").raise_for_status()  # of all in this process


@pytest.mark.slow
def test_an_object_store_that_a_node_may_not_read_is_refused(cluster, train, server, key):
    refused = train(cluster, f"store=s3://bucket/one?endpoint_override={server}&scheme=http", **key)

    [said] = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert refused.returncode == 2
    assert "can't be read there: store=s3://bucket/one" in said
