"""A trace as values: its hops, each a record with the time that it took, and the records that they join.

A hop is the step that wrote one record: it starts when the record before it was there, and ends when its own
was produced. Those are the run's times, from the header ``tape-ingest-time``; a record without it counts as
produced with the one before it. If no record has it, as in a simulation, the records' own times stand for
them, so a step without a clock of its own takes 0 seconds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.wire import trace_of
from tapedeck.tape.explain.lookup import Found

LIVE_US = 60 * MINUTE_US
"""A source's record that was produced longer than this after its own time is of a tape that was played."""
INGEST = "tape-ingest-time"


class Times(StrEnum):
    """Which times a trace is told in."""

    RUN = "run"
    RECORDS = "records"


@dataclass(frozen=True)
class Link:
    """A record of another trace that a hop joined. ``found`` is None if the log does not hold it."""

    event_id: str
    found: Found | None

    @property
    def trace_id(self) -> str | None:
        return None if self.found is None else trace_of(self.found.message)


@dataclass(frozen=True)
class Hop:
    """One record of a trace. ``parent``: the event_id of the record before it; None for the first one.

    ``start_us`` and ``end_us``: UTC microseconds, never backwards.
    """

    found: Found
    parent: str | None
    links: tuple[Link, ...]
    start_us: int
    end_us: int

    @property
    def event_id(self) -> str:
        return self.found.event_id

    @property
    def span_id(self) -> str:
        """16 hex digits: those in the record's own ``traceparent``."""
        return self.event_id[:16]

    @property
    def seconds(self) -> float:
        return (self.end_us - self.start_us) / 1e6


@dataclass(frozen=True)
class Trace:
    """One trace, its hops in the order of the tree. ``notes``: what is missing from it, in words."""

    trace_id: str
    hops: tuple[Hop, ...]
    times: Times
    notes: tuple[str, ...] = ()

    @cached_property
    def children(self) -> Mapping[str | None, Sequence[Hop]]:
        """The hops by their parents; the first ones under None."""
        found: dict[str | None, list[Hop]] = {}
        for hop in self.hops:
            found.setdefault(hop.parent, []).append(hop)
        return found

    @property
    def start_us(self) -> int:
        return min(hop.start_us for hop in self.hops)

    @property
    def seconds(self) -> float:
        """From the first hop's start to the last one's end."""
        return (max(hop.end_us for hop in self.hops) - self.start_us) / 1e6


def timed(
    trace_id: str,
    records: Sequence[Found],
    parents: Mapping[str, str],
    links: Mapping[str, Sequence[Link]],
    notes: Iterable[str] = (),
) -> Trace:
    """The trace of ``records``, parents before children, with the times of each hop."""
    produced = {found.event_id: _produced_us(found) for found in records}
    known = any(produced.values())
    times = Times.RUN if known else Times.RECORDS
    ends = {
        found.event_id: produced[found.event_id] if known else int(found.body["event_time"])
        for found in records
    }
    hops: dict[str, Hop] = {}
    for found in records:
        own = found.event_id
        before = hops.get(parents.get(own, ""))
        if before is not None:
            end = max(ends[own], before.end_us)  # two machines' clocks differ
            start = before.end_us
        else:
            end = ends[own] or _first_after(own, ends, parents) or int(found.body["event_time"])
            start = _began(found, end)
        hops[own] = Hop(found, parents.get(own), tuple(links.get(own, ())), start, end)
    return Trace(trace_id, tuple(_in_order(hops)), times, tuple(notes))


def _produced_us(found: Found) -> int:
    """When a record was produced, UTC microseconds; 0 if its writer did not say."""
    told = found.header(INGEST)
    return int(told) if told.isdecimal() else 0


def _first_after(own: str, ends: Mapping[str, int], parents: Mapping[str, str]) -> int:
    """When the first record after ``own`` was produced; 0 if none is."""
    return min((ends[each] for each, parent in parents.items() if parent == own and ends[each]), default=0)


def _began(found: Found, end_us: int) -> int:
    """When a first hop starts: at the record's own time, unless that is of a tape played later."""
    own = int(found.body["event_time"])
    return own if 0 <= end_us - own <= LIVE_US else end_us


def _in_order(hops: Mapping[str, Hop]) -> Iterator[Hop]:
    """Depth first, each hop's children by the end of their steps."""
    below: dict[str | None, list[Hop]] = {}
    for hop in hops.values():
        below.setdefault(hop.parent, []).append(hop)

    def walk(parent: str | None) -> Iterator[Hop]:
        for hop in sorted(below.get(parent, ()), key=lambda each: (each.end_us, each.found.place)):
            yield hop
            yield from walk(hop.event_id)

    return walk(None)
