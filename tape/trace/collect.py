"""The records of one trace, found by the headers of the log: from any of them up to the source, then down.

Up by ``tape-cause``, which names the place of the record before. Down by the trace id in ``traceparent``, in
the topics that the source reaches. What a broker says of an order after its dispatcher was started again
begins a trace of its own; it is found by the order's id. This module knows no topic of a stage.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import trace_of
from tapedeck.tape.explain.describe import names, told
from tapedeck.tape.explain.lookup import DAY_US, Found, Lookup
from tapedeck.tape.explain.tree import named_inputs, parts_of, payload
from tapedeck.tape.trace.hops import Link, Trace, timed
from tapedeck.topics.catalogue import Spread, topic

CAUSE = "tape-cause"
_NEAR_US = 15 * MINUTE_US
"""How far from its source's time a record of the market's stages may lie."""
MOST_LINKS = 32
"""Of more joined records than this, the newest are shown."""


def trace_from(topology: Topology, lookup: Lookup, asked: Found, *, links: bool = True) -> Trace:
    """The whole trace that ``asked`` is part of; of an account's record, without the other accounts."""
    return _Collector(topology, lookup, asked).trace(links=links)


class _Collector:
    """Finds the records of the trace of ``asked``."""

    def __init__(self, topology: Topology, lookup: Lookup, asked: Found) -> None:
        self._topology, self._lookup, self._asked = topology, lookup, asked
        self._notes: list[str] = []
        self._found: dict[str, Found] = {}
        self._orders = {name: named.whole for name, named in names(topology) if named.whole}
        self._traces: set[str] = set()

    def trace(self, *, links: bool) -> Trace:
        path = self._climb()
        self._traces = {own for each in path if (own := trace_of(each.message)) is not None}
        self._add(path)
        self._descend(path[0])
        account = self._asked.body.get("account_id")
        if account is not None:
            self._found = {
                own: each
                for own, each in self._found.items()
                if each.body.get("account_id") in (None, account)
            }
        parents, ordered = self._parents()
        trace_id = trace_of(path[0].message) or path[0].event_id
        joined = {each.event_id: self._links(each) for each in ordered} if links else {}
        return timed(trace_id, ordered, parents, joined, dict.fromkeys(self._notes))

    def _add(self, records: Iterable[Found]) -> bool:
        """Add what is not there yet; returns whether anything was."""
        before = len(self._found)
        for each in records:
            self._found.setdefault(each.event_id, each)
        return len(self._found) > before

    # up ----------------------------------------------------------------------------------------------

    def _climb(self) -> list[Found]:
        """The records from the source, or the oldest one that is kept, to the one asked for."""
        path = [self._asked]
        while (before := self._before(path[0])) is not None and before not in path:
            path.insert(0, before)
        return path

    def _before(self, found: Found) -> Found | None:
        place = found.header(CAUSE)
        if place:
            return self._at(place, found)
        inputs = named_inputs(self._topology, found) if payload(found.body) else {}
        for event_id, topics in inputs.items():
            parts = [part for name in topics for part in parts_of(self._lookup, name, found.body)]
            got = self._lookup.find([event_id], parts, found.time_us)
            if event_id in got:
                return got[event_id]
        return next(self._orders_of(payload(found.body)), None)

    def _at(self, place: str, found: Found) -> Found | None:
        """The record at a place that ``found`` names as its cause."""
        name, _, rest = place.rpartition("/")
        partition, _, offset = rest.partition("@")
        if not (partition.isdecimal() and offset.isdecimal()):
            return None
        part, at = (name, int(partition)), int(offset)
        try:
            first, _ = self._lookup.ends(part)
            got = self._lookup.at(part, at)
        except (Fatal, KeyError):
            self._notes.append(f"{place}, which caused {found.place}, is in a topic that is not there")
            return None
        if got is not None and self._is_cause(got, found):
            return got
        why = "older than its topic keeps" if at < first else "not on the log any more, or another record"
        self._notes.append(f"{place}, which caused {found.place}, is {why}: the trace begins after it")
        return None

    def _is_cause(self, got: Found, found: Found) -> bool:
        """Whether the record at the place is the one that was there: a topic may have been made anew."""
        same = trace_of(got.message) == trace_of(found.message)
        return same or got.event_id in named_inputs(self._topology, found)

    def _orders_of(self, body: dict[str, object]) -> Iterator[Found]:
        """The records of the order that ``body`` names, in log order."""
        for name, whole in self._orders.items():
            order = body.get(whole)
            if isinstance(order, str) and order:
                for part in self._parts(name):
                    yield from self._lookup.search(part, *self._lookup.ends(part), [order.encode()])

    # down --------------------------------------------------------------------------------------------

    def _descend(self, first: Found) -> None:
        time = first.time_us
        for name in self._reached(first.topic):
            for part in parts_of(self._lookup, name, first.body):
                self._add(self._bearing(part, time - _NEAR_US, time + _NEAR_US))
        accounts = [
            name
            for name in dict.fromkeys(
                name for spec in self._topology.accounts for name in (*spec.inputs, *spec.outputs)
            )
            if topic(name).spread is Spread.ACCOUNT
        ]
        parts = [part for name in accounts for part in self._parts(name)]
        while any(
            [
                self._add(
                    chain(
                        self._bearing(part, time - _NEAR_US, time + DAY_US),
                        self._naming(part, time - _NEAR_US, time + DAY_US),
                    )
                )
                for part in parts
            ]
        ):
            pass

    def _reached(self, source: str) -> list[str]:
        """The topics that ``source`` reaches through triggers, and through sources made of its records."""
        writer = self._topology.writer(source)
        reached = [source if writer is None else self._topology.root(writer)]
        for name in reached:
            for spec in self._topology.market:
                if spec.trigger == name:
                    reached += [each for each in spec.outputs if each not in reached]
            for each in self._topology.sources:
                words = told(self._topology, each)
                if words is not None and name in words.made_of and each not in reached:
                    reached.append(each)
        return reached

    def _parts(self, name: str) -> list[Part]:
        return [(name, partition) for partition in range(self._lookup.layout.partitions(name))]

    def _bearing(self, part: Part, since: int, until: int) -> Iterator[Found]:
        """The records whose trace context, or cause, is one of this trace."""
        places = {each.place for each in self._found.values()}
        needles = [each.encode() for each in (*self._traces, *places)]
        low, high = self._lookup.offset_at(part, since), self._lookup.offset_at(part, until)
        for found in self._lookup.bearing(part, low, high, needles):
            if trace_of(found.message) in self._traces or found.header(CAUSE) in places:
                yield found

    def _naming(self, part: Part, since: int, until: int) -> Iterator[Found]:
        """The inbox records that name a signal or an order of this trace in their content."""
        signals = {own for own, each in self._found.items() if each.topic in self._topology.signal_topics}
        orders = {
            str(each.body[self._orders[each.topic]])
            for each in self._found.values()
            if each.topic in self._orders
        }
        needles = [each.encode() for each in (*signals, *orders)]
        low, high = self._lookup.offset_at(part, since), self._lookup.offset_at(part, until)
        for found in self._lookup.search(part, low, high, needles) if needles else ():
            content = payload(found.body)
            if content and not {each for each in content.values() if isinstance(each, str)}.isdisjoint(
                signals | orders
            ):
                yield found

    # between -----------------------------------------------------------------------------------------

    def _parents(self) -> tuple[dict[str, str], list[Found]]:
        """The record before each one: of its cause and its inputs, that with the longest way behind it."""
        places = {each.place: own for own, each in self._found.items()}
        first = self._first_of_orders()
        before: dict[str, list[str]] = {}
        for own, found in self._found.items():
            named = [each for each in named_inputs(self._topology, found) if each in self._found]
            cause = places.get(found.header(CAUSE))
            order = first.get(str(next(iter(_ids(payload(found.body), self._orders.values())), "")))
            before[own] = [each for each in (*named, cause, order) if each is not None and each != own]
        depths: dict[str, int] = {}

        def depth(own: str, above: frozenset[str]) -> int:
            if own not in depths:
                below = [each for each in before[own] if each not in above]
                depths[own] = 1 + max((depth(each, above | {own}) for each in below), default=0)
            return depths[own]

        for own in self._found:
            depth(own, frozenset())
        parents = {
            own: max(ids, key=lambda each: (depths[each], each))
            for own, ids in before.items()
            if ids and max(depths[each] for each in ids) < depths[own]
        }
        return parents, sorted(self._found.values(), key=lambda each: depths[each.event_id])

    def _first_of_orders(self) -> dict[str, str]:
        """The event_id of each order's first record: what the broker answers came after it."""
        first: dict[str, Found] = {}
        for each in self._found.values():
            if each.topic in self._orders and self._topology.writer(each.topic) is not None:
                order = str(each.body[self._orders[each.topic]])
                if order not in first or each.message.offset < first[order].message.offset:
                    first[order] = each
        return {order: each.event_id for order, each in first.items()}

    def _links(self, found: Found) -> Sequence[Link]:
        """The records of other traces that ``found`` was made from."""
        named = named_inputs(self._topology, found)
        ours = self._found.keys() | self._traces  # a source that is gone is this trace's, and told of
        others = {own: topics for own, topics in named.items() if own not in ours}
        got: dict[str, Found] = {}
        for topics in dict.fromkeys(others.values()):
            wanted = [own for own, each in others.items() if each == topics]
            parts = [part for name in topics for part in parts_of(self._lookup, name, found.body)]
            got |= self._lookup.find(wanted[:MOST_LINKS], parts, found.time_us)
        if missing := [own for own in list(others)[:MOST_LINKS] if own not in got]:
            self._notes.append(
                f"{len(missing)} of the records that {found.place} joined are not on the log any more"
            )
        return [Link(own, got.get(own)) for own in list(others)[:MOST_LINKS]]


def _ids(content: dict[str, object], fields: Iterable[str]) -> Iterator[object]:
    return (content[each] for each in fields if content.get(each))
