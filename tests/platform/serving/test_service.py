"""The endpoint on a Ray Serve that is run from a config file: the one in the manifest for KubeRay."""

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
import yaml

from tests.rays import free_port, head
from unlatent.platform import checkpoints, tables
from unlatent.platform.serving.config import ServeConfig
from unlatent.platform.serving.service import TOKEN, ServiceArgs, build_app
from unlatent.platform.store import Store

MANIFEST = Path(__file__).parents[3] / "deploy" / "kuberay" / "rayservice.yaml"
CHECKPOINT = "checkpoints/digits/000000001024"
SECRET = "only-for-clients"


@pytest.fixture
def store(tmp_path, model) -> Store:
    weights = model.network.state_dict()
    config = yaml.safe_dump({"model": asdict(model.network.config), "sampler": asdict(model.sampler)})
    store = Store(tmp_path / "store")
    checkpoints.save(store, "digits", 1024, {"raw": weights, "ema": weights}, {}, config, model.classes)
    return store


def test_an_endpoint_without_a_token_is_refused_unless_it_is_meant_to_be_open(store, monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    args = ServiceArgs(store=store.root, serve=ServeConfig(checkpoint=CHECKPOINT))

    with pytest.raises(ValueError, match=rf"^{TOKEN} is not set: anyone could use the endpoint; set it, or args\."):
        build_app(args)
    assert build_app(args.model_copy(update={"open_to_all": True}))


def test_a_token_in_the_config_file_is_refused(store):
    with pytest.raises(ValueError, match=rf"^args\.serve\.token: .*; set {TOKEN} in the environment$"):
        build_app(ServiceArgs(store=store.root, serve=ServeConfig(checkpoint=CHECKPOINT, token=SECRET)))


@pytest.mark.slow
def test_the_config_of_the_manifest_serves_images_to_who_has_the_token(store, tmp_path):
    config = yaml.safe_load(yaml.safe_load(MANIFEST.read_text())["spec"]["serveConfigV2"])
    config["http_options"] = {"host": "127.0.0.1", "port": free_port()}
    [application] = config["applications"]
    application["args"] = {"store": store.root, "serve": application["args"]["serve"] | {"checkpoint": CHECKPOINT}}
    application["deployments"][0]["num_replicas"] = 1
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(config))
    dashboard = free_port()

    with head(tmp_path, "--num-cpus=2", f"--dashboard-port={dashboard}", **{TOKEN: SECRET}):
        api = f"http://127.0.0.1:{dashboard}"
        deploy = [str(Path(sys.executable).with_name("serve")), "deploy", str(tmp_path / "serve.yaml"), "-a", api]
        subprocess.run(deploy, check=True, env={"RAY_AUTH_MODE": "disabled"})
        url = f"http://127.0.0.1:{config['http_options']['port']}"
        wait_until_it_runs(f"{api}/api/serve/applications/", f"{url}/ready")
        asked = {"prompt": "3", "seed": 5}
        refused = httpx.post(f"{url}/v1/images/generations", json=asked)
        headers = {"Authorization": f"Bearer {SECRET}"}
        answer = httpx.post(f"{url}/v1/images/generations", json=asked, headers=headers, timeout=60)

    assert refused.status_code == 401
    assert answer.status_code == 200 and len(answer.json()["data"]) == 1
    [row] = tables.read(store, "deployments").to_dict("records")
    assert (row["status"], row["checkpoint"]) == ("handed_over", CHECKPOINT)


def wait_until_it_runs(applications: str, ready: str, timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        [state] = httpx.get(applications, timeout=30).json()["applications"].values()
        assert state["status"] != "DEPLOY_FAILED", state["message"]
        if state["status"] == "RUNNING" and httpx.get(ready, timeout=30).status_code == 200:
            return
        time.sleep(0.5)
    pytest.fail(f"not running after {timeout_s} s: {state['status']} {state['message']}")
