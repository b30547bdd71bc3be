"""What is wrong with an AsyncAPI 3 document: a check of our own, which needs no other tool."""

from collections.abc import Iterator
from typing import Any

_ROOT = {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"}
_NEEDED = {
    "channels": {"address", "messages"},
    "operations": {"action", "channel"},
    "servers": {"host", "protocol"},
}
_BINDINGS = {
    "servers": {"schemaRegistryUrl", "schemaRegistryVendor", "bindingVersion"},
    "channels": {"topic", "partitions", "replicas", "topicConfiguration", "bindingVersion"},
    "operations": {"groupId", "clientId", "bindingVersion"},
    "messages": {
        "key", "schemaIdLocation", "schemaIdPayloadEncoding", "schemaLookupStrategy", "bindingVersion",
    },
}  # fmt: skip
"""What the Kafka bindings 0.5.0 allow at each level."""
_SETTINGS = {"cleanup.policy", "retention.ms", "retention.bytes", "delete.retention.ms", "max.message.bytes"}


def faults(document: Any) -> list[str]:
    """Every fault, in words; empty for a sound document. A document without channels is a fault."""
    return list(_faults(document))


def _faults(document: Any) -> Iterator[str]:
    yield from (f"unknown or missing key {key}" for key in sorted(_ROOT ^ document.keys()))
    for where, target in _refs(document, "#"):
        if _resolved(document, target) is None:
            yield f"{where}: {target} leads nowhere"
    for kind, needed in _NEEDED.items():
        found = document.get(kind, {})
        if not found:
            yield f"no {kind}"
        for name, each in found.items():
            yield from (f"{kind}/{name}: no {key}" for key in sorted(needed - each.keys()))
            yield from _binding_faults(document, kind, name, each)
    for name, each in document.get("components", {}).get("messages", {}).items():
        yield from (f"messages/{name}: no {key}" for key in ("payload", "headers") if key not in each)
        yield from _binding_faults(document, "messages", name, each)
    yield from _links(document)


def _links(document: Any) -> Iterator[str]:
    addresses: dict[str, str] = {}
    for name, channel in document.get("channels", {}).items():
        if not channel.get("messages"):
            yield f"channels/{name}: no message"
        if (other := addresses.setdefault(channel.get("address"), name)) != name:
            yield f"channels/{name}: the address of {other}"
    for name, operation in document.get("operations", {}).items():
        if operation.get("action") not in ("send", "receive"):
            yield f"operations/{name}: action {operation.get('action')}"
        channel = operation.get("channel", {}).get("$ref", "")
        if not channel.startswith("#/channels/"):
            yield f"operations/{name}: names no channel"
        for message in operation.get("messages", ()):
            if not message["$ref"].startswith(f"{channel}/messages/"):
                yield f"operations/{name}: {message['$ref']} is no message of its channel"


def _binding_faults(document: Any, kind: str, name: str, each: Any) -> Iterator[str]:
    binding = each.get("bindings", {}).get("kafka")
    if binding is None:
        if kind in ("channels", "messages"):
            yield f"{kind}/{name}: no Kafka binding"
        return
    yield from (
        f"{kind}/{name}: the binding knows no {key}" for key in sorted(binding.keys() - _BINDINGS[kind])
    )
    if binding.get("bindingVersion") != "0.5.0":
        yield f"{kind}/{name}: binding version {binding.get('bindingVersion')}"
    for count in ("partitions", "replicas"):
        if kind == "channels" and not (isinstance(binding.get(count), int) and binding[count] > 0):
            yield f"{kind}/{name}: {count} {binding.get(count)}"
    settings = binding.get("topicConfiguration", {})
    yield from (f"{kind}/{name}: the binding has no {key}" for key in sorted(settings.keys() - _SETTINGS))
    if "schemaRegistryVendor" in binding and "schemaRegistryUrl" not in binding:
        yield f"{kind}/{name}: a vendor without an address"


def _refs(node: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield where, node["$ref"]
        for key, value in node.items():
            yield from _refs(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _refs(value, f"{where}/{index}")


def _resolved(document: Any, target: str) -> Any:
    if not target.startswith("#/"):
        return None
    node = document
    for step in target.removeprefix("#/").split("/"):
        node = node.get(step) if isinstance(node, dict) else None
    return node
