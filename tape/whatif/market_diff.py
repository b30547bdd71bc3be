"""The differences of the market part: places on the watchlist and decisions, with their causes."""

from collections import defaultdict
from functools import partial

from tape.whatif.causes import causes_of, needed_of
from tape.whatif.changes import Between
from tape.whatif.diff import Difference, Part
from tape.whatif.market import Market
from tape.whatif.tables import Key


class MarketDiff:
    """``places`` by (symbol, evaluation) and ``decisions`` by key, each in the order of time."""

    def __init__(self, market: Market, between: Between) -> None:
        self._market, self._units = market, tuple(between.units)
        self.places: dict[tuple[str, int], Difference] = {}
        self.decisions: dict[Key, Difference] = {}
        self._of_symbol: dict[str, list[Difference]] = defaultdict(list)
        self._compare_places()
        self._compare_decisions()

    def _compare_places(self) -> None:
        market = self._market
        newest: dict[str, Difference] = {}
        last: Difference | None = None
        earlier: Difference | None = None
        for symbol, at in market.recorded_places.differing(market.again_places):
            was = market.recorded_places.outcome(symbol, at)
            now = market.again_places.outcome(symbol, at)
            causes = causes_of(self._units, now, partial(self._place_alone, symbol, at))
            if last is not None and last.at < at:
                earlier = last
            # a place lost or won may be another symbol's, where the list has a cap
            follows = None if causes else newest.get(symbol, earlier)
            made = Difference(
                part=Part.WATCHLIST, at=at, symbol=symbol, was=was, now=now, causes=causes, follows=follows
            )
            self.places[symbol, at] = newest[symbol] = last = made

    def _place_alone(self, symbol: str, at: int, units: frozenset[str]) -> object:
        if not units:
            return self._market.recorded_places.outcome(symbol, at)
        return self._market.place_alone(units, symbol, at)

    def _compare_decisions(self) -> None:
        market = self._market
        for key in market.recorded.differing(market.again):
            was, now = market.recorded.outcome(key), market.again.outcome(key)
            causes = causes_of(self._units, now, partial(market.decide_alone, key))
            made = Difference(
                part=Part.DECISION,
                at=market.recorded.event_time(key) or market.again.event_time(key) or key.t,
                symbol=key.symbol,
                subject=key.feed,
                was=was,
                now=now,
                causes=causes,
                follows=None if causes else self._followed(key),
                needs=() if causes else needed_of(self._units, now, partial(market.decide_after, key)),
            )
            self.decisions[key] = made
            self._of_symbol[key.symbol].append(made)

    def _followed(self, key: Key) -> Difference | None:
        """The earlier difference that changed the state that ``key`` is decided on."""
        market = self._market
        if self._units and market.decide_listed(key) == market.again.outcome(key):
            return self._place_before(key)
        before, after = market.recorded.context(key), market.again.context(key)
        bars = {each.last_signal for each in (before, after) if each and each.last_signal is not None}
        signals = [self.decisions.get(key._replace(t=t)) for t in sorted(bars, reverse=True)]
        changed = [each for each in signals if each is not None]
        if changed and (before is None or after is None or before.last_signal != after.last_signal):
            return changed[0]
        earlier = self._of_symbol[key.symbol]
        return earlier[0] if earlier else self._place_before(key)

    def _place_before(self, key: Key) -> Difference | None:
        """The newest difference in the symbol's place that the decision saw."""
        context = self._market.again.context(key) or self._market.recorded.context(key)
        until = context.now if context else key.t
        for places in (self._market.again_places, self._market.recorded_places):
            found = places.in_force(key.symbol, until)
            if found is not None and (key.symbol, found[0]) in self.places:
                return self.places[key.symbol, found[0]]
        mine = [each for (symbol, at), each in self.places.items() if symbol == key.symbol and at <= until]
        return mine[-1] if mine else None
