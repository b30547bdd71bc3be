"""What the log holds of one symbol's session: read by the time index, whatever the length of the tape."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import MINUTE_US, Message
from tapedeck.streams.sessions import NEW_YORK, Calendar, Session, iso_date, micros
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.lookup import Lookup
from tapedeck.tape.recording import Recording, of_messages
from tapedeck.topics.catalogue import Spread, topic

PIPELINE = ("bars", "features", "scores", "watchlist", "memberships", "decisions")
"""The topics whose watermarks say how far each stage is, in the order in which they wait for each other."""
_SYMBOL_TOPICS = ("bars", "bars.late", "features", "memberships", "decisions", "signals", "revision_audit")
_ACCOUNT_TOPICS = ("account_inbox", "proposals", "orders", "executions", "positions")
_AFTER_US = 60 * MINUTE_US
"""What an account still does after a session's end."""

_OF_DAY = re.compile(r"\d{1,2}:\d\d(:\d\d)?")

Body = dict[str, Any]


@dataclass(frozen=True)
class SymbolTape:
    """One symbol's session. ``labels``: the last watermark of each topic of the pipeline, None without one.

    ``universe`` is the newest one; ``recording`` holds the symbol's and the accounts' records.
    """

    symbol: str
    session: Session
    recording: Recording
    labels: dict[str, int | None]
    universe: Body | None

    @property
    def minutes(self) -> range:
        """The left edges of the session's minutes that the tape has ended."""
        label = self.labels["bars"]
        end = self.session.close if label is None else min(self.session.close, label + MINUTE_US)
        return range(self.session.open, max(end, self.session.open), MINUTE_US)

    def behind(self, t: int) -> str | None:
        """The first topic that has not ended what the minute of the bar at ``t`` needs; None without one."""
        for name in PIPELINE:
            joined = name in ("scores", "watchlist", "memberships")  # read up to the minute before
            label = self.labels[name]
            if label is None or label < t - joined * MINUTE_US:
                return name
        return None


def newest_session(lookup: Lookup, calendar: Calendar) -> Session:
    """The session that the newest watermark of ``bars`` lies in or after. Raises Fatal for an empty tape."""
    parts = [("bars", partition) for partition in range(lookup.layout.partitions("bars"))]
    labels = [label for part in parts if (label := lookup.last_label(part)) is not None]
    if not labels:
        raise Fatal("nothing was played into bars yet", remedy="play a tape with `tape play`")
    date = calendar.session_date(max(labels))
    session = calendar.session_on(date)
    if session is None or session.open > max(labels):
        session = calendar.previous(date)
    if session is None:
        raise Fatal("the tape lies before the calendar", value=max(labels))
    return session


def is_of_day(text: str) -> bool:
    """Whether ``text`` has the form of a time of day, such as 10:42."""
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
        raise Fatal("this is no time", value=text, remedy=remedy) from None
    if moment.tzinfo is None:
        raise Fatal("this time has no zone, so it is no moment", value=text, remedy=remedy)
    return micros(moment)


def read_symbol(
    topology: Topology, lookup: Lookup, symbol: str, session: Session, *, config: Config, calendar: Calendar
) -> SymbolTape:
    """The records of ``symbol`` and the session, and of every configured account."""
    before = calendar.previous(session.date)
    since = before.open if before else session.open
    messages: list[Message] = []
    for name in _SYMBOL_TOPICS:
        part = (name, lookup.layout.partition(name, {"symbol": symbol}))
        start = since if name in ("memberships", "signals") else session.open
        messages += lookup.between(part, start, session.close + _AFTER_US, symbol.encode())
    messages += lookup.between(("scores", 0), since, session.close + _AFTER_US, symbol.encode())
    messages += lookup.between(("watchlist", 0), since, session.close + _AFTER_US)
    messages += lookup.messages(("universe", 0), *lookup.ends(("universe", 0)))
    messages += _of_accounts(lookup, session, config)
    home = lookup.layout.partition("bars", {"symbol": symbol})
    dead = ("dead_letters", home % lookup.layout.partitions("dead_letters"))
    messages += lookup.between(dead, session.open, session.close + _AFTER_US)
    recording = of_messages(topology, lookup.layout, [messages])
    universe = max(recording.bodies("universe"), key=lambda body: body["version"], default=None)
    labels = {name: lookup.last_label((name, _home(lookup, name, symbol))) for name in PIPELINE}
    return SymbolTape(symbol, session, recording, labels, universe)


def _home(lookup: Lookup, name: str, symbol: str) -> int:
    spread = topic(name).spread
    return lookup.layout.partition(name, {"symbol": symbol}) if spread is Spread.SYMBOL else 0


def _of_accounts(lookup: Lookup, session: Session, config: Config) -> list[Message]:
    found: list[Message] = []
    for name in _ACCOUNT_TOPICS:
        homes = {lookup.layout.partition(name, {"account_id": each.account_id}) for each in config.accounts}
        for partition in sorted(homes):
            found += lookup.between((name, partition), session.open, session.close + _AFTER_US)
    return found


def outside_universe(tape: SymbolTape) -> str:
    """That the symbol is not in the universe, with the nearest name; empty where it is, or there is none."""
    if tape.universe is None:
        return ""
    known = [member["symbol"] for member in tape.universe["members"]]
    if tape.symbol in known:
        return ""
    near = difflib.get_close_matches(tape.symbol, known, n=1, cutoff=0.0)
    nearest = f"; the nearest name is {near[0]}" if near else ""
    version = f"version {tape.universe['version']}, {len(known)} symbols"
    return f"{tape.symbol} is not in the universe ({version}){nearest}"
