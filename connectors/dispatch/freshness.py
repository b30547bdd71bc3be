"""The newest bar and feature of each symbol, as seen on the topics: what freshness gates are judged on."""

from tapedeck.connectors.dispatch.inbox import Newest
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.topics.catalogue import WATERMARK_KEY

NAMES = ("bars", "features")


class NewestSeen:
    """Fed with messages of ``bars`` and ``features``. Nothing is decoded: the record key is the symbol and
    Kafka's timestamp is the event time, one minute after the left edge.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}

    def see(self, message: Message) -> None:
        """Note one message; watermarks say nothing about a symbol."""
        if message.key is not None and message.key != WATERMARK_KEY:
            at = (message.topic, message.key.decode(errors="replace"))
            self._seen[at] = max(message.timestamp * 1000 - MINUTE_US, self._seen.get(at, 0))

    def of(self, symbol: str, known_t: int) -> Newest:
        """The newest left edges of ``symbol``; a signal's own bar at ``known_t`` counts as seen."""
        bar, feature = (max(self._seen.get((name, symbol), 0), known_t) for name in NAMES)
        return Newest(bar, feature)
