"""Holds the manifests to KubeRay's own definitions, which no package brings: they are read from a folder or an address.

python deploy/validate.py                         # of the release that the manifests are written for, over the network
python deploy/validate.py ~/kuberay/ray-operator/config/crd/bases
"""

import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

HERE = Path(__file__).parent
RELEASE = "https://raw.githubusercontent.com/ray-project/kuberay/v1.7.0/ray-operator/config/crd/bases"


def rendered(folder: Path) -> list[dict[str, Any]]:
    """The objects that `kubectl apply -k` would send."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {folder}: {done.stderr.strip()}")
    return list(yaml.safe_load_all(done.stdout))


def definition(where: str, kind: str, version: str) -> dict[str, Any]:
    """The schema of a kind of KubeRay's."""
    name = f"{where.rstrip('/')}/ray.io_{kind.lower()}s.yaml"
    text = urllib.request.urlopen(name, timeout=30).read() if "://" in where else Path(name).read_bytes()
    [found] = [each for each in yaml.safe_load(text)["spec"]["versions"] if each["name"] == version]
    return strict(found["schema"]["openAPIV3Schema"], top=True)


def strict(schema: dict[str, Any], top: bool = False) -> dict[str, Any]:
    """As an API server with strict validation reads it: an unknown field is an error, a quantity may be a number."""
    schema = dict(schema)
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        schema["properties"] = {name: strict(each) for name, each in schema["properties"].items()}
        if top:
            schema["properties"]["metadata"] = {"type": "object"}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            schema[inner] = strict(schema[inner])
    return schema


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else RELEASE
    problems = []
    for folder in ("kuberay", "kuberay-gpu"):
        for manifest in rendered(HERE / folder):
            group, _, version = manifest["apiVersion"].partition("/")
            if group != "ray.io":
                continue  # the tests have Kubernetes' own kinds
            checked = Draft202012Validator(definition(where, manifest["kind"], version)).iter_errors(manifest)
            name = f"{folder}: {manifest['kind']} {manifest['metadata']['name']}"
            found = [f"{name}: {'.'.join(map(str, error.path))}: {error.message}" for error in checked]
            print(f"{name}: {'fits' if not found else 'does not fit'} {version}")
            problems += found
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
