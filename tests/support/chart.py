"""The Helm chart under test: where it is, what it renders to, and rules that no schema knows."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cases import REPOSITORY

CHART = REPOSITORY / "helm" / "tapedeck"
GOLDEN = REPOSITORY / "tests" / "data" / "chart"
CASES = ("default", "own")
KUBERNETES = "1.34"
CUSTOM = ("kafka.strimzi.io/v1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1")
TOOLS = Path.home() / ".cache" / "tapedeck-tools"
"""Where `make chart-test` puts helm."""
Found = dict[str, Any]


@cache
def helm() -> str | None:
    """The helm to use: TAPE_HELM, the PATH's, or the one of `make chart-test`."""
    own = TOOLS / "helm"
    return os.environ.get("TAPE_HELM") or shutil.which("helm") or (str(own) if own.exists() else None)


needs_helm = pytest.mark.skipif(helm() is None, reason="there is no helm: `make chart-test` installs it")


def template(*arguments: str, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    """``helm template`` of the chart, as release tapedeck in the namespace tape."""
    words = [str(helm()), "template", "tapedeck", str(chart), "--namespace", "tape"]
    return subprocess.run(
        [*words, "--kube-version", f"{KUBERNETES}.0", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def options_of(case: str) -> list[str]:
    """The options of one golden case."""
    values = GOLDEN / f"{case}.values.yaml"
    return ["--values", str(values)] if values.exists() else []


@cache
def golden_text(case: str) -> str:
    return (GOLDEN / f"{case}.yaml").read_text()


def golden(case: str) -> list[Found]:
    """The objects of a golden manifest, fresh ones for each caller."""
    return json.loads(_golden_json(case))


@cache
def _golden_json(case: str) -> str:
    return json.dumps(parsed(golden_text(case)))


def parsed(text: str) -> list[Found]:
    """The objects of rendered text."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [each for each in yaml.load_all(text, Loader=loader) if each]


def merged(common: Found, *more: Found) -> Found:
    """Values with changes, as helm merges them."""
    result = dict(common)
    for each in more:
        for name, value in each.items():
            both = isinstance(value, dict) and isinstance(result.get(name), dict)
            result[name] = merged(result[name], value) if both else value
    return result


def of_kind(objects: list[Found], *kinds: str) -> list[Found]:
    return [each for each in objects if each["kind"] in kinds]


def named(objects: list[Found], kind: str, name: str) -> Found:
    (found,) = (each for each in of_kind(objects, kind) if each["metadata"]["name"] == name)
    return found


def pods(objects: list[Found]) -> Iterator[tuple[str, Found]]:
    """(kind/name of the workload, spec of its pod)."""
    for each in of_kind(objects, "StatefulSet", "Deployment", "Job"):
        yield f"{each['kind']}/{each['metadata']['name']}", each["spec"]["template"]["spec"]


def containers(pod: Found) -> list[Found]:
    return [*pod.get("initContainers", []), *pod["containers"]]


RESTRICTED = {
    "host namespaces": lambda pod, box: not any(pod.get(f"host{each}") for each in ("Network", "PID", "IPC")),
    "privileged": lambda pod, box: not box["securityContext"].get("privileged", False),
    "host ports": lambda pod, box: not any(port.get("hostPort") for port in box.get("ports", [])),
    "volume types": lambda pod, box: all(
        set(volume) - {"name"} <= {"configMap", "emptyDir", "projected", "secret", "downwardAPI"}
        for volume in pod["volumes"]
    ),
    "privilege escalation": lambda pod, box: box["securityContext"].get("allowPrivilegeEscalation") is False,
    "non-root": lambda pod, box: (
        box["securityContext"].get("runAsNonRoot") is True and pod["securityContext"].get("runAsUser", 0) > 0
    ),
    "seccomp": lambda pod, box: box["securityContext"].get("seccompProfile") == {"type": "RuntimeDefault"},
    "capabilities": lambda pod, box: box["securityContext"].get("capabilities") == {"drop": ["ALL"]},
}
"""The pod security standard "restricted", rule by rule: a function of pod and container."""


def unrestricted(objects: list[Found]) -> list[str]:
    """Each rule of RESTRICTED that a container breaks."""
    return [
        f"{workload}/{box['name']}: {rule}"
        for workload, pod in pods(objects)
        for box in containers(pod)
        for rule, holds in RESTRICTED.items()
        if not holds(pod, box)
    ]


def careless(objects: list[Found]) -> list[str]:
    """Pods without limits, probes, a read-only root, a tag, or with a token."""
    found = []
    for workload, pod in pods(objects):
        is_job = workload.startswith("Job/")
        if pod.get("automountServiceAccountToken") is not False:
            found.append(f"{workload}: mounts a token")
        for box in containers(pod):
            resources, image = box.get("resources", {}), box["image"]
            lacks = {
                "no requests": {"cpu", "memory"} - set(resources.get("requests", {})),
                "no memory limit": {"memory"} - set(resources.get("limits", {})),
                "no probe": set()
                if is_job
                else {"startupProbe", "readinessProbe", "livenessProbe"} - set(box),
                "a writable root": not box["securityContext"].get("readOnlyRootFilesystem"),
                "no fixed image": image.endswith(":latest") or not ("@sha256:" in image or ":" in image),
            }
            found += [f"{workload}/{box['name']}: {what}" for what, is_so in lacks.items() if is_so]
    return found


def secrets_of(objects: list[Found]) -> set[str]:
    """The names of secrets that pods read."""
    found = set()
    for _, pod in pods(objects):
        for volume in pod["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                found |= {source["secret"]["name"]} if "secret" in source else set()
        for box in containers(pod):
            refs = (each.get("valueFrom", {}).get("secretKeyRef") for each in box["env"])
            found |= {each["name"] for each in refs if each}
    return found


def open_objects(schema: Any, path: str = "") -> list[str]:
    """The places of a JSON schema that accept unknown keys; a pattern closes a map of text to text."""
    if isinstance(schema, list):
        return [each for item in schema for each in open_objects(item, path)]
    if not isinstance(schema, dict):
        return []
    found = []
    if schema.get("type") == "object":
        more = schema.get("additionalProperties", True)
        is_map = isinstance(more, dict) and more.get("type") == "string" and "propertyNames" in schema
        found += [] if more is False or is_map else [path or "/"]
    return found + [each for name, value in schema.items() for each in open_objects(value, f"{path}/{name}")]
