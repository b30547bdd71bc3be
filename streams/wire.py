"""Turns a shell's effects into log records: value bytes, partition, time and headers."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tapedeck.schemas.codec import PREFIX, encode
from tapedeck.streams.protocol import Message, StageSpec
from tapedeck.streams.shell import Effects, Forward, Produced
from tapedeck.streams.watermarks import headers_for, opening_headers
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout, topic

Headers = list[tuple[str, bytes | None]]
TRACE = "traceparent"
_TRACE_ID = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-")
_EVENT_ID = re.compile(rb"@([0-9a-f]{32})")
"""How a body begins whose first field is an event_id: Avro's length of 32 characters, then the id."""


class Wire(NamedTuple):
    """One record to append: catalogue topic, explicit partition, event time in ms."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers


class Origin(NamedTuple):
    """Values that depend on the run, and so go into headers, never into bodies."""

    source: str
    code_version: str
    config_digest: str

    def static(self) -> Headers:
        return [
            ("ce_specversion", b"1.0"),
            ("ce_source", f"/tapedeck/{self.source}".encode()),
            ("tape-code-version", self.code_version.encode()),
            ("tape-config-digest", self.config_digest.encode()),
        ]


def record_wire(name: str, key: bytes, body: dict[str, object], layout: Layout, headers: Headers) -> Wire:
    """One record of topic ``name``; its Kafka time is its event time. Raises DeadLetter for a bad body."""
    schema = topic(name).schema
    assert schema is not None
    event_time = body["event_time"]
    assert isinstance(event_time, int)
    return Wire(name, layout.partition(name, body), key, encode(schema, body), event_time // 1000, headers)


def watermark_wires(name: str, label: int, partitions: range | tuple[int, ...]) -> Iterator[Wire]:
    """watermark(label) for each of ``partitions`` of topic ``name``; its Kafka time is the minute's end."""
    for partition in partitions:
        yield Wire(name, partition, WATERMARK_KEY, None, label // 1000 + 60_000, headers_for(label))


def opening_wires(
    name: str, label: int, absent: Iterable[str], partitions: range | tuple[int, ...]
) -> Iterator[Wire]:
    """The opening that follows watermark(label), likewise; ``absent`` are the inputs it names."""
    headers = opening_headers(label, absent)
    for wire in watermark_wires(name, label, partitions):
        yield wire._replace(headers=headers)


class Wires:
    """Turns the effects of one task into log records. ``home`` is a partitioned task's partition."""

    def __init__(self, spec: StageSpec, layout: Layout, origin: Origin, home: int) -> None:
        self._layout = layout
        self._static = origin.static()
        self._forward: list[tuple[str, range | tuple[int, ...]]] = []
        for name in spec.outputs:
            if topic(name).watermarked:
                whole = range(layout.partitions(name))
                self._forward.append((name, whole if spec.scale == "single" else (home,)))

    def of(self, effects: Effects, ingest_us: int) -> Iterator[Wire]:
        """The outputs in order. ``ingest_us``: when this task produced them, UTC microseconds."""
        ingest = ("tape-ingest-time", str(ingest_us).encode())
        for each in effects.outputs:
            if isinstance(each, Forward):
                for name, partitions in self._forward:
                    if each.absent is None:
                        yield from watermark_wires(name, each.label, partitions)
                    else:
                        yield from opening_wires(name, each.label, each.absent, partitions)
            else:
                yield self._record(each, ingest)

    def _record(self, produced: Produced, ingest: tuple[str, bytes]) -> Wire:
        out = produced.out
        headers: Headers = [
            *self._static,
            ingest,
            ("ce_id", out.event_id.encode()),
            ("ce_type", f"tapedeck.{out.topic}".encode()),
            *caused_by(out.event_id, produced.cause),
        ]
        return record_wire(out.topic, out.record_key, out.body, self._layout, headers)


def caused_by(event_id: str, cause: Message | None) -> Headers:
    """The headers that say what an event came of: W3C trace context, and the message if there is one.

    The trace id is the cause's, the span id is this event's. What nothing caused begins a trace.
    """
    trace_id, headers = event_id, Headers()
    if cause is not None:
        trace_id = trace_of(cause) or event_id
        headers.append(("tape-cause", f"{cause.topic}/{cause.partition}@{cause.offset}".encode()))
    return [(TRACE, f"00-{trace_id}-{event_id[:16]}-01".encode()), *headers]


def trace_of(message: Message) -> str | None:
    """The trace id of a record: that of its trace context, else its event_id, else None.

    Writers of sources need no trace context: a bar begins the trace of its event_id, in every replay. A
    record may come from anyone: a header that is not a trace context counts as missing, and of several the
    first one counts.
    """
    content = next((content for name, content in message.headers if name == TRACE), None)
    found = _TRACE_ID.match(content or b"")
    return found[1].decode() if found is not None else event_id_in(message.value)


def event_id_in(value: bytes | None) -> str | None:
    """The event_id at the start of a record's bytes, without decoding them; None if there is none."""
    found = _EVENT_ID.match(value, PREFIX.size) if value is not None else None
    return found[1].decode() if found is not None else None
