"""What an id means: which recorded events it names.

Any record by its event_id, and records with their own ids, such as orders, by those. A unique prefix of at
least eight characters is enough.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tapedeck.schemas.errors import TapeError
from tapedeck.streams.merge import Part
from tapedeck.streams.telling import Named
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.describe import names
from tapedeck.tape.explain.lookup import DAY_US, Found, Lookup, opened
from tapedeck.topics.catalogue import CATALOGUE, Spread

LEAST = 8
"""The fewest characters of an id."""
_TIERS = (DAY_US, 8 * DAY_US, None)
"""How far back from the newest record to search for an event_id, one after the other: the newest are the most
common, and a whole year is read only for an id that is nowhere else."""
_HEX = re.compile(r"[0-9a-f]{8,32}")
_OFFERED = 2_000


class NoSuchRecord(TapeError):
    """No recorded event has this id, or more than one starts with it."""


class Roots(NamedTuple):
    """What was asked for: its kind, its whole id and its records in log order."""

    kind: str
    name: str
    records: tuple[Found, ...]


def find_roots(topology: Topology, lookup: Lookup, asked: str) -> Roots:
    """The records that ``asked`` names. Raises NoSuchRecord with the nearest id, or with all that match."""
    asked = asked.strip()
    if len(asked.rpartition("|")[2]) < LEAST:
        remedy = f"give at least the first {LEAST} characters"
        raise NoSuchRecord("the id is too short to search for", value=asked, remedy=remedy)
    return _Ids(topology, lookup).roots(asked)


class _Ids:
    """The kinds of ids for records of a topology."""

    def __init__(self, topology: Topology, lookup: Lookup) -> None:
        self._lookup, self._named = lookup, list(names(topology))

    def roots(self, asked: str) -> Roots:
        for _, named in self._named:
            if named.form.fullmatch(asked):
                return self._of(named, asked)
        if _HEX.fullmatch(asked):
            return self._event(asked)
        # ids composed of other ids come after them
        examples = sorted((named.example for _, named in self._named), key=lambda each: "|" in each)
        raise NoSuchRecord(
            "this kind of id cannot be explained",
            value=asked,
            remedy=f"give {', '.join([*examples, 'or an event_id'])}",
        )

    def _of(self, named: Named, asked: str) -> Roots:
        """The records with an id that starts with ``asked``, and all others with the same complete id."""
        topics = [name for name, each in self._named if each == named]
        needle = named.needle(asked)
        roots = self._one(named, asked, (f for name in topics for f in _all(self._lookup, name, needle)))
        if not named.whole:
            return roots
        own = str(roots.records[-1].body[named.whole])
        found: list[Found] = []
        for each in (*topics, *named.beside):
            mine = (f for f in _all(self._lookup, each, own) if f.body[named.whole] == own)
            found += _each_once(mine)
        return Roots(named.kind, own, tuple(found))

    def _one(self, named: Named, asked: str, records: Iterable[Found]) -> Roots:
        """The records whose id starts with ``asked``; all must have the same id."""
        by_id: dict[str, list[Found]] = {}
        for found in records:
            own = named.name(found.body)
            if own.startswith(asked):
                by_id.setdefault(own, []).append(found)
        if not by_id:
            raise self._unknown(asked)
        if asked in by_id:
            by_id = {asked: by_id[asked]}
        if len(by_id) > 1:
            raise _ambiguous(asked, [(own, each[0]) for own, each in sorted(by_id.items())])
        ((own, mine),) = by_id.items()
        return Roots(named.kind, own, tuple(_each_once(mine)))

    def _event(self, asked: str) -> Roots:
        """Any record by event_id; eight characters may also start another kind of id."""
        roots = _by_event_id(self._lookup, asked)
        if roots is not None:
            return roots
        bare = [each for each in self._named if each[1].bare and len(asked) == LEAST]
        for name, named in bare:
            for found in _all(self._lookup, name, asked):
                if named.name(found.body).startswith(asked):
                    return self._of(named, named.name(found.body))
        raise self._unknown(asked)

    def _unknown(self, asked: str) -> NoSuchRecord:
        """The error for an unknown id, which names the nearest known one."""
        known: set[str] = set()
        for name, named in self._named:
            for each in (name, *named.beside):
                for part in _parts(self._lookup, each):
                    for found in _last(self._lookup, part):
                        known.update((found.event_id, named.offered(found.body)))
        near = difflib.get_close_matches(asked, sorted(known), n=1, cutoff=0.0)
        *kinds, last = dict.fromkeys([*(named.kind for _, named in self._named)] or ["record"])
        nothing = f"{', '.join(kinds)} or {last}" if kinds else last
        remedy = f"the nearest is {near[0]}" if near else f"no {nothing} has been recorded"
        return NoSuchRecord("no recorded event has this id", value=asked, remedy=remedy)


def _parts(lookup: Lookup, name: str) -> list[Part]:
    return [(name, partition) for partition in range(lookup.layout.partitions(name))]


def _all(lookup: Lookup, name: str, needle: str) -> Iterator[Found]:
    """Every event of a topic whose bytes contain ``needle``; for topics with few records."""
    for part in _parts(lookup, name):
        yield from lookup.scan(part, *lookup.ends(part), [needle.encode()])


def _each_once(records: Iterable[Found]) -> Iterator[Found]:
    """Each event_id once: a redelivery may have written a record again."""
    seen: set[str] = set()
    for found in records:
        if found.event_id not in seen:
            seen.add(found.event_id)
            yield found


def _by_event_id(lookup: Lookup, asked: str) -> Roots | None:
    """Any record by event_id: small topics first, the newest records of all topics before older ones. None
    if no event_id starts so."""
    topics = sorted(
        (each for each in CATALOGUE.audited if each.schema),
        key=lambda each: each.spread is Spread.SYMBOL,  # these hold most records
    )
    parts = [part for each in topics for part in _parts(lookup, each.name)]
    newest = max(_newest(lookup, part) for part in parts)
    looked_until = {part: lookup.ends(part)[1] for part in parts}
    for tier in _TIERS:
        matches: dict[str, Found] = {}
        for part in parts:
            start = lookup.ends(part)[0] if tier is None else lookup.offset_at(part, newest - tier)
            for found in lookup.scan(part, start, looked_until[part], [asked.encode()]):
                if found.event_id.startswith(asked):
                    matches.setdefault(found.event_id, found)
                if found.event_id == asked:
                    return Roots(found.topic, asked, (found,))
            looked_until[part] = min(start, looked_until[part])
        if len(matches) > 1:
            raise _ambiguous(asked, sorted(matches.items()))
        for event_id, found in matches.items():
            return Roots(found.topic, event_id, (found,))
    return None


def _newest(lookup: Lookup, part: Part) -> int:
    """The time of the last record of ``part``, 0 if it is empty."""
    last = lookup.last(part)
    return 0 if last is None else last.timestamp * 1000


def _last(lookup: Lookup, part: Part) -> Iterator[Found]:
    """The last events of ``part``, which are the most likely matches."""
    _, end = lookup.ends(part)
    for message in lookup.messages(part, end - _OFFERED, end):
        found = opened(message)
        if found is not None:
            yield found


def _ambiguous(asked: str, matches: Sequence[tuple[str, Found]]) -> NoSuchRecord:
    listed = ", ".join(f"{name} ({found.place})" for name, found in matches[:10])
    more = f" and {len(matches) - 10} more" if len(matches) > 10 else ""
    return NoSuchRecord(
        f"{len(matches)} records start like this", value=asked, remedy=f"name one: {listed}{more}"
    )
