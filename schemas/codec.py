"""Avro on the wire: ``0x00`` + 4-byte schema id + schemaless body.

Times stay UTC microseconds and dates stay days since the epoch (plain ``int``); decimals become
``decimal.Decimal`` with scale 6. NaN and infinity are refused on both sides.
"""

import io
import json
import math
import struct
from functools import cache
from importlib import resources
from typing import Any, cast

import fastavro
from fastavro.types import Schema

from schemas.errors import DeadLetter, Fatal
from schemas.ids import current_id, schema_of

MAGIC = 0
PREFIX = struct.Struct(">bI")
_INTEGER_TIMES = {"timestamp-micros", "date"}

Body = dict[str, Any]


@cache
def load_schema(name: str) -> dict[str, Any]:
    """The ``.avsc`` document of one record, as written."""
    path = resources.files("schemas") / "avsc" / f"{name}.avsc"
    if not path.is_file():
        raise Fatal("no schema file for this record", value=name, remedy=f"add schemas/avsc/{name}.avsc")
    return cast(dict[str, Any], json.loads(path.read_text()))


def _without_times(node: Any) -> Any:
    """The same schema with times and dates as raw integers; decimals keep their type."""
    if isinstance(node, list):
        return [_without_times(item) for item in node]
    if isinstance(node, dict):
        if node.get("logicalType") in _INTEGER_TIMES:
            return node["type"]
        return {
            k: _without_times(v) if k in ("type", "items", "values", "fields") else v for k, v in node.items()
        }
    return node


@cache
def parsed(name: str) -> Schema:
    """The parsed schema of one record, with times as raw integers."""
    return fastavro.parse_schema(_without_times(load_schema(name)))


@cache
def _parsed_id(schema_id: int) -> tuple[str, Schema]:
    name, document = schema_of(schema_id)
    return name, fastavro.parse_schema(_without_times(document))


def encode_body(name: str, body: Body) -> bytes:
    """The Avro bytes of ``body`` without prefix. These are what digests are taken over.

    Raises DeadLetter where the body does not fit the schema or holds NaN or infinity.
    """
    _refuse_not_finite(name, body)
    out = io.BytesIO()
    try:
        fastavro.schemaless_writer(out, parsed(name), body)
    except Exception as error:
        raise DeadLetter(
            f"the record does not fit schema {name}: {error}", value=body, reason="NOT_ENCODABLE"
        ) from error
    return out.getvalue()


def encode(name: str, body: Body) -> bytes:
    """The wire bytes of ``body``: prefix and Avro body."""
    return PREFIX.pack(MAGIC, current_id(name)) + encode_body(name, body)


def decode(name: str, data: bytes | None) -> Body:
    """The body behind wire bytes, resolved to the current schema of ``name``.

    Raises DeadLetter with reason BAD_PREFIX, UNKNOWN_SCHEMA, WRONG_SCHEMA, MALFORMED or NOT_FINITE.
    """
    if data is None or len(data) < PREFIX.size or data[0] != MAGIC:
        raise DeadLetter("the value has no Confluent prefix", value=(data or b"")[:16], reason="BAD_PREFIX")
    _, schema_id = PREFIX.unpack_from(data)
    try:
        writer_name, writer = _parsed_id(schema_id)
    except KeyError:
        raise DeadLetter(
            "the schema id is not in the id log",
            value=schema_id,
            remedy="add the writer's schema to schemas/ids.jsonl or check who writes this topic",
            reason="UNKNOWN_SCHEMA",
        ) from None
    if writer_name != name:
        raise DeadLetter(
            f"the record is a {writer_name}, this topic holds {name}", value=schema_id, reason="WRONG_SCHEMA"
        )
    stream = io.BytesIO(data)
    stream.seek(PREFIX.size)
    try:
        reader = None if schema_id == current_id(name) else parsed(name)
        body = fastavro.schemaless_reader(
            stream, writer, reader, return_record_name=True, return_record_name_override=True
        )
    except Exception as error:
        raise DeadLetter(
            f"the {name} record cannot be decoded: {error!r}", value=data[:64], reason="MALFORMED"
        ) from error
    if stream.tell() != len(data):
        raise DeadLetter(f"bytes are left after the {name} record", value=data[:64], reason="MALFORMED")
    result = cast(Body, body)
    _refuse_not_finite(name, result)
    return result


def _refuse_not_finite(name: str, body: Body) -> None:
    for field, value in body.items():
        if type(value) is float and not math.isfinite(value):
            raise DeadLetter(
                f"{name}.{field} is not a finite number",
                value=value,
                remedy="unknown is null",
                reason="NOT_FINITE",
            )
