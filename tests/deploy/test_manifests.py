"""What runs on Kubernetes, held to Kubernetes' own schemas, to Ray Serve's, and to our configuration.

KubeRay's definitions come in no package: `make manifests` holds its fields to them.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from unlatent.platform.config import compose_config, load_sweep
from unlatent.platform.serving.service import TOKEN, ServiceArgs

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = "1.34"
PLAIN = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy" / "kuberay").glob("[!k]*.yaml"))]


def with_gpus() -> list[dict[str, Any]]:
    if not shutil.which("kubectl"):
        return []
    command = ["kubectl", "kustomize", str(ROOT / "deploy" / "kuberay-gpu")]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


GPU = with_gpus()
EVERY = [*PLAIN, *GPU]


def within(content: Any, key: str) -> Iterator[Any]:
    """Every value of that key, however deep."""
    if isinstance(content, dict):
        yield from [value for name, value in content.items() if name == key]
    for inner in content.values() if isinstance(content, dict) else content if isinstance(content, list) else []:
        yield from within(inner, key)


def commands() -> list[str]:
    """The lines that call us, as a shell would see them."""
    jobs = [manifest["spec"]["entrypoint"] for manifest in EVERY if manifest["kind"] == "RayJob"]
    weekly = [
        args[0].partition(" -- ")[2]
        for manifest in EVERY
        if manifest["kind"] == "CronJob"
        for args in within(manifest, "args")
    ]
    return [re.sub(r"\$\(.*?\)", "2026-W48", line).replace("\\\n", "") for line in jobs + weekly]


def served() -> list[dict[str, Any]]:
    return [yaml.safe_load(each["spec"]["serveConfigV2"]) for each in EVERY if each["kind"] == "RayService"]


def test_every_part_is_there_as_it_is_and_with_gpus():
    kinds = ["CronJob", "RayCluster", "RayJob", "RayService"]

    assert sorted(manifest["kind"] for manifest in PLAIN) == kinds
    if not GPU:
        pytest.skip("kubectl puts the GPU's together")
    assert sorted(manifest["kind"] for manifest in GPU) == kinds


@pytest.mark.parametrize("manifest", [each for each in EVERY if each["kind"] == "CronJob"], ids=str)
def test_kubernetes_takes_the_weekly_job(manifest):
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


PODS = [
    (manifest, template)
    for manifest in EVERY
    for template in within(manifest, "template")
    if manifest["kind"] != "CronJob"
]


@pytest.mark.parametrize(("manifest", "template"), PODS, ids=lambda each: each.get("kind", ""))
def test_kubernetes_takes_the_pods_of_a_ray_cluster(manifest, template):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}

    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize(("manifest", "template"), PODS, ids=lambda each: each.get("kind", ""))
def test_every_pod_says_what_it_needs_is_asked_for_its_health_and_reads_its_secrets_from_outside(manifest, template):
    [container] = template["spec"]["containers"]

    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"] and "livenessProbe" in container
    assert {"secretRef": {"name": "unlatent-store"}} in container["envFrom"]
    assert template["spec"]["securityContext"]["runAsNonRoot"]


def test_every_ray_cluster_wants_a_token_and_has_the_ray_that_is_pinned():
    specs = [{"rayClusterSpec": each["spec"]} if each["kind"] == "RayCluster" else each["spec"] for each in EVERY]
    clusters = [spec.get("rayClusterSpec") or spec.get("rayClusterConfig") for spec in specs]
    pinned = re.search(r"^ray==(.+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)

    for cluster in filter(None, clusters):
        assert cluster["authOptions"] == {"mode": "token"}
        assert pinned and cluster["rayVersion"] == pinned[1]


@pytest.mark.parametrize("line", commands())
def test_a_command_is_one_that_we_take(line):
    program, command, definition, *overrides = shlex.split(line)
    own = [text for text in overrides if not text.startswith("sweep.")]

    assert (program, command) == ("unlatent", "sweep")
    assert load_sweep(definition, overrides).name
    assert compose_config(own).cluster.address == "auto"


@pytest.mark.parametrize("config", served(), ids=str)
def test_ray_serve_takes_the_endpoints_config_and_we_its_arguments(config):
    [application] = ServeDeploySchema.model_validate(config).applications

    module, _, name = application.import_path.partition(":")
    assert (module, name) == ("unlatent.platform.serving.service", "build_app")
    assert ServiceArgs.model_validate(application.args).serve.token is None
    assert [deployment.name for deployment in application.deployments] == ["Endpoint"]


def test_the_endpoints_pods_know_the_token_of_its_clients():
    for manifest in EVERY:
        if manifest["kind"] == "RayService":
            assert all({"secretRef": {"name": "unlatent-endpoint"}} in each for each in within(manifest, "envFrom"))
    assert f"{TOKEN}=" in (ROOT / "docs" / "cluster.md").read_text()


def test_the_dockerfile_passes_hadolint():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert hadolint, "it comes with the dev dependencies"

    checked = subprocess.run([hadolint, str(ROOT / "deploy" / "Dockerfile")], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stdout


def test_the_image_is_built_from_what_the_context_holds_and_runs_without_root():
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    held = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }

    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    }
    assert copied - {"."} <= held and {"models", "platform", "pipelines", "sweeps", "unlatent"} <= held
    assert re.search(r"^USER 1000$", dockerfile, re.MULTILINE)
    assert "ARG PYTHON=3.11" in dockerfile and "for Python 3.11" in (ROOT / "requirements.lock").read_text()
