"""Commands that are sent to a cluster by `ray job submit`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from tests.rays import free_port, head
from unlatent.platform import tables
from unlatent.platform.provenance import code_version
from unlatent.platform.shipping import write_wheel

pytestmark = pytest.mark.slow

RAY = str(Path(sys.executable).with_name("ray"))
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 43}
MANIFEST = Path(__file__).parents[2] / "deploy" / "kuberay" / "raycluster.yaml"


def test_a_sweep_sent_as_a_job_with_its_wheel_runs_to_its_end_with_the_senders_code(store, smallest, tmp_path):
    shutil.unpack_archive(write_wheel(tmp_path / "first"), tmp_path / "laptop", "zip")
    with (tmp_path / "laptop" / "unlatent" / "models" / "flow.py").open("a") as file:
        file.write("\n# tried on the laptop\n")
    here = {"cwd": tmp_path, "env": os.environ | TOKEN | {"PYTHONPATH": str(tmp_path / "laptop")}}
    command = [sys.executable, "-m", "unlatent.pipelines", "wheel"]
    made = subprocess.run(command, **here, capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "rates.yaml").write_text("knobs: {train.learning_rate: [1.0e-2, 1.0e-3]}\nmetric: fid\n")
    ports = {"dashboard-port": free_port(), "dashboard-agent-listen-port": free_port()}
    bin_first = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # its `python` is what an entrypoint's is

    with head(tmp_path, *(f"--{name}={port}" for name, port in ports.items()), **TOKEN, PATH=bin_first):
        probe = yaml.safe_load(MANIFEST.read_text())["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
        health = httpx.get(
            f"http://127.0.0.1:{ports['dashboard-agent-listen-port']}{probe['livenessProbe']['httpGet']['path']}"
        )
        submit = [RAY, "job", "submit", f"--address=http://127.0.0.1:{ports['dashboard-port']}"]
        brought = ["--runtime-env-json", json.dumps({"py_modules": [made]})]
        sweep = ["python", "-m", "unlatent.pipelines", "sweep", str(tmp_path / "rates.yaml"), *smallest]
        place = [f"store={store.root}", "cluster.address=auto", "evaluation.samples=100"]
        sent = subprocess.run([*submit, *brought, "--", *sweep, *place], **here, capture_output=True, text=True)

    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "succeeded" in sent.stdout
    rows = tables.read(store, "runs")
    assert list(rows["status"]) == ["succeeded", "succeeded"]
    [code] = set(rows["code_version"])
    assert f"+{code}-" in made and code != code_version()
    assert health.status_code == 200, "KubeRay would take the node for a dead one"
