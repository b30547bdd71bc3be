"""The pipeline's topics as an AsyncAPI 3 document with Kafka bindings 0.5.0: what other teams' tools read.

Made of the catalogue, the schemas and a topology, so a package's own topics are in it too. docs/asyncapi.yaml
is this document for the shipped pipeline; ``tape topics --asyncapi`` prints it for the pipeline in use.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.ids import current_id
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY, Layout, Topic
from tapedeck.topics.keeping import COPIES

ASYNCAPI = "3.0.0"
BINDING = "0.5.0"
_AVRO = "application/vnd.apache.avro+json;version=1.9.0"
_WIRE = "avro/binary"
_BYTES = "application/octet-stream"
_CONTENTS = {True: _WIRE, False: _BYTES}
_DEAD_LETTERS = "dead_letters"
_WATERMARK, _OPENING = "watermark", "opening"
_BINDING_SETTINGS = ("cleanup.policy", "retention.ms")
"""Settings of a topic that the binding has a name for; the others are in an extension field."""
_FLOW_WIDTH = 96

Node = dict[str, Any]

_HEADERS: Mapping[str, str] = {
    "ce_specversion": "CloudEvents version",
    "ce_id": "the event_id",
    "ce_type": "tapedeck.TOPIC",
    "ce_source": "the writer",
    "traceparent": "W3C trace context; the trace id is the event_id of the record that started the trace",
    "tape-cause": "topic/partition@offset of the record that caused this one",
    "tape-code-version": "the release of the writer",
    "tape-config-digest": "the configuration of the writer",
    "tape-ingest-time": "when it was produced, UTC microseconds",
}
_ERRORS: Mapping[str, str] = {
    "__connect.errors.topic": "the topic of the record that was refused",
    "__connect.errors.partition": "its partition",
    "__connect.errors.offset": "its offset",
    "__connect.errors.connector.name": "the stage that refused it",
    "__connect.errors.exception.class.name": "the kind of error",
    "__connect.errors.exception.message": "the error in words",
    "tape-error-reason": "the reason, as in docs/records.md",
    "tape-error-key": "the record's own key",
}
_MARKS: Mapping[str, Mapping[str, str]] = {
    _WATERMARK: {"tape-watermark": "the minute that ends, UTC microseconds of its left edge"},
    _OPENING: {
        "tape-opens": "the minute that ended, UTC microseconds of its left edge",
        "tape-absent": "an input that is absent in the next minute; may repeat",
    },
}


def document(topology: Topology, layout: Layout | None = None) -> Node:
    """The document of ``topology`` and of every topic of the catalogue, as ``layout`` makes them.

    Raises Fatal for a topic whose record has no schema.
    """
    layout = layout or Layout(keep="catalogue")
    topics = tuple(CATALOGUE)
    schemas = dict.fromkeys(each.schema for each in topics if each.schema is not None)
    return {
        "asyncapi": ASYNCAPI,
        "info": _info(),
        "defaultContentType": _WIRE,
        "servers": _servers(),
        "channels": {each.name: _channel(each, layout) for each in topics},
        "operations": dict(_operations(topology, topics, layout)),
        "components": {
            "messages": {
                **{each.name: _message(each) for each in topics},
                **{mark: _mark(mark) for mark in _MARKS},
            },
            "schemas": {
                **{name: {"schemaFormat": _AVRO, "schema": load_schema(name)} for name in schemas},
                "headers": _strings(_HEADERS),
                "error_headers": _strings({**_HEADERS, **_ERRORS}),
                **{f"{mark}_headers": _strings(names) for mark, names in _MARKS.items()},
            },
        },
    }


def _info() -> Node:
    return {
        "title": "tapedeck",
        "version": version("tapedeck"),
        "description": "Records of a market-data, signal and order pipeline on Kafka. Times are UTC "
        "microseconds, dates are days since the epoch, money is a decimal of scale 6, null is unknown. "
        "Partitions and retention are the defaults; a cluster's own are printed by tape topics --asyncapi.",
        "license": {"name": "Apache-2.0"},
    }


def _servers() -> Node:
    """Where ids come from the id log, and where they come from a registry."""
    host = {"host": "{bootstrap}", "protocol": "kafka", "variables": {"bootstrap": _BOOTSTRAP}}
    registry = {"schemaRegistryUrl": "http://localhost:8080/apis/ccompat/v7"}
    return {
        "idLog": {
            **host,
            "description": "Schema ids are those of schemas/ids.jsonl.",
            "bindings": {"kafka": {"bindingVersion": BINDING}},
        },
        "registry": {
            **host,
            "description": "SCHEMA_REGISTRY_URL is set: schema ids are the registry's.",
            "bindings": {
                "kafka": {**registry, "schemaRegistryVendor": "apicurio", "bindingVersion": BINDING}
            },
        },
    }


_BOOTSTRAP = {"default": "localhost:9092", "description": "KAFKA_BOOTSTRAP_SERVERS"}


def _channel(topic: Topic, layout: Layout) -> Node:
    config = layout.topic_config(topic.name)
    known = {name: _setting(name, config[name]) for name in _BINDING_SETTINGS}
    return {
        "address": layout.wire_name(topic.name),
        "description": topic.doc,
        "messages": {name: _ref("components", "messages", name) for name in _messages_of(topic)},
        "bindings": {
            "kafka": {
                "topic": layout.wire_name(topic.name),
                "partitions": layout.partitions(topic.name),
                "replicas": layout.replication or COPIES,
                "topicConfiguration": known,
                "bindingVersion": BINDING,
            }
        },
        "x-owner": topic.owner,
        "x-partitioned-by": topic.part or ("state key" if topic.schema is None else "one partition"),
        "x-topic-settings": {name: value for name, value in config.items() if name not in known},
    }


def _setting(name: str, text: str) -> Any:
    return text.split(",") if name == "cleanup.policy" else int(text)


def _messages_of(topic: Topic) -> tuple[str, ...]:
    return (topic.name, *(_MARKS if topic.watermarked else ()))


def _message(topic: Topic) -> Node:
    """A record; raw bytes where the topic has no schema."""
    key: Node = {"type": "string", "description": _key(topic)}
    binding: Node = {"key": key, "bindingVersion": BINDING}
    dead = topic.name == _DEAD_LETTERS
    found: Node = {
        "name": topic.name,
        "title": topic.doc,
        "contentType": _CONTENTS[topic.schema is not None],
        "headers": _ref("components", "schemas", "error_headers" if dead else "headers"),
    }
    if topic.schema is None:
        text = "the refused record's own bytes" if dead else "a framed value; null deletes nothing"
        found["payload"] = {"type": "string", "format": "binary", "description": text}
    else:
        found["payload"] = _ref("components", "schemas", topic.schema)
        found["x-schema-id"] = current_id(topic.schema)
        # The value begins with 0x00 and the id in four bytes, as Confluent's serializers write it.
        binding |= {
            "schemaIdLocation": "payload",
            "schemaIdPayloadEncoding": "confluent",
            "schemaLookupStrategy": "TopicNameStrategy",
        }
    return {**found, "bindings": {"kafka": binding}}


def _key(topic: Topic) -> str:
    if topic.key:
        return "|".join(topic.key)
    if topic.schema is not None:
        return "the topic's name"
    return "the source topic" if topic.name == _DEAD_LETTERS else "the state's key"


def _mark(mark: str) -> Node:
    return {
        "name": mark,
        "title": f"{mark} of one partition: a null value, which other tools skip as a tombstone",
        "contentType": _BYTES,
        "headers": _ref("components", "schemas", f"{mark}_headers"),
        "payload": {"type": "null"},
        "bindings": {
            "kafka": {"key": {"type": "string", "const": WATERMARK_KEY.decode()}, "bindingVersion": BINDING}
        },
    }


def _operations(topology: Topology, topics: tuple[Topic, ...], layout: Layout) -> Iterator[tuple[str, Node]]:
    """Who writes each topic, what each stage and dispatcher reads, and what the sink stores."""
    for each in topics:
        yield _operation(each.owner, "send", each)
    for spec in topology:
        for name in (*spec.inputs, spec.changelog):
            yield _operation(spec.name, "receive", CATALOGUE[name], layout.group(spec.name))
    for name in topology.signal_topics:
        yield _operation("dispatcher", "receive", CATALOGUE[name])
    for each in CATALOGUE.audited:
        yield _operation("sink", "receive", each)


def _operation(who: str, action: str, topic: Topic, group: str = "") -> tuple[str, Node]:
    found: Node = {
        "action": action,
        "channel": _ref("channels", topic.name),
        "summary": f"{who} {'writes' if action == 'send' else 'reads'} {topic.name}",
        "messages": [_ref("channels", topic.name, "messages", name) for name in _messages_of(topic)],
    }
    if group:
        ids = {"type": "string", "enum": [group]}
        found["bindings"] = {"kafka": {"groupId": ids, "bindingVersion": BINDING}}
    verb = "sends" if action == "send" else "receives"
    return f"{who.replace(' ', '_')}.{verb}.{topic.name}", found


def _strings(names: Mapping[str, str]) -> Node:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in names.items()},
    }


def _ref(*path: str) -> Node:
    return {"$ref": "#/" + "/".join(path)}


def as_yaml(node: Any) -> str:
    """``node`` as YAML: what fits on a line in JSON's form, everything else in blocks."""
    return "".join(f"{line}\n" for line in _lines(node))


def _lines(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _entry(f"{_plain_key(key)}:", value, "  ")
    else:
        for value in node:
            yield from _entry("-", value, "  ")


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    flow = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value or len(flow) <= _FLOW_WIDTH - len(head):
        yield f"{head} {flow}"
        return
    yield head
    yield from (indent + line for line in _lines(value))


def _plain_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)
