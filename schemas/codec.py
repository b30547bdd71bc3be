"""Avro on the wire: ``0x00`` + 4-byte schema id + schemaless body.

Times stay UTC microseconds and dates stay days since the epoch (plain ``int``); decimals become
``decimal.Decimal`` with scale 6 and are never rounded. A value of a union of records is a tuple
``("tapedeck.RecordName", {...})`` on both sides. NaN and infinity are refused on both sides, at any depth.
"""

import io
import json
import struct
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple, cast

import fastavro
from fastavro.types import Schema

from tapedeck.schemas.errors import DeadLetter, Fatal, NewerSchema
from tapedeck.schemas.guard import Guard, compile_guard, explain, has_record_union
from tapedeck.schemas.ids import (
    REFUSED_WHEN_NEWER,
    REGISTRY_VARIABLE,
    IdMap,
    current_id,
    declared_schema,
    newest_id,
    schema_of,
)

MAGIC = 0
PREFIX = struct.Struct(">bI")
_INTEGER_TIMES = {"timestamp-micros", "date"}

_FOREIGN_SHOWN = 3

Body = dict[str, Any]
Foreign = Counter[tuple[str, int]]
"""Counts of records whose id means another schema here than their topic's, by record name and wire id."""

_wire_ids: IdMap | None = None


def use_ids(ids: IdMap | None) -> None:
    """Stamp and read these ids from now on in this process; None goes back to the id log's own.

    Called once at process start, before the first record, where a registry is used.
    """
    global _wire_ids  # noqa: PLW0603 - a process uses one registry, as it has one id log
    _wire_ids = ids


def ids_in_use() -> IdMap | None:
    """The ids last passed to ``use_ids``, for the processes that this one starts."""
    return _wire_ids


_foreign: Foreign = Counter()


def take_foreign() -> Foreign:
    """The records with foreign ids seen by this process since the last call."""
    taken = Counter(_foreign)
    _foreign.clear()
    return taken


def add_foreign(met: Foreign) -> None:
    """Count foreign ids seen by another process as seen by this one."""
    _foreign.update(met)


def foreign_in_words(met: Foreign) -> str:
    """One sentence about records with foreign ids, and what to do; empty if there are none."""
    if not met:
        return ""
    counts: Counter[str] = Counter()
    for (name, _), count in met.items():
        counts[name] += count
    told = ", ".join(f"{count} of {name}" for name, count in sorted(counts.items()))
    ids = "; ".join(_what_is_foreign(name, wire_id) for name, wire_id in sorted(met)[:_FOREIGN_SHOWN])
    return f"records that cannot be read here: {told}. {ids}. {_foreign_remedy()}"


def _what_is_foreign(name: str, wire_id: int) -> str:
    written = f"a {name} record was written with schema id {wire_id}"
    known = wire_id if _wire_ids is None else _wire_ids.to_log.get(wire_id)
    whose = "the id log" if _wire_ids is None else "the registry's part of the id log"
    try:
        return f"{written}, which {whose} knows as {schema_of(cast(int, known))[0]}"
    except KeyError:
        return f"{written}, which {whose} does not know"


def _foreign_remedy() -> str:
    if _wire_ids is None:
        return (
            f"Was it written with a registry's ids? Set {REGISTRY_VARIABLE}. Else a newer release wrote it:"
            " upgrade, or see who writes this topic"
        )
    return (
        f"Was it written without the registry, or with another's? Set {REGISTRY_VARIABLE} as its writer had"
        " it. Else a newer release wrote it: upgrade"
    )


@cache
def load_schema(name: str) -> dict[str, Any]:
    """The schema document of one record, as written: its ``.avsc``, or what its package declared."""
    path = resources.files("tapedeck.schemas") / "avsc" / f"{name}.avsc"
    if (own := declared_schema(name)) is not None:
        return own
    if not path.is_file():
        raise Fatal("no schema file for this record", value=name, remedy=f"add schemas/avsc/{name}.avsc")
    return cast(dict[str, Any], json.loads(path.read_text()))


def without_times(node: Any) -> Any:
    """The same schema with times and dates as raw integers; decimals keep their type."""
    if isinstance(node, list):
        return [without_times(item) for item in node]
    if isinstance(node, dict):
        if node.get("logicalType") in _INTEGER_TIMES:
            return node["type"]
        inner = ("type", "items", "values", "fields")
        return {k: without_times(v) if k in inner else v for k, v in node.items()}
    return node


class _Shape(NamedTuple):
    """One schema, prepared for fastavro, for the guard, and for explaining a fault."""

    schema: Schema
    suspect_input: Guard
    suspect_output: Guard
    named: bool


def _all_clear(body: Any) -> bool:
    return False


def _shape(document: dict[str, Any]) -> _Shape:
    raw = without_times(document)
    parsed = fastavro.parse_schema(raw)
    return _Shape(
        parsed,
        compile_guard(parsed, writing=True) or _all_clear,
        compile_guard(parsed, writing=False) or _all_clear,
        has_record_union(raw),
    )


@cache
def _current(name: str) -> _Shape:
    return _shape(load_schema(name))


def encode_body(name: str, body: Body) -> bytes:
    """The Avro bytes of ``body`` without prefix. These are what digests are taken over.

    Raises DeadLetter (NOT_ENCODABLE or NOT_FINITE) naming the field that does not fit the schema.
    """
    return _write(name, body, b"")


def encode(name: str, body: Body, ids: IdMap | None = None) -> bytes:
    """The wire bytes of ``body``: prefix and Avro body. Raises DeadLetter as ``encode_body`` does."""
    return _write(name, body, prefix_of(name, ids))


