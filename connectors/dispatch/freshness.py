"""The newest bar and feature of each symbol, as seen on the topics: what freshness gates are judged on.

With them, what counts of the topics that are optional: the volatility index, and coming earnings.
"""

from collections.abc import Iterable
from contextlib import suppress

from tapedeck.connectors.dispatch.inbox import Body, Newest
from tapedeck.connectors.outlook.records import TOPICS, Known, Outlook
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.topics.catalogue import WATERMARK_KEY

BARS = "bars"
NAMES = (BARS, "features")
FOLLOWED = (*NAMES, *TOPICS)
"""What a dispatcher looks at without a group: of NAMES the newest records, of the others every one."""


class NewestSeen:
    """Fed with messages of FOLLOWED. No bar or feature is decoded before it is asked for: the record key is
    the symbol and Kafka's timestamp is the event time, one minute after the left edge.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}
        self._bars: dict[str, bytes] = {}
        self._outlook = Outlook()

    def see(self, message: Message) -> None:
        """Note one message; watermarks say nothing about a symbol."""
        if message.topic in TOPICS:
            self._outlook.see(message)
        elif message.key is not None and message.key != WATERMARK_KEY:
            at = (message.topic, message.key.decode(errors="replace"))
            edge = message.timestamp * 1000 - MINUTE_US
            if message.topic == BARS and message.value is not None and edge >= self._seen.get(at, 0):
                self._bars[at[1]] = message.value
            self._seen[at] = max(edge, self._seen.get(at, 0))

    def bars(self, symbols: Iterable[str]) -> dict[str, Body]:
        """The newest bar of each of ``symbols`` that has one."""
        found = {}
        for symbol in symbols:
            with suppress(DeadLetter):  # the features stage reports what cannot be read
                if symbol in self._bars:
                    found[symbol] = decode(BARS, self._bars[symbol])
        return found

    def known(self, now: int, symbols: Iterable[str]) -> Known:
        """The value of the index, and the earnings of ``symbols``, that count at ``now``."""
        return self._outlook.at(now, symbols)

    def of(self, symbol: str, known_t: int) -> Newest:
        """The newest left edges of ``symbol``; a signal's own bar at ``known_t`` counts as seen."""
        bar, feature = (max(self._seen.get((name, symbol), 0), known_t) for name in NAMES)
        return Newest(bar, feature)
