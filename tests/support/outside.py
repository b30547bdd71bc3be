"""An outside consumer: confluent-kafka's Avro deserializer, which knows a registry and nothing else."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.golden import samples_of

_DAY = 20_500
_EPOCH, _EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC), date(1970, 1, 1)


def reader(url: str) -> Callable[[str, bytes], Any]:
    """Decodes a value of a topic with the schema that the registry at ``url`` has for its id."""
    deserializer = AvroDeserializer(SchemaRegistryClient({"url": url}))

    def read(topic: str, value: bytes) -> Any:
        return deserializer(value, SerializationContext(topic, MessageField.VALUE))

    return read


def plain(node: Any) -> Any:
    """A body with times as microseconds and dates as days, and without the names of union branches."""
    match node:
        case dict():
            return {key: plain(value) for key, value in node.items()}
        case list():
            return [plain(value) for value in node]
        case (str(), dict() as record):
            return plain(record)
        case datetime():
            since = node - _EPOCH
            return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        case date():
            return (node - _EPOCH_DAY).days
    return node


def samples(schema: str) -> list[Any]:
    """``samples_of`` a schema with dates that Python's calendar has."""
    return [_with_dates(load_schema(schema), body) for body in samples_of(load_schema(schema))]


def _with_dates(node: Any, body: Any) -> Any:
    if isinstance(node, list):
        if isinstance(body, tuple):
            branch = next(each for each in node if f"tapedeck.{each['name']}" == body[0])
            return (body[0], _with_dates(branch, body[1]))
        return None if body is None else _with_dates(next(each for each in node if each != "null"), body)
    if not isinstance(node, dict):
        return body
    if node["type"] == "record":
        return {each["name"]: _with_dates(each["type"], body[each["name"]]) for each in node["fields"]}
    if node["type"] == "array":
        return [_with_dates(node["items"], each) for each in body]
    return _DAY if node.get("logicalType") == "date" else body
