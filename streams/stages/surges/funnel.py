"""What the surges stage counts for the funnel: hours of a symbol with mentions in, judged ones out."""

from collections import Counter
from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Funnel, FunnelLine, Recorded, told
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.surges.hours import HOUR_US
from tapedeck.streams.stages.surges.reasons import Unjudged
from tapedeck.streams.watermarks import label_of


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    """In: each hour of a symbol that ever had mentions."""
    judged = {(body["symbol"], body["hour"]) for body in recording.bodies("surges")}
    first, now = _span(recording)
    at_end: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    ever: set[tuple[str, int]] = set()
    for body in recording.bodies("mentions"):
        place, as_of = (body["symbol"], body["hour"]), body["as_of"]
        if body["mentions"]:
            ever.add(place)
        if as_of <= body["hour"] + HOUR_US:
            known = at_end.setdefault(place, {})
            known[body["scope"]] = max(known.get(body["scope"], (0, 0)), (as_of, body["mentions"]))
    reasons: Counter[Unjudged] = Counter()
    for place in ever - judged:
        if place[1] + HOUR_US > now:
            reasons[Unjudged.OPEN] += 1
        elif place not in at_end or place[1] + HOUR_US <= first:
            reasons[Unjudged.LATE] += 1
        elif not any(mentions for _, mentions in at_end[place].values()):
            reasons[Unjudged.RETRACTED] += 1
    yield FunnelLine(
        stage="surges",
        unit="symbol and hour",
        taken=len(ever | judged),
        given=len(judged),
        reasons=told(reasons),
    )


def _span(recording: Recorded) -> tuple[int, int]:
    """The end of the first minute that ``mentions`` has ended, and of the last, in every partition."""
    firsts: dict[int, int] = {}
    lasts: dict[int, int] = {}
    for message, _ in recording["mentions"].entries:
        label = label_of(message.key, message.value, message.headers)
        if label is not None:
            firsts.setdefault(message.partition, label)
            lasts[message.partition] = max(label, lasts.get(message.partition, label))
    if not lasts:
        return 0, 0
    return min(firsts.values()) + MINUTE_US, min(lasts.values()) + MINUTE_US


FUNNEL = Funnel(_lines)
