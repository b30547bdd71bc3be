"""Which bars are known: the identity of a bar is (feed, symbol, t, revision), and a revision is a counter."""

from collections import Counter
from collections.abc import Iterable

from tapedeck.connectors.alpaca.market.frames import Bar
from tapedeck.connectors.alpaca.market.steps import Body
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Session

_Values = tuple[float, float, float, float, float]


class Book:
    """The newest revision of every bar of one feed since ``begins``."""

    def __init__(self, begins: int) -> None:
        self.begins = begins
        self._known: dict[str, dict[int, tuple[int, _Values]]] = {}
        self._count: Counter[int] = Counter()
        self.newest: int | None = None

    def stand(self, bodies: Iterable[Body]) -> None:
        """These records of ``bars`` are written already."""
        for body in bodies:
            values = tuple(body[name] for name in ("open", "high", "low", "close", "volume"))
            of_symbol = self._known.setdefault(body["symbol"], {})
            revision, _ = of_symbol.get(body["t"], (-1, values))
            if body["t"] >= self.begins and body["revision"] > revision:
                self._put(body["symbol"], body["t"], body["revision"], values)

    def take(self, bar: Bar) -> int | None:
        """The revision under which a bar is new; None for a repeat of what is known."""
        values = (bar.open, bar.high, bar.low, bar.close, bar.volume)
        known = self._known.get(bar.symbol, {}).get(bar.t)
        if known is not None and known[1] == values:
            return None
        revision = 0 if known is None else known[0] + 1
        self._put(bar.symbol, bar.t, revision, values)
        return revision

    def has(self, symbol: str, t: int) -> bool:
        """Whether the minute's bar is known."""
        return t in self._known.get(symbol, ())

    def count(self, t: int) -> int:
        """How many symbols have a bar of this minute."""
        return self._count[t]

    def minutes(self, symbol: str, session: Session, until: int) -> int:
        """How many minutes of ``session`` before ``until`` have a bar."""
        end = min(session.close, until)
        return sum(1 for t in self._known.get(symbol, ()) if session.open <= t < end)

    def forget(self, before: int) -> None:
        """Drop what is older."""
        self.begins = max(self.begins, before)
        for symbol, known in self._known.items():
            self._known[symbol] = {t: value for t, value in known.items() if t >= before}
        self._count = Counter({t: count for t, count in self._count.items() if t >= before})

    def _put(self, symbol: str, t: int, revision: int, values: _Values) -> None:
        of_symbol = self._known.setdefault(symbol, {})
        if t not in of_symbol:
            self._count[t] += 1
        of_symbol[t] = (revision, values)
        self.newest = t if self.newest is None else max(self.newest, t)


def expected_minutes(session: Session, until: int) -> int:
    """How many minutes of ``session`` have ended before ``until``."""
    return max(0, min(session.close, until) - session.open) // MINUTE_US