def prefix_of(name: str, ids: IdMap | None = None) -> bytes:
    """The five bytes before the body of a record of the current schema."""
    chosen = ids or _wire_ids
    wire_id = chosen.to_wire[name] if chosen else current_id(name)
    return PREFIX.pack(MAGIC, wire_id)


def with_log_id(value: bytes | None) -> bytes | None:
    """``value`` with the id log's id in its prefix instead of a registry's: the form for files."""
    return _renamed(value, _wire_ids.to_log) if _wire_ids else value


def with_wire_id(value: bytes | None) -> bytes | None:
    """The reverse: ``value`` from a file, with the id that this process reads."""
    return _renamed(value, {log: wire for wire, log in _wire_ids.to_log.items()}) if _wire_ids else value


def _renamed(value: bytes | None, ids: Mapping[int, int]) -> bytes | None:
    if value is None or len(value) < PREFIX.size or value[0] != MAGIC:
        return value
    known = int.from_bytes(value[1 : PREFIX.size])
    return PREFIX.pack(MAGIC, ids[known]) + value[PREFIX.size :] if known in ids else value


def _write(name: str, body: Body, prefix: bytes) -> bytes:
    shape = _current(name)
    out = io.BytesIO()
    out.write(prefix)
    try:
        suspect = shape.suspect_input(body)
    except (KeyError, TypeError, AttributeError):
        suspect = True
    try:
        fastavro.schemaless_writer(out, shape.schema, body, strict_allow_default=True)
    except Exception as error:
        raise _not_encodable(name, shape, body, error) from error
    if suspect:
        # The guard is only a hint (its sum may overflow, a field may have its default): the walk decides.
        _refuse_fault(name, shape, body)
    return out.getvalue()


def _not_encodable(name: str, shape: _Shape, body: Body, error: Exception) -> DeadLetter:
    try:
        _refuse_fault(name, shape, body)
    except DeadLetter as named:
        return named
    what = f"the record does not fit schema {name}: {error}"
    return DeadLetter(what, value=body, reason="NOT_ENCODABLE")


def _refuse_fault(name: str, shape: _Shape, body: Any) -> None:
    fault = explain(shape.schema, body, name)
    if fault is not None:
        raise DeadLetter(f"{fault.path} {fault.what}", value=fault.value, reason=fault.reason)


def decode(name: str, data: bytes | None, ids: IdMap | None = None) -> Body:
    """The body behind wire bytes, resolved to the current schema of ``name``.

    Raises DeadLetter with reason BAD_PREFIX, UNKNOWN_SCHEMA, WRONG_SCHEMA, MALFORMED or NOT_FINITE, and
    NewerSchema if an account's record has an id that only a newer release knows.
    """
    if data is None or len(data) < PREFIX.size or data[0] != MAGIC:
        raise DeadLetter("the value has no Confluent prefix", value=(data or b"")[:16], reason="BAD_PREFIX")
    wire_id = int.from_bytes(data[1:5])
    chosen = ids or _wire_ids
    try:
        writer, reader, result = _route(name, wire_id if chosen is None else chosen.to_log[wire_id])
    except (KeyError, _WrongSchema) as error:
        if isinstance(error, KeyError) and _is_newer(name, wire_id, chosen):
            raise _newer(name, wire_id) from None
        _foreign[name, wire_id] += 1
        reason = "UNKNOWN_SCHEMA" if isinstance(error, KeyError) else "WRONG_SCHEMA"
        raise DeadLetter(
            _what_is_foreign(name, wire_id), value=wire_id, remedy=_foreign_remedy(), reason=reason
        ) from None
    stream = io.BytesIO(data)
    stream.seek(PREFIX.size)
    try:
        body = fastavro.schemaless_reader(
            stream,
            writer.schema,
            reader,
            return_record_name=writer.named,
            return_record_name_override=writer.named,
        )
        suspect = result.suspect_output(body)
    except Exception as error:
        what = f"the {name} record cannot be decoded: {error!r}"
        raise DeadLetter(what, value=data[:64], reason="MALFORMED") from error
    if stream.tell() != len(data):
        raise DeadLetter(f"bytes are left after the {name} record", value=data[:64], reason="MALFORMED")
    if suspect:
        _refuse_fault(name, result, body)
    return cast(Body, body)


def _is_newer(name: str, wire_id: int, ids: IdMap | None) -> bool:
    """True for ids beyond the log's, of records that must not be skipped. A registry's ids have no order."""
    return name in REFUSED_WHEN_NEWER and (ids is not None or wire_id > newest_id())


def _newer(name: str, wire_id: int) -> NewerSchema:
    known = (
        "the registry knew when this process started" if _wire_ids else f"this release knows: {newest_id()}"
    )
    return NewerSchema(
        f"topic {name} holds a record with a schema id beyond the newest that {known}",
        value=wire_id,
        remedy="upgrade this process to the release that wrote it (readers first, then writers): it then"
        " continues from here, and nothing is lost",
    )


class _WrongSchema(Exception):
    """The id belongs to another record."""


@cache
def _route(name: str, log_id: int) -> tuple[_Shape, Schema | None, _Shape]:
    """The writer's schema, the reader's (None if it is the same), and the shape of the result.

    Raises KeyError for an id that is not in the log, _WrongSchema for one of another record.
    """
    writer_name, document = schema_of(log_id)
    if writer_name != name:
        raise _WrongSchema(writer_name)
    current = _current(name)
    if log_id == current_id(name):
        return current, None, current
    return _shape(document), current.schema, current
