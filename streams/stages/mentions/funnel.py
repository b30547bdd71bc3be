"""What the mentions stage counts for the funnel: scores in, those that changed a count out."""

from collections import Counter
from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Funnel, FunnelLine, Recorded, lost_on_arrival, refused_by, told
from tapedeck.streams.protocol import Row
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.mentions.items import Items
from tapedeck.streams.stages.mentions.stage import MentionsStage
from tapedeck.streams.watermarks import label_of


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    """The records in log order through the stage's own fold; of a repeat only the first counts."""
    stage, records = MentionsStage(config, calendar), recording["sentiment"]
    refused = refused_by("mentions", "sentiment", recording)
    reasons = lost_on_arrival(records) + Counter(refused.values())
    symbols: dict[bytes, Items] = {}
    labels: dict[int, int] = {}
    seen: set[str] = set(refused)
    given = 0
    for message, body in records.entries:
        part = message.partition
        label = label_of(message.key, message.value, message.headers)
        if label is not None:
            labels[part] = max(label, labels.get(part, label))
        elif body is not None and body["event_id"] not in seen and part in labels:
            seen.add(body["event_id"])
            row = Row("sentiment", message.key or b"", body, labels[part], 0)
            items = symbols.setdefault(stage.key(row), stage.open(None))
            reason = items.apply(body, row.log_minute)
            given += reason is None
            reasons[reason.value if reason else ""] += 1
    del reasons[""]
    yield FunnelLine(
        stage="mentions", unit="score", taken=records.records, given=given, reasons=told(reasons)
    )


FUNNEL = Funnel(_lines)
