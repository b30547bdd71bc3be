"""What the sentiment_windows stage counts for the funnel: scores in, and those that some window counted."""

from collections import defaultdict
from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Body, Funnel, FunnelLine, Recorded, lost_on_arrival, refused_by, told
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.sentiment_windows.reasons import SentimentDrop, Unstated
from tapedeck.streams.stages.sentiment_windows.stage import SentimentWindowsStage
from tapedeck.streams.watermarks import readable_label

_UNCHANGED = (SentimentDrop.DUPLICATE, SentimentDrop.SUPERSEDED, SentimentDrop.TOO_OLD)
_STAGE, _SCORES = "sentiment_windows", "sentiment"


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    """In: the records of ``sentiment``. Out: those that a record of windows names."""
    records = recording[_SCORES]
    counted = {each for body in recording.bodies(_STAGE) for each in body["inputs"]}
    fold = _Fold(SentimentWindowsStage(config, calendar))
    for message, body in records.entries:
        label = readable_label(message)
        if label is not None:
            fold.mark(message.partition, label)
        elif body is not None:
            fold.take(message.partition, body)
    why = fold.reasons() | refused_by(_STAGE, _SCORES, recording)
    lost = lost_on_arrival(records)
    lost.update(why[each] for each in records.bodies.keys() - counted if each in why)
    yield FunnelLine(
        stage=_STAGE,
        unit="score",
        taken=records.records,
        given=len(records.bodies.keys() & counted),
        reasons=told(lost),
    )


class _Fold:
    """Why scores count in no window, by the stage's own fold of them."""

    def __init__(self, stage: SentimentWindowsStage) -> None:
        self._stage = stage
        self._states: dict[bytes, bytes] = {}
        self._labels: dict[int, int] = {}
        self._waiting: dict[int, dict[str, Body]] = defaultdict(dict)
        self._newest: dict[tuple[str, ...], str] = {}
        self._reasons: dict[str, str] = {}
        self._judged: dict[str, str] = {}
        self._crowded: set[str] = set()

    def take(self, partition: int, body: Body) -> None:
        """The next score of its partition. A repeat is counted elsewhere."""
        event_id, label = body["event_id"], self._labels.get(partition)
        if event_id in self._judged or label is None:
            return
        symbol = self._judged[event_id] = body["symbol"]
        key = symbol.encode()
        row = Row(_SCORES, key, body, label, label + MINUTE_US)
        step = self._stage.step(key, self._states.get(key), [row])
        self._states[key] = step.state
        reasons = [drop.reason for drop in step.drops if drop.reason != SentimentDrop.TOO_MANY_ITEMS]
        if len(reasons) < len(step.drops):
            self._crowded.add(symbol)
        if not set(reasons).intersection((*_UNCHANGED, SentimentDrop.OUT_OF_SCOPE)):
            item = symbol, body["source"], body["native_id"]
            replaced = self._newest.get(item, "")
            self._newest[item] = event_id
            if self._waiting[partition].pop(replaced, None):
                self._reasons[replaced] = SentimentDrop.SUPERSEDED
        if reasons:
            self._reasons[event_id] = reasons[0]
        else:
            self._waiting[partition][event_id] = body

    def mark(self, partition: int, label: int) -> None:
        """The end of a minute: what could count by now did, or never will."""
        self._labels[partition] = max(label, self._labels.get(partition, label))
        t = label + MINUTE_US
        waiting = self._waiting[partition]
        for event_id, body in [pair for pair in waiting.items() if pair[1]["event_time"] <= t]:
            del waiting[event_id]
            if not self._stage.counts(body, t):
                self._reasons[event_id] = SentimentDrop.TOO_OLD

    def reasons(self) -> dict[str, str]:
        """By event_id. One that has none, and counted nowhere, was crowded out."""
        crowded = {
            each: SentimentDrop.TOO_MANY_ITEMS for each, s in self._judged.items() if s in self._crowded
        }
        not_yet = {each: Unstated.NOT_YET for waiting in self._waiting.values() for each in waiting}
        return {**crowded, **not_yet, **self._reasons}


FUNNEL = Funnel(_lines)
