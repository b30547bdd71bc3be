"""What a compose document must be, each rule with the data loss or the exposure that it prevents."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tapedeck.tape.deployment.processes import Process

Document = dict[str, Any]
Rule = Callable[[Document, Sequence[Process]], Iterator[str]]
_TAG = re.compile(r"[^:@]+:(?!latest)[^:@]*[0-9][^@]*(@sha256:[0-9a-f]{64})?")
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|SALT|_KEY\b")
_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_MOUNTED = re.compile(r"(?:\$\{\w+:\+)?/run/secrets/(\w+)\}?")
_CONDITIONS = ("service_healthy", "service_completed_successfully")
_SINGLE = (
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR",
)  # fmt: skip
_POSTGRES_MOUNT = "/var/lib/postgresql"


def broken(document: Document, found: Sequence[Process]) -> list[str]:
    """Every rule that ``document`` breaks for a deployment of the processes ``found``, in words."""
    return [words for rule in RULES for words in rule(document, found)]


def _no_version(document: Document, found: Sequence[Process]) -> Iterator[str]:
    if "version" in document:
        yield "the key version is obsolete: remove it"


def _images(document: Document, found: Sequence[Process]) -> Iterator[str]:
    for name, service in document["services"].items():
        image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service.get("image", ""))
        if "bitnami" in image:
            yield f"{name}: bitnami's images get no updates: use another"
        elif not _TAG.fullmatch(image):
            yield f"{name}: image {image!r} is not pinned: give it a tag with a version"


def _logs_in_volume(document: Document, found: Sequence[Process]) -> Iterator[str]:
    kafka = document["services"].get("kafka", {})
    folder = kafka.get("environment", {}).get("KAFKA_LOG_DIRS", "")
    if not folder or not any(_holds(volume, folder) for volume in kafka.get("volumes", ())):
        yield f"kafka: KAFKA_LOG_DIRS {folder!r} is in no named volume: topics are lost with the container"


def _postgres_mount(document: Document, found: Sequence[Process]) -> Iterator[str]:
    mounts = [volume.split(":")[1] for volume in document["services"].get("postgres", {}).get("volumes", ())]
    if mounts != [_POSTGRES_MOUNT]:
        yield f"postgres: mounts {mounts}: from 18 on, the volume belongs at {_POSTGRES_MOUNT}"


def _one_node(document: Document, found: Sequence[Process]) -> Iterator[str]:
    environment = document["services"].get("kafka", {}).get("environment", {})
    for name in _SINGLE:
        if environment.get(name) != "1":
            yield f"kafka: {name} must be 1 on a single node"


def _loopback(document: Document, found: Sequence[Process]) -> Iterator[str]:
    for name, service in document["services"].items():
        for port in service.get("ports", ()):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: port {port!r} is open to other machines: begin it with 127.0.0.1:"


def _restart(document: Document, found: Sequence[Process]) -> Iterator[str]:
    ending = {each.service: "on-failure:5" if each.is_job else "no" for each in found if not each.is_long}
    for name, service in document["services"].items():
        wanted = ending.get(name, "unless-stopped")
        if service.get("restart") != wanted:
            yield f"{name}: restart is {service.get('restart')!r}, not {wanted!r}"


def _health(document: Document, found: Sequence[Process]) -> Iterator[str]:
    ending = {each.service for each in found if not each.is_long}
    for name, service in document["services"].items():
        if name not in ending and not service.get("healthcheck", {}).get("test"):
            yield f"{name}: has no health check"


def _secrets(document: Document, found: Sequence[Process]) -> Iterator[str]:
    for name, secret in document.get("secrets", {}).items():
        if set(secret) != {"file"}:
            yield f"secret {name}: comes from {', '.join(secret)}, not from a file"
    for name, service in document["services"].items():
        for variable, value in service.get("environment", {}).items():
            if _IN_URL.search(value) or (_SECRET.search(variable) and not variable.endswith("_FILE")):
                yield f"{name}: {variable} holds a secret: name a file in {variable}_FILE"
            elif (mounted := _MOUNTED.fullmatch(value)) and mounted[1] not in service["secrets"]:
                yield f"{name}: {variable} names the secret {value}, which it is not given"
        for secret in service.get("secrets", ()):
            if secret not in document.get("secrets", {}):
                yield f"{name}: secret {secret} is not declared"


def _every_process(document: Document, found: Sequence[Process]) -> Iterator[str]:
    for process in found:
        service = document["services"].get(process.service)
        if service is None:
            yield f"{process.service}: this process of the deployment is missing"
            continue
        if tuple(service.get("command", ()))[: len(process.args)] != process.args:
            yield f"{process.service}: its command is not tape {' '.join(process.args)}"
        environment = service.get("environment", {})
        for need in process.needs:
            if need.name != "DATA" and not environment.get(need):
                yield f"{process.service}: {need} is not set"
        for secret in process.secrets:
            if f"{secret}_FILE" not in environment:
                yield f"{process.service}: {secret}_FILE is not set"


def _networks(document: Document, found: Sequence[Process]) -> Iterator[str]:
    taken: dict[tuple[str, str], str] = {}
    for process in found:
        service = document["services"].get(process.service, {})
        network = service.get("network_mode", process.service)
        if process.beside_exchange != network.startswith("service:"):
            yield f"{process.service}: only what talks to the exchange shares its network"
        port = service.get("environment", {}).get("TAPE_HEALTH_PORT", "")
        if port and (other := taken.setdefault((network, port), process.service)) != process.service:
            yield f"{process.service}: has the health port {port} of {other} in the same network"


def _least_rights(document: Document, found: Sequence[Process]) -> Iterator[str]:
    for process in found:
        service = document["services"].get(process.service)
        if service is None:
            continue
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
            yield f"{process.service}: its root is writable, or it keeps capabilities"
        if service.get("user", "0").startswith("0"):
            yield f"{process.service}: runs as root"


def _order(document: Document, found: Sequence[Process]) -> Iterator[str]:
    for name, service in document["services"].items():
        for other, told in service.get("depends_on", {}).items():
            if other not in document["services"]:
                yield f"{name}: depends on {other}, which is not there"
            elif told.get("condition") not in _CONDITIONS:
                yield f"{name}: starts before {other} is ready: say condition: {' or '.join(_CONDITIONS)}"
    jobs = [each.service for each in found if each.is_job]
    waited = {other for service in document["services"].values() for other in service.get("depends_on", {})}
    yield from (f"{job}: no process waits for this job" for job in jobs if job not in waited)


def _volumes(document: Document, found: Sequence[Process]) -> Iterator[str]:
    for name, service in document["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if not source.startswith(("/", ".")) and source not in document.get("volumes", {}):
                yield f"{name}: volume {source} is not declared"


def _holds(volume: str, folder: str) -> bool:
    source, target = volume.split(":")[:2]
    return not source.startswith(("/", ".")) and f"{folder}/".startswith(f"{target}/")


RULES: tuple[Rule, ...] = (
    _no_version, _images, _logs_in_volume, _postgres_mount, _one_node, _loopback, _restart, _health,
    _secrets, _every_process, _networks, _least_rights, _order, _volumes,
)  # fmt: skip
