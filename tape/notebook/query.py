"""The query of a tap, checked once before anything is read."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Source, last_record
from tapedeck.streams.merge import Part
from tapedeck.tape.notebook import times
from tapedeck.tape.notebook.fields import columns_of, time_field
from tapedeck.tape.notebook.frames import LOG_COLUMNS
from tapedeck.topics.catalogue import Layout, Topic, topic
from tapedeck.topics.partitioning import murmur2_partition

_SYMBOL_FIELDS = ("symbol", "underlying")
_LOOK_BACK = 16
_DAY_US = 86_400_000_000


class NotKept(Fatal):
    """The log no longer holds the state of that moment."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One tap. Times in UTC microseconds; ``until`` is exclusive.

    ``columns``: those of the result; ``wanted``: the record fields needed for them.
    ``late``: how much later than its own time a record may be in the log, None for any.
    """

    topic: Topic
    columns: tuple[str, ...]
    symbols: tuple[str, ...] | None
    since: int | None
    until: int | None
    zone: str
    late: int | None
    repeats: bool

    @property
    def schema(self) -> str:
        assert self.topic.schema is not None
        return self.topic.schema

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(column.name for column in columns_of(self.schema))

    @property
    def time(self) -> str:
        """The column that rows are ordered and bounded by."""
        return time_field(self.schema)

    @property
    def identity(self) -> str | None:
        """The column that identifies repeats."""
        return "event_id" if "event_id" in self.fields else None

    @property
    def wanted(self) -> tuple[str, ...]:
        needed = {*self.columns, self.time}
        if self.identity and not self.repeats:
            needed.add(self.identity)
        if self.symbols is not None:
            needed.add(self.symbol_field)
        return tuple(name for name in self.fields if name in needed)

    @property
    def symbol_field(self) -> str:
        """The column that holds a symbol. Raises Fatal if the topic has none."""
        for name in _SYMBOL_FIELDS:
            if name in self.fields:
                return name
        raise Fatal(
            f"topic {self.topic.name} has no symbol to select by",
            value=list(self.symbols or ()),
            remedy="leave out symbols, then filter the frame",
        )

    @property
    def by_key(self) -> bool:
        """Whether the record's key is its symbol, so that selecting needs no decoding."""
        return self.topic.key == (self.symbol_field,)

    def homes(self, layout: Layout) -> dict[str, int]:
        """The partition in which each symbol's records should lie; empty if the topic has no such rule."""
        if self.symbols is None or self.topic.part != self.symbol_field:
            return {}
        count = layout.partitions(self.topic.name)
        return {symbol: murmur2_partition(symbol.encode(), count) for symbol in self.symbols}

    def between(self, since: int | None, until: int | None) -> "Query":
        return replace(self, since=since, until=until)


def one_topic(name: str) -> Topic:
    """The topic ``name`` of the catalogue. Raises Fatal, with the nearest name, if there is none."""
    if not isinstance(name, str):
        raise Fatal("a topic name must be a string", value=name, remedy='as in td.tap("features")')
    return topic(name)


def several(given: str | Iterable[str] | None, what: str) -> tuple[str, ...] | None:
    """One or more names as a tuple. Raises Fatal for no names and for values that are not names."""
    if given is None:
        return None
    found = (given,) if isinstance(given, str) else tuple(given)
    if not found or not all(isinstance(each, str) and each for each in found):
        raise Fatal(f"{what} must be names", value=given, remedy=f"name some, or leave out {what} for all")
    return tuple(dict.fromkeys(found))


