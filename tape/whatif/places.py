"""Each symbol's place on the watchlist by evaluation, with one day in memory."""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapedeck.streams.blocks import Source
from tapedeck.tape.whatif.outcomes import MembershipOutcome
from tapedeck.tape.whatif.spill import DAY_US, ByDay
from tapedeck.tape.whatif.tables import Names, pieces_of

_PLACE = np.dtype([(name, np.int64) for name in ("symbol", "at", "on", "reason")])


class _Day:
    """One day's evaluations, each once: the first in log order."""

    def __init__(self, names: Names, rows: Any) -> None:
        self.found: dict[str, dict[int, MembershipOutcome]] = {}
        for symbol, at, on, reason in rows.tolist():
            mine = self.found.setdefault(names.text(symbol) or "", {})
            mine.setdefault(at, MembershipOutcome(bool(on), names.text(reason) or ""))
        self.times = {symbol: sorted(places) for symbol, places in self.found.items()}

    def at(self, symbol: str, at: int) -> MembershipOutcome | None:
        return self.found.get(symbol, {}).get(at)


class Places:
    """The places of one run, from its topic ``name``."""

    def __init__(self, source: Source, name: str) -> None:
        names = Names()
        self._kept = ByDay(_PLACE, lambda rows: _Day(names, rows))
        self._days: dict[str, list[int]] = defaultdict(list)
        for _, columns, _ in pieces_of(source, name):
            rows = np.zeros(len(columns.ints["event_time"]), dtype=_PLACE)
            rows["symbol"], rows["reason"] = names.of(columns, "symbol"), names.of(columns, "reason")
            rows["at"], rows["on"] = columns.ints["event_time"], columns.ints["on_watchlist"]
            self._kept.add(rows["at"], rows)
            self._note(names, rows)

    def _note(self, names: Names, rows: Any) -> None:
        """Remember on which days a symbol was evaluated."""
        pairs = np.unique(np.stack([rows["symbol"], rows["at"] // DAY_US], axis=1), axis=0)
        for symbol, day in pairs.tolist():
            mine = self._days[names.text(symbol) or ""]
            if day not in mine:
                insort(mine, day)

    def outcome(self, symbol: str, at: int) -> MembershipOutcome | None:
        """The result of the evaluation at ``at``; None if there was none."""
        return self._kept.day(at // DAY_US).at(symbol, at)

    def in_force(self, symbol: str, now: int) -> tuple[int, MembershipOutcome] | None:
        """The newest evaluation up to ``now``, which is what a decision at ``now`` is joined with."""
        days = self._days.get(symbol, [])
        last = bisect_right(days, now // DAY_US)
        for each in reversed(days[max(0, last - 2) : last]):  # its own day may start later
            day = self._kept.day(each)
            at = bisect_right(day.times[symbol], now) - 1
            if at >= 0:
                time = day.times[symbol][at]
                return time, day.found[symbol][time]
        return None

    def is_listed(self, symbol: str, now: int) -> bool:
        found = self.in_force(symbol, now)
        return found is not None and found[1].on_watchlist

    def counts(self, since: int, until: int) -> tuple[int, int]:
        """(places, those on the list) of evaluations in [since, until)."""
        places = listed = 0
        for day in map(self._kept.day, self._kept.days):
            found = [p for mine in day.found.values() for at, p in mine.items() if since <= at < until]
            places, listed = places + len(found), listed + sum(place.on_watchlist for place in found)
        return places, listed

    def differing(self, other: "Places") -> Iterator[tuple[str, int]]:
        """(symbol, evaluation) where the two differ, by time."""
        for number in sorted({*self._kept.days, *other._kept.days}) if self is not other else ():
            one, two = self._kept.day(number), other._kept.day(number)
            keys = {
                (symbol, at) for each in (one, two) for symbol, times in each.times.items() for at in times
            }
            unlike = (key for key in keys if one.at(*key) != two.at(*key))
            yield from sorted(unlike, key=lambda key: (key[1], key[0]))
