"""What an id means: which recorded events a person asks about.

An order by its client or broker id, a signal by its ``sg_`` id, a proposal by ``account|signal_id``, and any
record by its event_id. A beginning of at least eight characters is enough where it is the only one.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from tapedeck.schemas.errors import TapeError
from tapedeck.streams.merge import Part
from tapedeck.tape.explain.lookup import DAY_US, Found, Lookup, opened
from tapedeck.topics.catalogue import CATALOGUE, Spread

LEAST = 8
"""Characters of an id that must be given."""
_TIERS = (DAY_US, 8 * DAY_US, None)
"""How far back from the newest record an event_id is looked for, one after the other: the newest are asked
for most, and a whole year is read only for an id that is nowhere else."""
_HEX = re.compile(r"[0-9a-f]{8,32}")
_BROKER_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]*")
_ORDER_ID = re.compile(r"td\d+-.*")
_SIGNAL_ID = re.compile(r"sg_[0-9a-f]*")
_OFFERED = 2_000
_NAMED = ("orders", "proposals", "signals", "executions")
"""The topics whose ids are offered where an unknown one is asked for."""


class NoSuchRecord(TapeError):
    """No recorded event has this id, or more than one begins with it."""


class Roots(NamedTuple):
    """What was asked for: its kind, its whole id and its records in log order."""

    kind: str
    name: str
    records: tuple[Found, ...]


def find_roots(lookup: Lookup, asked: str) -> Roots:
    """The records that ``asked`` names. Raises NoSuchRecord with the nearest id, or with all that match."""
    asked = asked.strip()
    if len(asked.rpartition("|")[2]) < LEAST:
        remedy = f"give at least the first {LEAST} characters"
        raise NoSuchRecord("the id is too short to be looked for", value=asked, remedy=remedy)
    if "|" in asked:
        return _one("proposal", asked, lookup, _all(lookup, "proposals", asked.split("|")[1]), _proposal_id)
    if _ORDER_ID.fullmatch(asked):
        return _order(lookup, asked, "client_order_id")
    if _SIGNAL_ID.fullmatch(asked):
        return _one("signal", asked, lookup, _all(lookup, "signals", asked), lambda f: f.body["signal_id"])
    if _BROKER_ID.fullmatch(asked):
        return _order(lookup, asked, "broker_order_id")
    if _HEX.fullmatch(asked):
        return _event(lookup, asked)
    raise NoSuchRecord(
        "this is no id of a kind that can be explained",
        value=asked,
        remedy="give a client order id (td1-...), a broker order id, a signal_id (sg_...), "
        "ACCOUNT|SIGNAL_ID, or an event_id",
    )


def _proposal_id(found: Found) -> str:
    return f"{found.body['account_id']}|{found.body['signal_id']}"


def _parts(lookup: Lookup, name: str) -> list[Part]:
    return [(name, partition) for partition in range(lookup.layout.partitions(name))]


def _all(lookup: Lookup, name: str, needle: str) -> Iterator[Found]:
    """Every event of a topic in whose bytes ``needle`` stands: for topics with few records."""
    for part in _parts(lookup, name):
        yield from lookup.scan(part, *lookup.ends(part), [needle.encode()])


def _order(lookup: Lookup, asked: str, field: str) -> Roots:
    """An order's states and executions."""
    named = _one("order", asked, lookup, _all(lookup, "orders", asked), lambda f: f.body[field] or "")
    own = str(named.records[-1].body["client_order_id"])
    states = [f for f in _all(lookup, "orders", own) if f.body["client_order_id"] == own]
    filled = [f for f in _all(lookup, "executions", own) if f.body["client_order_id"] == own]
    return Roots("order", own, (*_each_once(states), *_each_once(filled)))


def _one(
    kind: str, asked: str, lookup: Lookup, records: Iterable[Found], name_of: Callable[[Found], str]
) -> Roots:
    """The records whose name begins with ``asked``; all must have the same name."""
    named: dict[str, list[Found]] = {}
    for found in records:
        if name_of(found).startswith(asked):
            named.setdefault(name_of(found), []).append(found)
    if not named:
        raise _unknown(lookup, asked)
    if asked in named:
        named = {asked: named[asked]}
    if len(named) > 1:
        raise _ambiguous(asked, [(name, each[0]) for name, each in sorted(named.items())])
    ((name, own),) = named.items()
    return Roots(kind, name, tuple(_each_once(own)))


def _each_once(records: Iterable[Found]) -> Iterator[Found]:
    """Each event_id once: a redelivery may have written a record again."""
    seen: set[str] = set()
    for found in records:
        if found.event_id not in seen:
            seen.add(found.event_id)
            yield found


def _event(lookup: Lookup, asked: str) -> Roots:
    """Any record by event_id: small topics first, the newest records of all topics before older ones."""
    names = sorted(
        (each for each in CATALOGUE if each.audited and each.schema),
        key=lambda each: each.spread is Spread.SYMBOL,  # these hold most records
    )
    parts = [part for each in names for part in _parts(lookup, each.name)]
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
    if len(asked) == LEAST and (orders := [f for f in _all(lookup, "orders", asked) if _is_broker(f, asked)]):
        return _order(lookup, str(orders[0].body["broker_order_id"]), "broker_order_id")
    raise _unknown(lookup, asked)


def _is_broker(found: Found, asked: str) -> bool:
    return str(found.body["broker_order_id"] or "").startswith(asked)


def _newest(lookup: Lookup, part: Part) -> int:
    """The time of the last record of ``part``, 0 where it is empty."""
    last = lookup.last(part)
    return 0 if last is None else last.timestamp * 1000


def _last(lookup: Lookup, part: Part) -> Iterator[Found]:
    """The last events of ``part``, as many as a person may have meant."""
    _, end = lookup.ends(part)
    for message in lookup.messages(part, end - _OFFERED, end):
        found = opened(message)
        if found is not None:
            yield found


def _ambiguous(asked: str, matches: Sequence[tuple[str, Found]]) -> NoSuchRecord:
    listed = ", ".join(f"{name} ({found.place})" for name, found in matches[:10])
    more = f" and {len(matches) - 10} more" if len(matches) > 10 else ""
    return NoSuchRecord(
        f"{len(matches)} records begin like this", value=asked, remedy=f"name one: {listed}{more}"
    )


def _unknown(lookup: Lookup, asked: str) -> NoSuchRecord:
    """Nothing has this id: name the nearest that something has."""
    known: set[str] = set()
    for name in _NAMED:
        for found in (found for part in _parts(lookup, name) for found in _last(lookup, part)):
            known.update((found.event_id, found.body.get("client_order_id") or found.event_id))
            if name in ("proposals", "signals"):
                known.add(str(found.body["signal_id"]) if name == "signals" else _proposal_id(found))
    near = difflib.get_close_matches(asked, sorted(known), n=1, cutoff=0.0)
    remedy = f"the nearest is {near[0]}" if near else "no order, proposal or signal has been recorded"
    return NoSuchRecord("no recorded event has this id", value=asked, remedy=remedy)
