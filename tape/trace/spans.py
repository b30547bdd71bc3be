"""A trace as spans of OpenTelemetry: a span for each hop, named by the conventions for messaging.

A hop ends by sending a record, so its span is that of a producer: the trace id and the span id are those in
the record's ``traceparent``. Joined records are links to the spans of their own traces.
"""

import re

from tapedeck.connectors.otlp import Span, SpanLink, Value
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import TRACE
from tapedeck.tape.explain.describe import headline
from tapedeck.tape.explain.lookup import Found
from tapedeck.tape.explain.tree import payload
from tapedeck.tape.trace.hops import Hop, Link, Trace
from tapedeck.topics.catalogue import Layout, topic

_SPAN_ID = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-([0-9a-f]{16})-")
_SOURCE = "/tapedeck/"
_LABELS = ("bar_t", "t", "evaluation")
"""Fields with the left edge of the minute, or evaluation, that a record is about."""


def spans_of(topology: Topology, layout: Layout, trace: Trace) -> list[Span]:
    """The spans of ``trace``, parents first."""
    return [_span(topology, layout, trace, hop) for hop in trace.hops]


def service_of(topology: Topology, found: Found) -> str:
    """The stage or process that wrote a record."""
    writer = topology.writer(found.topic)
    if writer is not None:
        return writer.name
    told = found.header("ce_source")
    return told.removeprefix(_SOURCE) if told.startswith(_SOURCE) else topic(found.topic).owner


def symbol_of(found: Found) -> str | None:
    """The symbol that a record is about; None if it is about none, or several."""
    about = payload(found.body) | found.body
    return next((str(about[name]) for name in ("symbol", "underlying") if about.get(name)), None)


def label_of(found: Found) -> int | None:
    """The left edge of the minute that a record is about, UTC microseconds."""
    about = payload(found.body) | found.body
    return next((about[name] for name in _LABELS if isinstance(about.get(name), int)), None)


def _span(topology: Topology, layout: Layout, trace: Trace, hop: Hop) -> Span:
    found = hop.found
    return Span(
        trace_id=trace.trace_id,
        span_id=hop.span_id,
        parent_id=hop.parent[:16] if hop.parent else _outside(hop),
        name=f"send {found.topic}",
        service=service_of(topology, found),
        version=found.header("tape-code-version"),
        start_us=hop.start_us,
        end_us=hop.end_us,
        attributes=_attributes(topology, layout, trace, found),
        links=tuple(_link(layout, each) for each in hop.links if each.found is not None),
    )


def _outside(hop: Hop) -> str:
    """The span of the program that wrote a source's record, if that program knows of traces; else nothing."""
    own = _SPAN_ID.match(hop.found.header(TRACE))
    return own[1] if own is not None and own[1] != hop.span_id else ""


def _attributes(topology: Topology, layout: Layout, trace: Trace, found: Found) -> dict[str, Value]:
    message, label = found.message, label_of(found)
    told: dict[str, Value | None] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": layout.wire_name(found.topic),
        "messaging.destination.partition.id": str(message.partition),
        "messaging.kafka.offset": message.offset,
        "messaging.kafka.message.key": (message.key or b"").decode("utf-8", "replace"),
        "messaging.message.id": found.event_id,
        "tapedeck.topic": found.topic,
        "tapedeck.summary": headline(topology, found.topic, found.body),
        "tapedeck.symbol": symbol_of(found),
        "tapedeck.account": found.body.get("account_id"),
        "tapedeck.label": None if label is None else iso_time(label),
        "tapedeck.event_time": iso_time(int(found.body["event_time"])),
        "tapedeck.config_digest": found.header("tape-config-digest") or None,
        "tapedeck.times": trace.times.value,
    }
    return {name: value for name, value in told.items() if value is not None}


def _link(layout: Layout, link: Link) -> SpanLink:
    assert link.found is not None
    message = link.found.message
    return SpanLink(
        trace_id=link.trace_id or link.event_id,
        span_id=link.event_id[:16],
        attributes={
            "messaging.destination.name": layout.wire_name(message.topic),
            "messaging.destination.partition.id": str(message.partition),
            "messaging.kafka.offset": message.offset,
            "messaging.message.id": link.event_id,
        },
    )
