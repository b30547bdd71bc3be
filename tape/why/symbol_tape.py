"""One symbol's session from the log, read by the time index, at a cost independent of its length."""

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from functools import cached_property
from typing import Any

from tapedeck.connectors import dead_letters
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import NEW_YORK, Calendar, Session, iso_date, micros
from tapedeck.streams.topology import Topology
from tapedeck.streams.watermarks import Watermark, readable_punctuation
from tapedeck.tape.explain.lookup import Lookup
from tapedeck.tape.recording import Recording, of_messages
from tapedeck.tape.why.way import Way
from tapedeck.topics.catalogue import Cleanup, Spread, topic

_AFTER_US = 60 * MINUTE_US
"""Time after a session's end in which an account still acts."""

_OF_DAY = re.compile(r"\d{1,2}:\d\d(:\d\d)?")

Body = dict[str, Any]


@dataclass(frozen=True)
class SymbolTape:
    """One symbol's session. ``labels``: the last watermark of each topic that a decision waits for, None if
    it has none.

    ``universe`` is the newest one; ``recording`` holds the symbol's and the accounts' records.
    """

    way: Way
    symbol: str
    session: Session
    recording: Recording
    labels: dict[str, int | None]
    universe: Body | None

    @property
    def minutes(self) -> range:
        """The left edges of the session's finished minutes."""
        label = self.labels[self.way.head]
        end = self.session.close if label is None else min(self.session.close, label + MINUTE_US)
        return range(self.session.open, max(end, self.session.open), MINUTE_US)

    def behind(self, t: int, name: str) -> str | None:
        """The first topic that has not finished what the record of ``name`` needs for the bar at ``t``; None
        if there is none. Inputs declared absent are not waited for."""
        waits, absent = self.way.waits(name), self._absent.get(t - MINUTE_US, ())
        for each in self.way.waited:
            joined = [how.joined for how in waits.get(each, ()) if how.unless.isdisjoint(absent)]
            needed = t - all(joined) * MINUTE_US  # a join is read up to the minute before
            label = self.labels[each]
            if joined and (label is None or label < needed):
                return each
        return None

    @cached_property
    def _absent(self) -> dict[int, tuple[str, ...]]:
        """The inputs declared absent after each watermark."""
        found: dict[int, tuple[str, ...]] = {}
        label: int | None = None
        for each in map(readable_punctuation, self.recording[self.way.head].messages):
            if isinstance(each, Watermark):
                label = each.label
            elif each is not None and each.label == label:
                found.setdefault(label, each.absent)
        return found


def newest_session(lookup: Lookup, calendar: Calendar) -> Session:
    """The session of the newest watermark of ``bars``, or the last one before it.

    Raises Fatal for an empty tape.
    """
    parts = [("bars", partition) for partition in range(lookup.layout.partitions("bars"))]
    labels = [label for part in parts if (label := lookup.last_label(part)) is not None]
    if not labels:
        raise Fatal("nothing was played into bars yet", remedy="play a tape with `tape play`")
    date = calendar.session_date(max(labels))
    session = calendar.session_on(date)
    if session is None or session.open > max(labels):
        session = calendar.previous(date)
    if session is None:
        raise Fatal("the tape is before the start of the calendar", value=max(labels))
    return session


def is_of_day(text: str) -> bool:
    """Whether ``text`` is a time of day, such as 10:42."""
    return _OF_DAY.fullmatch(text) is not None


def time_of(text: str, newest: Callable[[], Session]) -> int:
    """``text`` in UTC microseconds: ISO 8601 with its zone, or a New York time of day on the newest session.

    Raises Fatal for anything else.
    """
    remedy = "write 10:42 for New York on the newest session, or 2026-02-17T10:42-05:00"
    try:
        if is_of_day(text):
            of_day = time.fromisoformat(text if text[2] == ":" else f"0{text}")
            return micros(datetime.combine(iso_date(newest().date), of_day, tzinfo=NEW_YORK))
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Fatal("this is not a time", value=text, remedy=remedy) from None
    if moment.tzinfo is None:
        raise Fatal("this time has no zone", value=text, remedy=remedy)
    return micros(moment)


def read_symbol(
    topology: Topology, lookup: Lookup, symbol: str, session: Session, *, config: Config, calendar: Calendar
) -> SymbolTape:
    """The records of ``symbol`` and the session, and of every configured account."""
    way, layout, until = Way(topology), lookup.layout, session.close + _AFTER_US
    before = calendar.previous(session.date)
    since = before.open if before else session.open
    messages: list[Message] = []
    for name in dict.fromkeys(name for spec in topology.market for name in (*spec.inputs, *spec.outputs)):
        if topic(name).of_symbol:
            part = (name, layout.partition(name, {"symbol": symbol}))
            start = session.open if name in way.spine else since
            messages += lookup.between(part, start, until, symbol.encode())
        elif topic(name).spread is Spread.ONE and topology.writer(name) is not None:
            messages += lookup.between((name, 0), since, until)
        elif topic(name).spread is Spread.ONE:
            messages += _of_source(lookup, name, since, until)
    messages += _of_accounts(topology, lookup, session, config)
    home = layout.partition(way.head, {"symbol": symbol}) % layout.partitions(dead_letters.TOPIC)
    messages += lookup.between((dead_letters.TOPIC, home), session.open, until)
    recording = of_messages(topology, layout, [messages])
    universe = max(recording.bodies("universe"), key=lambda body: body["version"], default=None)
    parts = {name: (name, layout.partition(name, {topic(name).part or "": symbol})) for name in way.waited}
    labels = {name: lookup.last_label(part) for name, part in parts.items()}
    return SymbolTape(way, symbol, session, recording, labels, universe)


def _of_source(lookup: Lookup, name: str, since: int, until: int) -> Iterator[Message]:
    """A source without symbols: everything that is valid until it is replaced, however old."""
    if topic(name).cleanup is Cleanup.COMPACT:
        return lookup.messages((name, 0), *lookup.ends((name, 0)))
    return lookup.between((name, 0), since, until)


def _of_accounts(topology: Topology, lookup: Lookup, session: Session, config: Config) -> list[Message]:
    """The accounts' inputs, decisions and actions: their stage's topics partitioned by account."""
    found: list[Message] = []
    for name in (name for spec in topology.accounts for name in (*spec.inputs, *spec.outputs)):
        by = topic(name).part
        if topic(name).spread is Spread.ACCOUNT and by is not None:
            homes = {lookup.layout.partition(name, {by: each.account_id}) for each in config.accounts}
            for partition in sorted(homes):
                found += lookup.between((name, partition), session.open, session.close + _AFTER_US)
    return found


def outside_universe(tape: SymbolTape) -> str:
    """A note that the symbol is not in the universe, with the nearest name.

    Empty if it is, or without a universe.
    """
    if tape.universe is None:
        return ""
    known = [member["symbol"] for member in tape.universe["members"]]
    if tape.symbol in known:
        return ""
    near = difflib.get_close_matches(tape.symbol, known, n=1, cutoff=0.0)
    nearest = f"; the nearest name is {near[0]}" if near else ""
    version = f"version {tape.universe['version']}, {len(known)} symbols"
    return f"{tape.symbol} is not in the universe ({version}){nearest}"
