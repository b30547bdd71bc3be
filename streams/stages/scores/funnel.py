"""What the scores stage counts for the funnel: (symbol, boundary) with a feature, and those with a score."""

from collections import defaultdict
from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Funnel, FunnelLine, Recorded, told
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.watchlist.reasons import WatchlistReason
from tapedeck.streams.watermarks import label_of


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    """In: at each boundary that ``features`` has completed, the symbols seen in it before."""
    seen: dict[int, set[str]] = defaultdict(set)
    ended: dict[int, int] = {}
    due = 0
    for message, body in recording["features"].entries:
        if body is not None and body["feed"] == config.bars.feed:
            seen[message.partition].add(body["symbol"])
        label = label_of(message.key, message.value, message.headers)
        if label is not None and label > ended.get(message.partition, label - 1):
            ended[message.partition] = label
            if calendar.is_boundary(label + MINUTE_US, config.watchlist.period_s):
                due += len(seen[message.partition])
    bodies = recording.bodies("scores")
    unscored = sum(body["watch_score"] is None for body in bodies)
    yield FunnelLine(
        stage="scores",
        unit="symbol and boundary",
        taken=due,
        given=len(bodies) - unscored,
        reasons=told({WatchlistReason.NOT_SCORED: unscored}),
    )


FUNNEL = Funnel(_lines)
