"""The watchlist's rule: who enters, who leaves, in which order (the steps of docs/domain.md#watchlist)."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from tapedeck.streams.config.groups import Watchlist
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.watchlist.reasons import WatchlistReason

SCORED = "SCORED"
BACKFILL = "BACKFILL"


class Scored(NamedTuple):
    """A symbol's newest score (None = not scored) and the age of its newest bar in seconds."""

    score: float | None
    bar_age_s: float


class Member(NamedTuple):
    """A place on the list until the next evaluation. Times are microseconds.

    ``entered_at`` is None for a back-fill, which has neither retention nor clock.
    """

    flag: str
    entered_at: int | None
    below_since: int | None


class Place(NamedTuple):
    """One line of the ranked list."""

    symbol: str
    rank: int
    score: float | None
    flag: str
    entered_at: int | None
    reason: WatchlistReason


class Evaluation(NamedTuple):
    """The list after one evaluation, what changed, and where every symbol stands."""

    members: dict[str, Member]
    places: list[Place]
    events: list[tuple[str, WatchlistReason]]
    standing: dict[str, WatchlistReason]


def evaluate(
    config: Watchlist,
    now: int,
    universe: Collection[str],
    scored: Mapping[str, Scored],
    before: Mapping[str, Member],
) -> Evaluation:
    """The watchlist at ``now`` from the list ``before`` it.

    ``standing`` has one reason for each symbol of universe, ``scored`` and ``before``; ``events`` only
    what changed at ``now``, by symbol.
    """
    return _Round(config, now, frozenset(universe), scored, before).run()


class _Round:
    """One evaluation: the steps share these dictionaries and run once, in order."""

    def __init__(
        self,
        config: Watchlist,
        now: int,
        universe: frozenset[str],
        scored: Mapping[str, Scored],
        before: Mapping[str, Member],
    ) -> None:
        self.config = config
        self.now = now
        self.universe = universe
        self.scored = scored
        self.before = before
        self.kept: dict[str, Member] = {}
        self.events: dict[str, WatchlistReason] = {}
        self.barred: set[str] = set()

    def run(self) -> Evaluation:
        self._remove()
        self._run_clocks()
        entering = self._candidates()
        self._cap(entering)
        self._backfill()
        places = self._rank()
        members = {place.symbol: self.kept[place.symbol] for place in places}
        symbols = sorted(self.universe | set(self.scored) | set(self.before))
        standing = {symbol: self._standing(symbol) for symbol in symbols}
        return Evaluation(members, places, sorted(self.events.items()), standing)

    def _score(self, symbol: str) -> float | None:
        entry = self.scored.get(symbol)
        return None if entry is None else entry.score

    def _at_least(self, symbol: str, limit: float) -> bool:
        score = self._score(symbol)
        return score is not None and score >= limit

    def _is_fresh(self, symbol: str) -> bool:
        entry = self.scored.get(symbol)
        return entry is not None and entry.bar_age_s <= self.config.fresh_s

    def _best_first(self, symbols: Iterable[str]) -> list[str]:
        def order(symbol: str) -> tuple[bool, float, str]:
            score = self._score(symbol)
            return (score is None, -(score or 0.0), symbol)

        return sorted(symbols, key=order)

    def _leave(self, symbol: str, reason: WatchlistReason) -> None:
        self.events[symbol] = reason
        self.barred.add(symbol)
        self.kept.pop(symbol, None)

    def _remove(self) -> None:
        for symbol, member in self.before.items():
            if symbol not in self.universe:
                self._leave(symbol, WatchlistReason.UNIVERSE_REMOVED)
            elif not self._is_fresh(symbol):
                self._leave(symbol, WatchlistReason.STALE)
            elif member.flag == SCORED:
                self.kept[symbol] = member

    def _run_clocks(self) -> None:
        for symbol, member in list(self.kept.items()):
            if self._at_least(symbol, self.config.exit):
                self.kept[symbol] = member._replace(below_since=None)
                continue
            since = self.now if member.below_since is None else member.below_since
            self.kept[symbol] = member._replace(below_since=since)
            long_below = self.now - since >= self.config.below_min * MINUTE_US
            if long_below and not self._in_retention(member):
                self._leave(symbol, WatchlistReason.SCORE_BELOW_EXIT)

    def _in_retention(self, member: Member) -> bool:
        entered = member.entered_at
        return entered is not None and self.now - entered < self.config.retention_min * MINUTE_US

    def _candidates(self) -> list[str]:
        return [
            symbol
            for symbol in self.scored
            if symbol in self.universe
            and symbol not in self.kept
            and symbol not in self.barred
            and self._is_fresh(symbol)
            and self._at_least(symbol, self.config.enter)
        ]

    def _cap(self, entering: list[str]) -> None:
        protected = [symbol for symbol, member in self.kept.items() if self._in_retention(member)]
        rest = [symbol for symbol in self.kept if symbol not in protected] + entering
        for place, symbol in enumerate(self._best_first(protected) + self._best_first(rest)):
            is_new = symbol not in self.kept
            if place < self.config.cap:
                if is_new:
                    self.kept[symbol] = Member(SCORED, self.now, None)
                    self.events[symbol] = WatchlistReason.ENTER_SCORE
            else:
                self._leave(symbol, WatchlistReason.NOT_SELECTED_CAP if is_new else WatchlistReason.CAPPED)

    def _backfill(self) -> None:
        chosen: set[str] = set()
        if self.config.backfill_enabled:
            free = min(self.config.backfill_to, self.config.cap) - len(self.kept)
            open_symbols = [
                symbol
                for symbol in self.scored
                if symbol in self.universe
                and symbol not in self.kept
                and symbol not in self.barred
                and self._is_fresh(symbol)
                and self._at_least(symbol, self.config.backfill_min)
            ]
            chosen = set(self._best_first(open_symbols)[: max(free, 0)])
        for symbol in sorted(chosen):
            self.kept[symbol] = Member(BACKFILL, None, None)
            if symbol not in self.before:
                self.events[symbol] = WatchlistReason.BACKFILL
        for symbol, member in self.before.items():
            if member.flag == BACKFILL and symbol not in self.kept and symbol not in self.barred:
                self._leave(symbol, WatchlistReason.BACKFILL_ENDED)

    def _rank(self) -> list[Place]:
        scored = self._best_first(s for s, member in self.kept.items() if member.flag == SCORED)
        filled = self._best_first(s for s, member in self.kept.items() if member.flag == BACKFILL)
        places = []
        for rank, symbol in enumerate(scored + filled, start=1):
            member = self.kept[symbol]
            reason = WatchlistReason.ENTER_SCORE if member.flag == SCORED else WatchlistReason.BACKFILL
            places.append(Place(symbol, rank, self._score(symbol), member.flag, member.entered_at, reason))
        return places

    def _standing(self, symbol: str) -> WatchlistReason:
        if symbol in self.kept:
            is_scored = self.kept[symbol].flag == SCORED
            return WatchlistReason.ENTER_SCORE if is_scored else WatchlistReason.BACKFILL
        if symbol in self.events:
            return self.events[symbol]
        if symbol not in self.universe:
            return WatchlistReason.NOT_IN_UNIVERSE
        if not self._is_fresh(symbol):
            return WatchlistReason.NO_FRESH_BAR
        if self._score(symbol) is None:
            return WatchlistReason.NOT_SCORED
        return WatchlistReason.SCORE_BELOW_ENTRY
