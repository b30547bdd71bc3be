"""A trace for people: the tree of its hops with starts and durations, or one JSON document."""

from collections.abc import Iterator
from typing import Any

from tapedeck.schemas.readable import iso_time
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.describe import headline
from tapedeck.tape.trace.hops import Hop, Times, Trace
from tapedeck.tape.trace.spans import label_of, service_of, symbol_of

_TOLD = {
    Times.RUN: "when each record was produced, from its headers",
    Times.RECORDS: "the records' own, because no header says when a record was produced",
}
_WIDE = 70


def text(topology: Topology, trace: Trace) -> str:
    """The tree: per hop when it starts after the first one, how long it takes, and what it wrote."""
    lines = [
        f"trace {trace.trace_id}: {len(trace.hops)} hops in {_seconds(trace.seconds)} from "
        f"{iso_time(trace.start_us)}",
        f"times: {_TOLD[trace.times]}",
        "",
        f"{'start':>11} {'takes':>11}  record",
    ]
    for place, hop in enumerate(firsts := trace.children.get(None, ())):
        lines += _lines(topology, trace, hop, "", last=place == len(firsts) - 1, first=True)
    return "\n".join([*lines, *(["", *trace.notes] if trace.notes else ())])


def _lines(
    topology: Topology, trace: Trace, hop: Hop, rest: str, *, last: bool, first: bool = False
) -> Iterator[str]:
    branch, under = ("", "") if first else ("└── ", "    ") if last else ("├── ", "│   ")
    found = hop.found
    start = (hop.start_us - trace.start_us) / 1e6
    words = headline(topology, found.topic, found.body)
    words = words if len(words) <= _WIDE else f"{words[: _WIDE - 3]}..."
    joined = ", ".join(dict.fromkeys(each.found.topic for each in hop.links if each.found is not None))
    yield (
        f"{_seconds(start, '+'):>11} {_seconds(hop.seconds):>11}  {rest}{branch}{found.topic}  {words}"
        f"{f' (with {joined})' if joined else ''}  {found.place}"
    )
    below = trace.children.get(hop.event_id, ())
    for place, each in enumerate(below):
        yield from _lines(topology, trace, each, rest + under, last=place == len(below) - 1)


def _seconds(seconds: float, sign: str = "") -> str:
    return f"{sign}{seconds:.3f} s"


def as_dict(topology: Topology, trace: Trace) -> dict[str, Any]:
    """The trace as JSON."""
    return {
        "trace_id": trace.trace_id,
        "times": trace.times.value,
        "start": iso_time(trace.start_us),
        "seconds": trace.seconds,
        "notes": list(trace.notes),
        "hops": [_hop(topology, each) for each in trace.hops],
    }


def _hop(topology: Topology, hop: Hop) -> dict[str, Any]:
    found, label = hop.found, label_of(hop.found)
    return {
        "event_id": hop.event_id,
        "span_id": hop.span_id,
        "parent": hop.parent,
        "service": service_of(topology, found),
        "topic": found.topic,
        "partition": found.message.partition,
        "offset": found.message.offset,
        "event_time": iso_time(int(found.body["event_time"])),
        "start": iso_time(hop.start_us),
        "seconds": hop.seconds,
        "symbol": symbol_of(found),
        "label": None if label is None else iso_time(label),
        "account_id": found.body.get("account_id"),
        "summary": headline(topology, found.topic, found.body),
        "links": [
            {"event_id": each.event_id, "topic": each.found.topic if each.found else None}
            for each in hop.links
        ],
    }