def nearest(name: str, known: Sequence[str]) -> str:
    """The remedy for an unknown name."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    # A two-letter symbol has no near match except in another case.
    near = near or [each for each in known if each.casefold() == name.casefold()]
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"


def chosen_columns(given: str | Iterable[str] | None, fields: Sequence[str], name: str) -> tuple[str, ...]:
    """The columns of the frame, all without a choice. Raises Fatal, with the nearest, for an unknown one."""
    known = [*fields, *LOG_COLUMNS]
    found = several(given, "columns") or tuple(known)
    for each in found:
        if each not in known:
            raise Fatal(f"topic {name} has no such column", value=each, remedy=nearest(each, known))
    return found


def late_us(given: timedelta | str | None) -> int | None:
    """How late a record may be, in microseconds."""
    return None if given is None else times.duration(given, "late") // timedelta(microseconds=1)


def newest_us(source: Source, name: str) -> int | None:
    """The time of the newest record of topic ``name``, in microseconds; None if there is none."""
    found = []
    for part, (low, end) in source.ends([name]).items():
        if end > low:
            source.offset_at(part, 0)  # a timed source checks here whether Kafka's times are right
        near = list(source.stream(part, max(low, end - _LOOK_BACK), end)) if end > low else []
        found += [int(block.timestamps.max()) * 1000 for block in near]
        if not near and (last := last_record(source, part, low, end)):
            found.append(last.timestamp * 1000)
    return max(found, default=None)


def asked_us(source: Source, name: str, given: Any, what: str) -> int | None:
    """The moment ``given`` in microseconds, None for none. Counting back from the newest record of a topic
    without records gives the earliest time: the result is empty anyway."""
    try:
        return None if given is None else times.moment(given, what, lambda: newest_us(source, name))
    except times.NoNewest:
        return 0


def spans(source: Source, query: Query) -> dict[Part, tuple[int, int]]:
    """The offsets of each partition that may hold results, by the broker's time index.

    This includes partitions that should not hold a chosen symbol: other producers use other partitioners.
    Raises Fatal for a time that is no longer kept.
    """
    ends = source.ends([query.topic.name])
    _refuse_forgotten(source, query, ends)
    found = {}
    for part, (low, end) in ends.items():
        first, last = low, end
        if end > low and query.since is not None:
            first = min(end, max(low, source.offset_at(part, query.since // 1000 * 1000)))
        if end > low and query.until is not None:
            # Always called: a timed source checks here whether Kafka's times are right.
            at = source.offset_at(part, query.until // 1000 * 1000 + 1000 + (query.late or 0))
            last = end if query.late is None else min(end, at)
        found[part] = first, max(first, last)
    return found


def _refuse_forgotten(source: Source, query: Query, ends: dict[Part, tuple[int, int]]) -> None:
    asked = query.since if query.since is not None else query.until
    if asked is None or not any(low for low, _ in ends.values()):
        return
    kept = kept_from(source, ends)
    if kept is not None and asked < kept:
        days = query.topic.keep_days
        limit = f" ({days} days)" if days > 0 else ""
        raise NotKept(
            f"topic {query.topic.name} does not reach back so far{limit}",
            value=times.shown(asked),
            remedy=f"it is kept from {times.shown(kept)} on: ask for that time or later",
        )


def kept_from(source: Source, ends: dict[Part, tuple[int, int]]) -> int | None:
    """From when on the partitions hold everything, in microseconds; None if nothing was deleted yet."""
    found = []
    for part, (low, end) in ends.items():
        if low and end > low:
            source.offset_at(part, 0)  # as in ``newest_us``
            block = next(iter(source.stream(part, low, low + _LOOK_BACK)), None)
            if block is not None:
                found.append(int(block.timestamps[0]) * 1000)
    return max(found, default=None)


def ask(
    source: Source,
    name: str,
    *,
    symbols: Any,
    since: Any,
    until: Any,
    columns: Any,
    zone: times.Zone,
    late: Any,
    repeats: bool,
) -> Query:
    """The query of one tap. Raises Fatal for an invalid one."""
    chosen = one_topic(name)
    if chosen.schema is None:
        remedy = "its records are bytes: tap it with raw=True"
        raise Fatal("this topic has no columns", value=name, remedy=remedy)
    fields = [column.name for column in columns_of(chosen.schema)]
    query = Query(
        topic=chosen,
        columns=chosen_columns(columns, fields, name),
        symbols=several(symbols, "symbols"),
        since=None,
        until=None,
        zone=times.known_zone(zone),
        late=late_us(late),
        repeats=repeats,
    )
    if query.symbols is not None:
        assert query.symbol_field
    return query.between(*bounds(source, name, since, until))


def bounds(source: Source, name: str, since: Any, until: Any) -> tuple[int | None, int | None]:
    """(since, until) in microseconds. Raises Fatal if nothing is between them."""
    low, high = asked_us(source, name, since, "since"), asked_us(source, name, until, "until")
    if low and high is not None and high <= low:
        raise Fatal(
            f"nothing is between {times.shown(low)} and {times.shown(high)}",
            value=(since, until),
            remedy="until is exclusive and comes after since: one day is since=DAY, until=THE NEXT DAY",
        )
    return low, high
