"""The surges stage: each completed hour of a symbol with mentions in it against the same hour of other days.

State per symbol: its mentions by hour (hours.py). The task's own value: the first hour that is not judged
yet, and the first that was seen from its beginning: what came before that is unknown, not zero.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, WATERMARK_CAUSE, Batch, Drop, Out, Row, Step, Values
from tapedeck.streams.sessions import Calendar, CalendarUnknown, hour_in_new_york, new_york_hour
from tapedeck.streams.stages.base import derived
from tapedeck.streams.stages.surges.hours import HOUR_US, STATE_VERSION, Hours, Mentioned, newest_hour
from tapedeck.streams.stages.surges.rule import surge

_OWN = struct.Struct("<BII")
_SLACK_DAYS = 2
"""A day in New York is not one in UTC, and may have 25 hours."""


class Own(NamedTuple):
    """The task's own value, in hours since the epoch."""

    next: int
    since: int

    def packed(self) -> bytes:
        return _OWN.pack(STATE_VERSION, *self)


class SurgesStage:
    """Trigger ``mentions``; a ``surges`` record per symbol and completed hour that has mentions."""

    dead_letter_reasons: frozenset[str] = frozenset()

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._config, self._calendar = config, calendar
        self._kept_hours = 24 * (config.surge.days + _SLACK_DAYS)
        self.baseline_hours = lru_cache(maxsize=64)(self._baseline_hours)

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        hours = Hours(state)
        drops = []
        for cause, row in enumerate(batch):
            reason = hours.apply(row.body, row.now // HOUR_US - self._kept_hours)
            if reason is not None:
                drops.append(Drop(cause, reason))
        return Step(hours.packed(), [], drops)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        now = watermark + MINUTE_US
        complete = now // HOUR_US
        if not values.own:
            return Step(Own(complete, -(-now // HOUR_US)).packed(), [], [])
        own = Own(*_OWN.unpack(values.own)[1:])
        if complete <= own.next:
            return Step(values.own, [], [])
        outs: list[Out] = []
        for key, state in values.items():
            if newest_hour(state) >= own.next:
                outs += self._judged(key.decode(), Hours(state), own, complete)
        return Step(own._replace(next=complete).packed(), outs, [])

    def _judged(self, symbol: str, hours: Hours, own: Own, complete: int) -> Iterator[Out]:
        for hour in hours.from_to(own.next, complete):
            found = hours.of(hour)
            if any(row.mentions for row in found):
                yield self._surge(symbol, hour, found, hours, own.since)

    def _surge(self, symbol: str, hour: int, found: list[Mentioned], hours: Hours, since: int) -> Out:
        before = [hours.of(each) for each in self.baseline_hours(hour) if each >= since]
        mentions, authors = (sum(row.mentions for row in found), sum(row.authors for row in found))
        history = [sum(row.mentions for row in rows) for rows in before]
        result = surge(mentions, authors, history, self._config.surge)
        body = {
            "event_time": (hour + 1) * HOUR_US,
            "symbol": symbol,
            "hour": hour * HOUR_US,
            "mentions": mentions,
            "authors": authors,
            "days": len(history),
            "baseline": result.baseline,
            "score": result.score,
            "level": result.level.value,
        }
        inputs = [row.event_id.hex() for rows in (found, *before) for row in rows]
        return derived(WATERMARK_CAUSE, "surges", body, self._config.digest, inputs)

    def _baseline_hours(self, hour: int) -> tuple[int, ...]:
        """The same New York hour of the days before that are of the same kind, newest first.

        A session day is compared with session days, another day with such days. A day without the hour, when
        the clocks go forward, is left out. Beyond the calendar there is no baseline.
        """
        date, of_day = new_york_hour(hour * HOUR_US)
        try:
            is_session = self._is_session(date)
            days = range(date - 1, date - 1 - self._config.surge.days, -1)
            alike = [day for day in days if self._is_session(day) == is_session]
        except CalendarUnknown:
            return ()
        starts = (hour_in_new_york(day, of_day) for day in alike)
        return tuple(start // HOUR_US for start in starts if start is not None)

    def _is_session(self, day: int) -> bool:
        return self._calendar.session_on(day) is not None
