"""What the surges stage counts for the funnel: hours of a symbol with mentions in, judged ones out."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Body, Funnel, FunnelLine, Recorded, told
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.surges.hours import HOUR_US
from tapedeck.streams.stages.surges.reasons import Unjudged
from tapedeck.streams.watermarks import label_of


@dataclass
class _Hour:
    """The records of one symbol and hour, and the partition that they stand in."""

    partition: int
    records: list[Body] = field(default_factory=list)

    def left_at(self, end: int) -> bool:
        """Whether there were mentions left, as known at ``end``."""
        newest: dict[str, Body] = {}
        for body in self.records:
            if body["as_of"] <= end:
                newest[body["scope"]] = max(newest.get(body["scope"], body), body, key=lambda b: b["as_of"])
        return any(body["mentions"] for body in newest.values())


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    """In: each hour of a symbol that ever had mentions."""
    judged = {(body["symbol"], body["hour"]) for body in recording.bodies("surges")}
    hours: dict[tuple[str, int], _Hour] = {}
    ends: dict[int, list[int]] = defaultdict(list)
    for message, body in recording["mentions"].entries:
        if body is not None:
            hours.setdefault((body["symbol"], body["hour"]), _Hour(message.partition)).records.append(body)
        label = label_of(message.key, message.value, message.headers)
        known = ends[message.partition]
        if label is not None and (not known or label + MINUTE_US > known[-1]):
            known.append(label + MINUTE_US)
    ever = {place for place, hour in hours.items() if any(body["mentions"] for body in hour.records)}
    reasons = Counter(_reason(place[1] + HOUR_US, hours[place], ends) for place in ever - judged)
    yield FunnelLine(
        stage="surges",
        unit="symbol and hour",
        taken=len(ever | judged),
        given=len(judged),
        reasons=told({reason: n for reason, n in reasons.items() if reason is not None}),
    )


def _reason(end: int, hour: _Hour, ends: Mapping[int, list[int]]) -> Unjudged | None:
    """Why an hour was not judged at the first minute's end that reached ``end``; None where it should be."""
    known = ends[hour.partition]
    at = bisect_left(known, end)
    if at == len(known):
        return Unjudged.OPEN
    if at == 0 or min(body["as_of"] for body in hour.records) > known[at]:
        return Unjudged.LATE
    return None if hour.left_at(known[at]) else Unjudged.RETRACTED


FUNNEL = Funnel(_lines)
