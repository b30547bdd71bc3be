"""Which traces an id means, or a symbol's minute."""

from collections.abc import Sequence

from tapedeck.schemas.readable import iso_time
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.lookup import Found, Lookup, opened
from tapedeck.tape.explain.roots import NoSuchRecord, find_roots
from tapedeck.tape.explain.tree import parts_of
from tapedeck.tape.trace.collect import trace_from
from tapedeck.tape.trace.hops import Trace
from tapedeck.tape.why.way import Way

_LATE_US = 60 * MINUTE_US
"""How long after its minute a bar may be written."""


def traces_of(topology: Topology, lookup: Lookup, asked: str) -> list[Trace]:
    """The traces of the records that ``asked`` names, as `tape explain` takes it.

    Raises NoSuchRecord for an unknown id and for an ambiguous prefix of an id.
    """
    return _each_once(topology, lookup, find_roots(topology, lookup, asked).records)


def traces_at(topology: Topology, lookup: Lookup, symbol: str, moment: int) -> list[Trace]:
    """The traces of a symbol's bar in the minute of ``moment``, UTC microseconds: one for each revision.

    Raises NoSuchRecord if there is no such bar.
    """
    way = Way(topology)
    t, field = moment - moment % MINUTE_US, way.time_of(way.head)
    bars = [
        found
        for part in parts_of(lookup, way.head, {"symbol": symbol})
        for message in lookup.between(part, t, t + _LATE_US)
        if (found := opened(message)) is not None
        and (found.body.get("symbol"), found.body.get(field)) == (symbol, t)
    ]
    if not bars:
        raise NoSuchRecord(
            f"{way.head} has no record of this symbol in this minute",
            value=f"{symbol} {iso_time(t)}",
            remedy=f"see `tape why {symbol}` for its minutes",
        )
    return _each_once(topology, lookup, bars)


def _each_once(topology: Topology, lookup: Lookup, records: Sequence[Found]) -> list[Trace]:
    """The traces of ``records``; the records of an order are in one."""
    found: list[Trace] = []
    seen: set[str] = set()
    for each in records:
        if each.event_id not in seen:
            found.append(trace_from(topology, lookup, each))
            seen.update(hop.event_id for hop in found[-1].hops)
    return found
