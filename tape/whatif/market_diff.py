"""The differences of the market part: places on the watchlist and decisions, with their causes."""

from collections import defaultdict
from functools import partial

from tapedeck.tape.whatif.causes import causes_of, needed_of
from tapedeck.tape.whatif.changes import Between
from tapedeck.tape.whatif.diff import Difference, Part
from tapedeck.tape.whatif.market import Market
from tapedeck.tape.whatif.tables import Key


class MarketDiff:
    """``places`` by (symbol, evaluation) and ``decisions`` by key, each in time order."""

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
            causes = causes_of(self._units, now, partial(market.place_alone, symbol, at))
            if last is not None and last.at < at:
                earlier = last
            # on a capped list, a place lost or won may belong to another symbol
            follows = None if causes else newest.get(symbol, earlier)
            made = Difference(
                part=Part.WATCHLIST, at=at, symbol=symbol, was=was, now=now, causes=causes, follows=follows
            )
            self.places[symbol, at] = newest[symbol] = last = made

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
        """The earlier difference that changed the state for ``key``; None if none did."""
        market = self._market
        before = market.recorded.context(key) or market.again.context(key)
        after = market.again.context(key) or before
        if before is None or after is None:
            return None
        moved = self._is_moved(key.symbol, before.now)
        if moved and market.decide_listed(key) == market.again.outcome(key):
            return self._place_before(key.symbol, before.now)
        if before != after:
            bars = sorted({c.last_signal for c in (before, after) if c.last_signal is not None}, reverse=True)
            signals = (self.decisions.get(key._replace(t=t)) for t in bars)
            earlier = self._of_symbol[key.symbol]
            return next((each for each in signals if each), earlier[0] if earlier else None)
        return self._place_before(key.symbol, before.now) if moved else None

    def _is_moved(self, symbol: str, now: int) -> bool:
        market = self._market
        return market.recorded_places.is_listed(symbol, now) != market.again_places.is_listed(symbol, now)

    def _place_before(self, symbol: str, now: int) -> Difference | None:
        """The newest difference in the symbol's place before a decision at ``now``."""
        for places in (self._market.again_places, self._market.recorded_places):
            found = places.in_force(symbol, now)
            if found is not None and (symbol, found[0]) in self.places:
                return self.places[symbol, found[0]]
        mine = [each for (name, at), each in self.places.items() if name == symbol and at <= now]
        return mine[-1] if mine else None
