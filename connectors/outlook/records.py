"""Records of ``regime`` and ``earnings``, and which of them counts at a moment."""

import heapq
from collections.abc import Iterable
from enum import StrEnum
from threading import Lock
from typing import Any, NamedTuple

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import new_york_hour

Body = dict[str, Any]
REGIME, EARNINGS = TOPICS = ("regime", "earnings")


class ReportTime(StrEnum):
    """When on its date a company reports. UNKNOWN: the date alone is known; NONE: it never reports."""

    BEFORE_OPEN = "BEFORE_OPEN"
    IN_SESSION = "IN_SESSION"
    AFTER_CLOSE = "AFTER_CLOSE"
    UNKNOWN = "UNKNOWN"
    NONE = "NONE"


def regime(*, at: int, available_at: int, value: float, origin: str) -> Body:
    """The index stood at ``value`` at ``at``, as anybody could know from ``available_at`` on (UTC micros)."""
    return {
        "event_id": event_id(REGIME, (at, available_at)),
        "event_time": at,
        "date": new_york_hour(at)[0],
        "value": value,
        "available_at": available_at,
        "origin": origin,
    }


def earnings(
    *, symbol: str, report_date: int | None, report_time: ReportTime, available_at: int, origin: str
) -> Body:
    """The next report of ``symbol``: ``report_date`` in days, known from ``available_at`` (UTC micros) on."""
    return {
        "event_id": event_id(EARNINGS, (symbol, available_at)),
        "event_time": available_at,
        "symbol": symbol,
        "report_date": report_date,
        "report_time": report_time.value,
        "available_at": available_at,
        "origin": origin,
    }


def fact_of(body: Body) -> Body:
    """What a record says, whoever brought it."""
    return {name: content for name, content in body.items() if name != "origin"}


class Known(NamedTuple):
    """What counts at a moment.

    ``regime``: the newest value of the index, None without one. ``earnings``: the newest record of each
    symbol that was asked for, None for one that has none. ``fed``: whether any symbol has one.
    """

    regime: Body | None
    earnings: dict[str, Body | None]
    fed: bool


class _Newest:
    """The newest of some records that count, and those that do not count yet."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Body]] = []
        self._seen = 0
        self._newest: Body | None = None

    def see(self, body: Body) -> None:
        self._seen += 1
        heapq.heappush(self._waiting, (body["available_at"], self._seen, body))

    def at(self, now: int) -> Body | None:
        """A value that was measured later is newer, and so is a later correction of it."""
        while self._waiting and self._waiting[0][0] <= now:
            body = heapq.heappop(self._waiting)[2]
            if self._newest is None or _age(body) > _age(self._newest):
                self._newest = body
        return self._newest


def _age(body: Body) -> tuple[int, int]:
    return body["event_time"], body["available_at"]


class Outlook:
    """The records that were read, and those of them that count. A record counts from its own available time.

    Fed with messages in any order, from any thread. Unreadable ones are passed over: the sink reports them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._regime = _Newest()
        self._earnings: dict[str, _Newest] = {}
        self._fed = False

    def see(self, message: Message) -> None:
        """Note one message of ``regime`` or ``earnings``."""
        try:
            body = decode(message.topic, message.value)
        except DeadLetter:
            return
        with self._lock:
            held = self._regime
            if message.topic == EARNINGS:
                held = self._earnings.setdefault(body["symbol"], _Newest())
            held.see(body)

    def at(self, now: int, symbols: Iterable[str]) -> Known:
        """What counts at ``now``, UTC microseconds, which must not go back."""
        with self._lock:
            self._fed = self._fed or any(each.at(now) is not None for each in self._earnings.values())
            found = {symbol: self._earnings.get(symbol) for symbol in symbols}
            known = {symbol: None if each is None else each.at(now) for symbol, each in found.items()}
            return Known(self._regime.at(now), known, self._fed)
